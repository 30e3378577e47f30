package ipmi

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/bougou/go-ipmi/pkg/types"
)

// selCommands are IPMI v2.0 §31.
var selCommands = []command{
	{is: types.CommandGetSELInfo, privilege: types.PrivilegeLevelUser, handle: getSELInfo},
	{is: types.CommandGetSELAllocInfo, privilege: types.PrivilegeLevelUser, handle: getSELAllocInfo},
	{is: types.CommandReserveSEL, privilege: types.PrivilegeLevelUser, handle: reserveSEL},
	{is: types.CommandGetSELEntry, privilege: types.PrivilegeLevelUser, min: 6, max: 6, handle: getSELEntry},
	{is: types.CommandAddSELEntry, privilege: types.PrivilegeLevelOperator, min: entryLen, max: entryLen, handle: addSELEntry, changes: true},
	{is: types.CommandDeleteSELEntry, privilege: types.PrivilegeLevelOperator, min: 4, max: 4, handle: deleteSELEntry, changes: true},
	{is: types.CommandClearSEL, privilege: types.PrivilegeLevelOperator, min: 6, max: 6, handle: clearSEL, changes: true},
	{is: types.CommandGetSELTime, privilege: types.PrivilegeLevelUser, handle: getTime},
	{is: types.CommandSetSELTime, privilege: types.PrivilegeLevelOperator, min: 4, max: 4, handle: setTime, changes: true},
	{is: types.CommandGetSELTimeUTCOffset, privilege: types.PrivilegeLevelUser, handle: getUTCOffset},
	{is: types.CommandSetSELTimeUTCOffset, privilege: types.PrivilegeLevelOperator, min: 2, max: 2, handle: setUTCOffset, changes: true},
}

const (
	// storageVersion is that of SEL and SDR commands: IPMI v1.5 and v2.0, BCD with the
	// digits swapped.
	storageVersion = 0x51
	// Operation support of Get SEL Info (§31.2).
	selOverflow, selDelete, selReserve, selAllocation = 0x80, 0x08, 0x02, 0x01

	// wholeRecord as a number of bytes to read asks for all that there is.
	wholeRecord = 0xff

	// Actions of Clear SEL, and its answer; an erasure is over when the answer is sent.
	eraseStatus, eraseNow, erased = 0x00, 0xaa, 0x01

	maxUTCOffset   = 1440 // minutes
	utcUnspecified = 0x07ff

	reservationCancelled = refused(types.CodeReservationCanceled)
	notPresent           = refused(types.CodeRequestedDataNotPresent)
	outOfRange           = refused(types.CodeParameterOutOfRange)
)

// uint16At returns the request's data at offset i as a little-endian number.
func (c *call) uint16At(i int) uint16 { return binary.LittleEndian.Uint16(c.data[i:]) }

func getSELInfo(_ context.Context, c *call) ([]byte, error) {
	c.checkThresholds()
	l := c.readSEL()
	n := l.count()
	b := []byte{storageVersion, byte(n), byte(n >> 8)}
	b = binary.LittleEndian.AppendUint16(b, uint16((maxEntries-n)*entryLen))
	b = binary.LittleEndian.AppendUint32(b, l.added)
	b = binary.LittleEndian.AppendUint32(b, l.erased)
	support := byte(selDelete | selReserve | selAllocation)
	if l.overflow {
		support |= selOverflow
	}
	return append(b, support), nil
}

// getSELAllocInfo: an allocation unit is an entry.
func getSELAllocInfo(_ context.Context, c *call) ([]byte, error) {
	free := uint16(maxEntries - c.readSEL().count())
	var b []byte
	for _, v := range []uint16{maxEntries, entryLen, free, free} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return append(b, 1), nil
}

// nextReservation follows one that was given; 0 is none.
func nextReservation(last uint16) uint16 { return max(last+1, 1) }

func reserveSEL(_ context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.sel
	s.lastReservation = nextReservation(s.lastReservation)
	s.reservation = s.lastReservation
	return binary.LittleEndian.AppendUint16(nil, s.reservation), nil
}

