package consensus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
)

// pipes is a Network on which the test connects.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (pipes) Dial(context.Context, string) (net.Conn, error) { return nil, errors.ErrUnsupported }

// FuzzWire is what another peer sends as Raft: it is taken apart, and nothing else.
func FuzzWire(f *testing.F) {
	for kind, request := range []any{raft.AppendEntriesRequest{Term: 2, Entries: []*raft.Log{{Index: 1, Term: 1, Data: []byte("x")}}},
		raft.RequestVoteRequest{Term: 2}, raft.InstallSnapshotRequest{Term: 2, Size: 3}, raft.TimeoutNowRequest{}} {
		var b bytes.Buffer
		b.WriteByte(byte(kind))
		if err := codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(request); err != nil {
			f.Fatal(err)
		}
		f.Add(append(b.Bytes(), "abc"...))
	}
	n := pipes{make(chan net.Conn), make(chan struct{})}
	tr := newTransport("self", n, slog.New(slog.DiscardHandler))
	served := make(chan struct{})
	go func() { // ends when the test closes stop
		for {
			select {
			case rpc := <-tr.Consumer():
				if rpc.Reader != nil {
					_, _ = io.Copy(io.Discard, rpc.Reader)
				}
				rpc.Respond(nil, errors.New("no"))
			case <-served:
				return
			}
		}
	}()
	f.Cleanup(func() {
		_ = tr.(raft.WithClose).Close()
		close(n.closed)
		close(served)
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		n.conns <- theirs
		go func() { _, _ = io.Copy(io.Discard, ours) }() // ends when either end is closed
		if err := ours.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = ours.Write(b) // it is closed as soon as it makes no sense
		_ = ours.Close()
	})
}
