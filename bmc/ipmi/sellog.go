package ipmi

import (
	"encoding/binary"
	"slices"
	"time"
)

const (
	// maxEntries is what the log holds. When it is full the oldest entry goes and the
	// overflow flag comes, as on the BMCs whose log is a ring: nobody empties the logs of
	// a rack of virtual machines, and the latest entries are the ones that are looked for.
	maxEntries  = 1024
	entryLen    = 16
	firstEntry  = 0x0000
	lastEntry   = 0xffff
	lastEntryID = 0xfffe

	// What is kept: a version, flags, the next ID, four numbers, then the entries.
	selVersion    = 1
	selHeadLen    = 1 + 1 + 2 + 4 + 4 + 8 + 2
	selOverflowed = 1
)

// Record types of IPMI v2.0 §32. From typeUntimed on records have no time.
const (
	typeEvent   = 0x02
	typeOEM     = 0xc0
	typeUntimed = 0xe0
)

// entry is a record of the log: ID, type, and, unless it is untimed, the time.
type entry [entryLen]byte

func (r entry) timed() bool { return r[2] < typeUntimed }

// selLog is the System Event Log as a value (IPMI v2.0 §31). Its entries may be shared
// with others: methods that change it make new ones.
type selLog struct {
	overflow bool
	next     uint16
	// added and erased are when that happened last, by the BMC's clock; 0: never.
	added, erased uint32
	// clock is by how much the BMC's clock is ahead of the host's, in seconds.
	clock int64
	// utc is the offset of local time, in minutes, or utcUnspecified.
	utc     int16
	entries []byte
}

// parseSEL reads what bytes wrote. What it cannot read, and nil, is an empty log.
func parseSEL(b []byte) selLog {
	if len(b) < selHeadLen || b[0] != selVersion || (len(b)-selHeadLen)%entryLen != 0 {
		return selLog{next: 1}
	}
	return selLog{overflow: b[1]&selOverflowed != 0, next: binary.LittleEndian.Uint16(b[2:]),
		added: binary.LittleEndian.Uint32(b[4:]), erased: binary.LittleEndian.Uint32(b[8:]),
		clock: int64(binary.LittleEndian.Uint64(b[12:])), utc: int16(binary.LittleEndian.Uint16(b[20:])), entries: slices.Clip(b[selHeadLen:])}
}

func (l selLog) bytes() []byte {
	b := make([]byte, 2, selHeadLen+len(l.entries))
	b[0] = selVersion
	if l.overflow {
		b[1] = selOverflowed
	}
	b = binary.LittleEndian.AppendUint16(b, l.next)
	b = binary.LittleEndian.AppendUint32(b, l.added)
	b = binary.LittleEndian.AppendUint32(b, l.erased)
	b = binary.LittleEndian.AppendUint64(b, uint64(l.clock))
	b = binary.LittleEndian.AppendUint16(b, uint16(l.utc))
	return append(b, l.entries...)
}

// time is what the BMC's clock says.
func (l selLog) time(now time.Time) uint32 { return uint32(now.Unix() + l.clock) }

func (l selLog) count() int { return len(l.entries) / entryLen }

// at returns the i-th oldest entry.
func (l selLog) at(i int) entry { return entry(l.entries[i*entryLen:]) }

func (l selLog) id(i int) uint16 { return binary.LittleEndian.Uint16(l.entries[i*entryLen:]) }

// find returns where the entry with an ID is; 0000h is the oldest one, FFFFh the newest.
func (l selLog) find(id uint16) (i int, ok bool) {
	n := l.count()
	switch id {
	case firstEntry:
		return 0, n > 0
	case lastEntry:
		return n - 1, n > 0
	}
	for i := range n {
		if l.id(i) == id {
			return i, true
		}
	}
	return 0, false
}

// add appends an entry with an ID of its own and, if it has one, the time, and returns
// the ID.
func (l *selLog) add(r entry, at time.Time) uint16 {
	if n := l.count(); n >= maxEntries {
		l.entries, l.overflow = l.entries[(n-maxEntries+1)*entryLen:], true
	}
	id := l.freeID()
	binary.LittleEndian.PutUint16(r[:], id)
	l.added = l.time(at)
	if r.timed() {
		binary.LittleEndian.PutUint32(r[3:], l.added)
	}
	l.entries = append(slices.Clip(l.entries), r[:]...)
	return id
}

// freeID returns the next ID that no entry has: they come again after 65,534 of them.
func (l *selLog) freeID() uint16 {
	for {
		id := l.next
		if l.next++; l.next > lastEntryID {
			l.next = 1
		}
		if id == firstEntry || id == lastEntry {
			continue
		}
		if _, used := l.find(id); !used {
			return id
		}
	}
}

// remove takes an entry out.
func (l *selLog) remove(i int, now time.Time) {
	l.entries = slices.Concat(l.entries[:i*entryLen], l.entries[(i+1)*entryLen:])
	l.erased = l.time(now)
}

// clear takes all of them out.
func (l *selLog) clear(now time.Time) {
	l.entries, l.overflow, l.erased = nil, false, l.time(now)
}
