package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"tenks/cluster/transport"
)

// fed gives every place a feeder that sends what the peer says it has and then what
// comes in say, and returns say.
func (b *testbed) fed() chan string {
	say := make(chan string)
	for _, p := range b.places {
		p.config.Feed = func(ctx context.Context, peer string, at Position, send func([]byte) error) error {
			if err := send(fmt.Appendf(nil, "%s has %d.%d", peer, at.Generation, at.Index)); err != nil {
				return err
			}
			for {
				select {
				case <-ctx.Done():
					return nil
				case text := <-say:
					if err := send([]byte(text)); err != nil {
						return err
					}
				}
			}
		}
	}
	return say
}

func TestAPeerTheLogLeavesOutIsFedByOneThatFollowsAndByAnotherWhenThatIsGone(t *testing.T) {
	b := founded(t)
	for range 2 {
		b.place()
	}
	say := b.fed()
	first := b.places[0]
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(first) // with its feeder
	for _, p := range b.places[1:] {
		if err := b.join(p); err != nil {
			t.Fatal(err)
		}
		b.open(p)
	}
	b.eventually("three voters", func() bool { return votes(first) == 3 })
	out := b.place()
	if err := b.join(out); err != nil {
		t.Fatal(err)
	}
	b.open(out)
	b.change(out.ID(), func(p *Peer) { p.Barred = true })
	b.eventually("one left out", func() bool { return !out.Following() && len(first.Members()) == 3 })

	ctx, cancel := context.WithCancel(t.Context())
	got, ended := make(chan string, 16), make(chan error, 1)
	at := Position{Generation: 1, Index: 41}
	go func() {
		ended <- out.Follow(ctx, func() Position { return at }, func(part []byte) error {
			got <- string(part)
			return nil
		})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case text := <-got:
			if text != want {
				t.Fatalf("got %q, want %q", text, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("waited for %q", want)
		}
	}
	has := out.ID() + " has 1.41"
	expect(has)
	say <- "one"
	expect("one")

	var source *place
	for _, p := range b.places[:3] {
		if p.transport.Stats().Open[transport.Feed] > 0 {
			source = p
		}
	}
	if source == nil {
		t.Fatal("nobody has the feed open")
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	expect(has) // another peer's
	say <- "two"
	expect("two")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("follow: %v", err)
	}
}

func TestFramesAreReadAsTheyWereWrittenAndNoMoreIsTaken(t *testing.T) {
	var wire bytes.Buffer
	for _, text := range []string{"", "a", strings.Repeat("b", 70000)} {
		if err := writeFrame(&wire, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{0, 1, 70000} {
		b, err := readFrame(&wire, maxFrame)
		if err != nil || len(b) != want {
			t.Errorf("%d bytes, %v; want %d", len(b), err, want)
		}
	}
	if _, err := readFrame(&wire, maxFrame); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want %v", err, io.EOF)
	}
	head := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	if _, err := readFrame(bytes.NewReader(head(math.MaxUint32)), maxFrame); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
	if _, err := readFrame(bytes.NewReader(append(head(9), "short"...)), maxFrame); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame that is cut: %v, want %v", err, io.ErrUnexpectedEOF)
	}
}
