package state

import (
	"encoding/binary"
	"fmt"
)

// keyOf makes an index of a function from a row to its key, made by key; nil: the
// row is not in the index.
type keyOf[T any] func(row T) []byte

// FromObject implements memdb.SingleIndexer.
func (f keyOf[T]) FromObject(row any) (ok bool, value []byte, err error) {
	value = f(row.(T))
	return value != nil, value, nil
}

// FromArgs implements memdb.Indexer.
func (keyOf[T]) FromArgs(args ...any) ([]byte, error) { return key(args...), nil }

// macs indexes a node by the MAC of each of its ports.
type macs struct{}

// FromObject implements memdb.MultiIndexer.
func (macs) FromObject(row any) (ok bool, values [][]byte, err error) {
	for _, p := range row.(*Node).Ports {
		values = append(values, key(p.MAC))
	}
	return len(values) > 0, values, nil
}

// FromArgs implements memdb.Indexer.
func (macs) FromArgs(args ...any) ([]byte, error) { return key(args...), nil }

// pastHosts indexes a node by each hypervisor that it was on before.
type pastHosts struct{}

// FromObject implements memdb.MultiIndexer.
func (pastHosts) FromObject(row any) (ok bool, values [][]byte, err error) {
	for _, h := range row.(*Node).Past {
		values = append(values, key(h))
	}
	return len(values) > 0, values, nil
}

// FromArgs implements memdb.Indexer.
func (pastHosts) FromArgs(args ...any) ([]byte, error) { return key(args...), nil }

// key joins parts into one key that sorts as they do: numbers big-endian, texts
// ended by a zero byte so that none is another's prefix.
func key(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b = append(append(b, v...), 0)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		case int:
			// The sign bit is turned so that negative numbers come first.
			b = binary.BigEndian.AppendUint64(b, uint64(v)^(1<<63))
		default:
			panic(fmt.Sprintf("state: a %T cannot be part of a key", p))
		}
	}
	return b
}
