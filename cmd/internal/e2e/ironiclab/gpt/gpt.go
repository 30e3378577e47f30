// Package gpt reads and writes the partition table of a disk image: the GUID Partition Table of
// the UEFI specification 2.10 §5, in sectors of 512 bytes. It starts nothing.
package gpt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// SectorSize is that of every disk here, in bytes.
const SectorSize = 512

// The table has 128 entries of 128 bytes, which is what every system writes and the least that
// the specification allows.
const (
	entries      = 128
	entrySize    = 128
	tableSectors = entries * entrySize / SectorSize
	headerSize   = 92
	// align is where partitions begin, in sectors: 1 MiB.
	align = 1 << 20 / SectorSize
)

// GUID is in the byte order of the disk, whose first three parts are little-endian.
type GUID [16]byte

// Types of partitions.
var (
	// ESP is an EFI system partition: C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
	ESP = GUID{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
	// BIOSBoot is where GRUB's second part is: 21686148-6449-6E6F-744E-656564454649.
	BIOSBoot = GUID{0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e, 0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49}
	// Linux is data: 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
	Linux = GUID{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
)

// Partition is a part of a disk; First and Last are sectors that it has.
type Partition struct {
	Type, ID    GUID
	First, Last int64
	Name        string
	// attributes are kept as they are.
	attributes uint64
}

// Offset is where the partition begins, in bytes.
func (p Partition) Offset() int64 { return p.First * SectorSize }

// Size is in bytes.
func (p Partition) Size() int64 { return (p.Last - p.First + 1) * SectorSize }

// Table is the partitions of a disk, in the order of their numbers. An empty one is a table
// without partitions.
type Table struct {
	ID         GUID
	Partitions []Partition
}

// ErrNone says that a disk has no such table, or a damaged one.
var ErrNone = errors.New("no GUID partition table")

// ErrFull says that a disk has no room.
var ErrFull = errors.New("no room on the disk")

// Read reads the primary table.
func Read(disk io.ReaderAt) (Table, error) {
	header := make([]byte, SectorSize)
	if _, err := disk.ReadAt(header, SectorSize); err != nil {
		return Table{}, err
	}
	le := binary.LittleEndian
	if string(header[:8]) != "EFI PART" || le.Uint32(header[12:]) != headerSize || checksum(header) != le.Uint32(header[16:]) {
		return Table{}, ErrNone
	}
	if le.Uint32(header[80:]) != entries || le.Uint32(header[84:]) != entrySize || le.Uint64(header[72:]) != 2 {
		return Table{}, fmt.Errorf("%w: %d entries of %d bytes at sector %d: only %d of %d at 2 are known", ErrNone,
			le.Uint32(header[80:]), le.Uint32(header[84:]), le.Uint64(header[72:]), entries, entrySize)
	}
	raw := make([]byte, entries*entrySize)
	if _, err := disk.ReadAt(raw, 2*SectorSize); err != nil {
		return Table{}, err
	}
	if crc32.ChecksumIEEE(raw) != le.Uint32(header[88:]) {
		return Table{}, fmt.Errorf("%w: the entries' checksum is wrong", ErrNone)
	}
	t := Table{ID: GUID(header[56:72])}
	for at := 0; at < len(raw); at += entrySize {
		if e := raw[at : at+entrySize]; GUID(e[:16]) != (GUID{}) {
			t.Partitions = append(t.Partitions, decode(e))
		}
	}
	return t, nil
}

func decode(e []byte) Partition {
	le := binary.LittleEndian
	var name []uint16
	for at := 56; at < entrySize && le.Uint16(e[at:]) != 0; at += 2 {
		name = append(name, le.Uint16(e[at:]))
	}
	return Partition{Type: GUID(e[:16]), ID: GUID(e[16:32]), First: int64(le.Uint64(e[32:])), Last: int64(le.Uint64(e[40:])), //nolint:gosec // as it is
		attributes: le.Uint64(e[48:]), Name: string(utf16.Decode(name))}
}

func (p Partition) encode(e []byte) {
	le := binary.LittleEndian
	copy(e, p.Type[:])
	copy(e[16:], p.ID[:])
	le.PutUint64(e[32:], uint64(p.First)) //nolint:gosec // not negative
	le.PutUint64(e[40:], uint64(p.Last))  //nolint:gosec // not negative
	le.PutUint64(e[48:], p.attributes)
	for i, u := range utf16.Encode([]rune(p.Name)) {
		if at := 56 + 2*i; at < entrySize {
			le.PutUint16(e[at:], u)
		}
	}
}

// checksum is a header's, with its own field taken as zero.
func checksum(header []byte) uint32 {
	h := bytes.Clone(header[:headerSize])
	copy(h[16:20], make([]byte, 4))
	return crc32.ChecksumIEEE(h)
}

// Append adds a partition of at least size bytes behind all others.
func (t *Table) Append(kind GUID, name string, size int64) Partition {
	first := int64(align)
	for _, p := range t.Partitions {
		first = max(first, up(p.Last+1))
	}
	return t.add(kind, name, first, size)
}

// AppendAtEnd adds a partition of at least size bytes at the end of a disk of so many bytes.
func (t *Table) AppendAtEnd(kind GUID, name string, size, disk int64) (Partition, error) {
	first := (lastUsable(disk) + 1 - sectors(size)) / align * align
	for _, p := range t.Partitions {
		if p.Last >= first || first < align {
			return Partition{}, fmt.Errorf("partition %q: %w", name, ErrFull)
		}
	}
	if first < align || len(t.Partitions) == entries {
		return Partition{}, fmt.Errorf("partition %q: %w", name, ErrFull)
	}
	return t.add(kind, name, first, size), nil
}

func (t *Table) add(kind GUID, name string, first, size int64) Partition {
	p := Partition{Type: kind, ID: newGUID(), First: first, Last: first + sectors(size) - 1, Name: name}
	t.Partitions = append(t.Partitions, p)
	return p
}

func sectors(size int64) int64 { return (size + SectorSize - 1) / SectorSize }

func up(sector int64) int64 { return (sector + align - 1) / align * align }

// lastUsable is the last sector that a partition may have: behind it is the backup table.
func lastUsable(disk int64) int64 { return disk/SectorSize - 1 - tableSectors - 1 }

// newGUID is a random one (RFC 9562 §5.4).
func newGUID() (g GUID) {
	_, _ = rand.Read(g[:]) // never fails
	g[7], g[8] = g[7]&0x0f|0x40, g[8]&0x3f|0x80
	return g
}

// Write writes both tables and the protective MBR's partition to a disk of so many bytes. What is
// in the first 440 bytes, the boot code, stays.
func (t *Table) Write(disk io.WriterAt, size int64) error {
	if t.ID == (GUID{}) {
		t.ID = newGUID()
	}
	raw := make([]byte, entries*entrySize)
	for i, p := range t.Partitions {
		if i >= entries || p.Last > lastUsable(size) || p.First > p.Last || p.First < 0 {
			return fmt.Errorf("partition %q: %w", p.Name, ErrFull)
		}
		p.encode(raw[i*entrySize : (i+1)*entrySize])
	}
	last := size/SectorSize - 1
	for _, w := range []struct {
		at   int64 // bytes
		what []byte
	}{
		{440, protective(last)},
		{2 * SectorSize, raw}, {(last - tableSectors) * SectorSize, raw},
		{last * SectorSize, t.header(raw, last, 1, last-tableSectors, size)}, {SectorSize, t.header(raw, 1, last, 2, size)},
	} {
		if _, err := disk.WriteAt(w.what, w.at); err != nil {
			return err
		}
	}
	return nil
}

// header is in sector self; other has the other one.
func (t *Table) header(raw []byte, self, other, table, size int64) []byte {
	le := binary.LittleEndian
	h := make([]byte, SectorSize)
	copy(h, "EFI PART\x00\x00\x01\x00")
	le.PutUint32(h[12:], headerSize)
	for at, sector := range map[int]int64{24: self, 32: other, 40: 2 + tableSectors, 48: lastUsable(size), 72: table} {
		le.PutUint64(h[at:], uint64(sector)) //nolint:gosec // not negative
	}
	copy(h[56:], t.ID[:])
	le.PutUint32(h[80:], entries)
	le.PutUint32(h[84:], entrySize)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(raw))
	le.PutUint32(h[16:], checksum(h))
	return h
}

// protective is the end of the first sector: one partition of all the disk that old systems leave
// alone (§5.2.3). It is marked as active, though the specification has it otherwise: some BIOSes
// look for that before they start a disk.
func protective(last int64) []byte {
	b := make([]byte, SectorSize-440)
	e := b[6:]
	copy(e, []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(last, 0xffffffff))) //nolint:gosec // bounded
	copy(b[len(b)-2:], []byte{0x55, 0xaa})
	return b
}
