package driver

import (
	"context"
	"fmt"

	"tenks/raftfsm/state"
)

// Mover is what a driver implements, beside Driver, whose nodes can move to another host
// while they are off. Calls may be repeated.
//
// On the host that a node leaves, Luggage says what it consists of. On the host that it
// comes to, Stage makes room for it, the caller puts its files there, and Import makes
// them the node. From Stage on there is an instance of the node, off and without a
// digest; Remove takes away whatever there is of it.
type Mover interface {
	// Luggage returns what a node has on disk. The files stay as they are for as long as
	// the node stays off. Errors: state.ErrNotFound, state.ErrWrongState if it is on.
	Luggage(ctx context.Context, uuid string) (Luggage, error)
	// Stage returns the directory that files of a node are to be put into, under their
	// names; it keeps what is there. An empty one says that the node has been imported.
	// It refuses what Import would: names that are taken, images that there are not.
	Stage(ctx context.Context, spec Spec) (dir string, err error)
	// Import makes what Stage's directory holds the node, powered off. Volumes of spec
	// that there is no file of are made blank.
	Import(ctx context.Context, spec Spec, l Luggage) error
}

// MoverOf returns a driver as one that can move nodes. Errors: state.ErrUnsupported.
func MoverOf(d Driver) (Mover, error) {
	m, ok := d.(Mover)
	if !ok {
		return nil, fmt.Errorf("move to another host: %w", state.ErrUnsupported)
	}
	return m, nil
}

// Luggage is what a node takes along.
type Luggage struct {
	// Files are in an order of the driver's; for Import, only their names count.
	Files []File
	// Notes are the driver's own, such as what hardware a guest has seen.
	Notes []byte
}

// File is a file of a node.
type File struct {
	// Name is a word without a slash, the same on every host.
	Name string
	// Path is where the file is; root can read it.
	Path string
	// Image is the path of another file that this one is a difference to, and that must
	// be the same on the other host; empty: none.
	Image string
}