// reserved checks the reservation that the request begins with (§31.4.1).
func (c *call) reserved() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.uint16At(0); r == 0 || r != c.sel.reservation {
		return reservationCancelled
	}
	return nil
}

// cancelReservation ends it: the log has changed.
func (c *call) cancelReservation() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sel.reservation = 0
}

func getSELEntry(_ context.Context, c *call) ([]byte, error) {
	offset, count := c.data[4], c.data[5]
	if offset > 0 {
		if err := c.reserved(); err != nil {
			return nil, err
		}
	}
	l := c.readSEL()
	i, ok := l.find(c.uint16At(2))
	if !ok {
		return nil, notPresent
	}
	next := uint16(lastEntry)
	if i+1 < l.count() {
		next = l.id(i + 1)
	}
	r := l.at(i)
	part, err := partOf(r[:], offset, count)
	if err != nil {
		return nil, err
	}
	return append(binary.LittleEndian.AppendUint16(nil, next), part...), nil
}

// partOf is what a partial read of a record returns: as much as there is.
func partOf(record []byte, offset, count byte) ([]byte, error) {
	if int(offset) >= len(record) {
		return nil, outOfRange
	}
	rest := record[offset:]
	return rest[:min(int(count), len(rest))], nil
}

// addSELEntry is §31.6. The ID is the BMC's to give, and the time, if there is one.
func addSELEntry(ctx context.Context, c *call) ([]byte, error) {
	r := entry(c.data)
	if r[2] != typeEvent && r[2] < typeOEM {
		return nil, badField
	}
	var id uint16
	err := c.changeSEL(ctx, func(l *selLog) error {
		id = l.add(r, c.now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.cancelReservation()
	return binary.LittleEndian.AppendUint16(nil, id), nil
}

func deleteSELEntry(ctx context.Context, c *call) ([]byte, error) {
	if err := c.reserved(); err != nil {
		return nil, err
	}
	var id uint16
	err := c.changeSEL(ctx, func(l *selLog) error {
		i, ok := l.find(c.uint16At(2))
		if !ok {
			return notPresent
		}
		id = l.id(i)
		l.remove(i, c.now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.cancelReservation()
	return binary.LittleEndian.AppendUint16(nil, id), nil
}

// clearSEL is §31.9. The log then begins with the entry that says so.
func clearSEL(ctx context.Context, c *call) ([]byte, error) {
	if err := c.reserved(); err != nil {
		return nil, err
	}
	if !slices.Equal(c.data[2:5], []byte("CLR")) {
		return nil, badField
	}
	switch c.data[5] {
	case eraseStatus:
		return []byte{erased}, nil
	case eraseNow:
	default:
		return nil, badField
	}
	cleared := event{numberLog, types.SensorTypeEventLoggingDisabled, sensorSpecific, [3]byte{logCleared, unspecified, unspecified}}
	err := c.changeSEL(ctx, func(l *selLog) error {
		l.clear(c.now)
		l.add(cleared.entry(), c.now)
		return nil
	})
	// The reservation stays: with it the client asks whether the erasure is over.
	return []byte{erased}, err
}

func getTime(_ context.Context, c *call) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(nil, c.readSEL().time(c.now)), nil
}

// setTime sets the BMC's one clock, by which the log and the SDR repository go. The
// host's stays as it is.
func setTime(ctx context.Context, c *call) ([]byte, error) {
	return nil, c.changeSEL(ctx, func(l *selLog) error {
		l.clock = int64(c.uint32At(0)) - c.now.Unix()
		return nil
	})
}

func getUTCOffset(_ context.Context, c *call) ([]byte, error) {
	return binary.LittleEndian.AppendUint16(nil, uint16(c.readSEL().utc)), nil
}

func setUTCOffset(ctx context.Context, c *call) ([]byte, error) {
	offset := int16(c.uint16At(0))
	if (offset < -maxUTCOffset || offset > maxUTCOffset) && offset != utcUnspecified {
		return nil, badField
	}
	return nil, c.changeSEL(ctx, func(l *selLog) error {
		l.utc = offset
		return nil
	})
}
