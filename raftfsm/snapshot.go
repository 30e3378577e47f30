package raftfsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"tenks/raftfsm/state"
)

// A snapshot file is: magic, format version (1 byte), log index (8 bytes), records,
// an end record, and the SHA-256 of everything before. A record is a type (1 byte),
// a length (4 bytes) and CBOR of the row; the mesh's comes first. Numbers are
// big-endian.
const (
	snapshotMagic   = "TNKSNAP"
	snapshotVersion = 1
	endRecord       = 0
	// skippable marks record types that a version which does not know them may pass
	// over.
	skippable = 0x80
	// maxRecord bounds one row, in bytes. What made the row was bounded by maxEntry,
	// so that a state which was accepted can always be written.
	maxRecord = 8 * maxEntry
)

// recordTypes number the rows of a state.Dump and say where they belong. A number
// stays for ever.
var recordTypes = []struct {
	number byte
	read   func(d *state.Dump, b []byte) error
}{
	{recordMesh, row(func(d *state.Dump, m *state.Mesh) { d.Mesh = m })},
	{recordCluster, row(func(d *state.Dump, c *state.Cluster) { d.Clusters = append(d.Clusters, c) })},
	{recordNode, row(func(d *state.Dump, n *state.Node) { d.Nodes = append(d.Nodes, n) })},
	{recordHypervisor, row(func(d *state.Dump, h *state.Hypervisor) { d.Hypervisors = append(d.Hypervisors, h) })},
	{recordEvent, row(func(d *state.Dump, e *state.EventRow) { d.Events = append(d.Events, e) })},
	{recordRequest, row(func(d *state.Dump, r *state.RequestRow) { d.Requests = append(d.Requests, r) })},
	{recordPeer, row(func(d *state.Dump, p *state.Peer) { d.Peers = append(d.Peers, p) })},
	{recordToken, row(func(d *state.Dump, t *state.Token) { d.Tokens = append(d.Tokens, t) })},
	{recordKeys, row(func(d *state.Dump, k *state.Keys) { d.Keys = k })},
	{recordDeparture, row(func(d *state.Dump, p *state.Departure) { d.Departures = append(d.Departures, p) })},
	{recordDeparted, row(func(d *state.Dump, p *state.Departed) { d.Departed = p })},
	{recordFault, row(func(d *state.Dump, f *state.Fault) { d.Faults = append(d.Faults, f) })},
	{recordQuota, row(func(d *state.Dump, q *state.QuotaRow) { d.Quotas = append(d.Quotas, q) })},
	{recordLevel, readLevel},
}

const (
	recordMesh       = 1
	recordCluster    = 2
	recordNode       = 3
	recordHypervisor = 4
	recordEvent      = 5
	recordRequest    = 6
	recordPeer       = 7
	recordToken      = 8
	recordKeys       = 9
	recordDeparture  = 10
	recordDeparted   = 11
	recordFault      = 12
	recordQuota      = 13
	recordLevel      = 14
)

func row[T any](add func(*state.Dump, *T)) func(*state.Dump, []byte) error {
	return func(d *state.Dump, b []byte) error {
		t := new(T)
		if err := decoder.Unmarshal(b, t); err != nil {
			return err
		}
		add(d, t)
		return nil
	}
}

// WriteSnapshot writes the whole state.
func WriteSnapshot(to io.Writer, snap *state.Snapshot) error {
	buffered := bufio.NewWriterSize(to, 1<<16)
	sum := sha256.New()
	w := io.MultiWriter(buffered, sum)
	header := append([]byte(snapshotMagic), snapshotVersion)
	if _, err := w.Write(binary.BigEndian.AppendUint64(header, snap.Index())); err != nil {
		return err
	}
	d := snap.Dump()
	if err := errors.Join(writeRows(w, recordMesh, single(d.Mesh)), writeRows(w, recordLevel, single(levelRecord(d))), writeRows(w, recordKeys, single(d.Keys)),
		writeRows(w, recordPeer, d.Peers), writeRows(w, recordToken, d.Tokens), writeRows(w, recordCluster, d.Clusters),
		writeRows(w, recordNode, d.Nodes), writeRows(w, recordHypervisor, d.Hypervisors),
		writeRows(w, recordEvent, d.Events), writeRows(w, recordRequest, d.Requests),
		writeRows(w, recordDeparture, d.Departures), writeRows(w, recordDeparted, single(d.Departed)), writeRows(w, recordFault, d.Faults), writeRows(w, recordQuota, d.Quotas),
		writeRecord(w, endRecord, nil)); err != nil {
		return err
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return buffered.Flush()
}

// single is the rows of a table that has one or none.
func single[T any](row *T) []*T {
	if row == nil {
		return nil
	}
	return []*T{row}
}

func writeRows[T any](w io.Writer, number byte, rows []*T) error {
	for _, r := range rows {
		b, err := encoder.Marshal(r)
		if err != nil {
			return fmt.Errorf("row %T: encode: %w", r, err)
		}
		if err := writeRecord(w, number, b); err != nil {
			return err
		}
	}
	return nil
}

func writeRecord(w io.Writer, number byte, b []byte) error {
	if len(b) > maxRecord {
		return fmt.Errorf("row of %d bytes is too large", len(b))
	}
	head := binary.BigEndian.AppendUint32([]byte{number}, uint32(len(b)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// errDamaged says that a snapshot is not what was written.
var errDamaged = errors.New("damaged")

// ReadSnapshot reads what WriteSnapshot wrote and checks it whole before it
// returns. Errors: state.ErrNewer for one of a newer version.
func ReadSnapshot(from io.Reader) (state.Dump, error) {
	r := &summed{r: bufio.NewReaderSize(from, 1<<16), sum: sha256.New()}
	head := make([]byte, len(snapshotMagic)+1+8)
	if err := r.full(head); err != nil {
		return state.Dump{}, err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return state.Dump{}, errors.New("not a snapshot of tenks")
	}
	if v := head[len(snapshotMagic)]; v != snapshotVersion {
		return state.Dump{}, fmt.Errorf("snapshot version %d: %w", v, state.ErrNewer)
	}
	d := state.Dump{Index: binary.BigEndian.Uint64(head[len(snapshotMagic)+1:])}
	for {
		number, b, err := r.record()
		if err != nil {
			return state.Dump{}, err
		}
		if number == endRecord {
			return d, r.check()
		}
		if err := readRow(&d, number, b); err != nil {
			return state.Dump{}, err
		}
	}
}

func readRow(d *state.Dump, number byte, b []byte) error {
	for _, t := range recordTypes {
		if t.number == number {
			err := t.read(d, b)
			switch {
			case errors.Is(err, state.ErrNewer):
				return fmt.Errorf("record of type %d: %w", number, err)
			case err != nil:
				return fmt.Errorf("record of type %d: %w: %w", number, errDamaged, err)
			}
			return nil
		}
	}
	if number&skippable != 0 {
		return nil
	}
	return fmt.Errorf("record of type %d: %w", number, state.ErrNewer)
}

// summed reads and keeps the sum of what it read.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (s *summed) full(b []byte) error {
	if _, err := io.ReadFull(s.r, b); err != nil {
		return fmt.Errorf("%w: it ends early: %w", errDamaged, err)
	}
	_, _ = s.sum.Write(b) // a hash never fails
	return nil
}

func (s *summed) record() (byte, []byte, error) {
	var head [5]byte
	if err := s.full(head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxRecord {
		return 0, nil, fmt.Errorf("%w: a record of %d bytes", errDamaged, size)
	}
	b, err := s.bytes(int(size))
	return head[0], b, err
}

// bytes reads n bytes without believing that they are there.
func (s *summed) bytes(n int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(s.r, int64(n)))
	if err != nil || len(b) < n {
		return nil, fmt.Errorf("%w: it ends early", errDamaged)
	}
	_, _ = s.sum.Write(b)
	return b, nil
}

func (s *summed) check() error {
	want := s.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.r, got); err != nil {
		return fmt.Errorf("%w: it ends early: %w", errDamaged, err)
	}
	if string(got) != string(want) {
		return fmt.Errorf("%w: its checksum is wrong", errDamaged)
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", errDamaged)
	}
	return nil
}
