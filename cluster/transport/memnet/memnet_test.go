package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tenks/cluster/transport/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen listens at host:port for the test.
func listen(t *testing.T, n *memnet.Network, host, port string) net.Listener {
	t.Helper()
	l, err := n.Host(host).Listen(t.Context(), host+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pipe connects two hosts: near dialed, far accepted.
func pipe(t *testing.T, n *memnet.Network, from, to string) (near, far net.Conn) {
	t.Helper()
	l, err := n.Host(to).Listen(t.Context(), ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = n.Host(from).Dial(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func write(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("write %q: %d, %v", text, n, err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); string(got) != want || err != nil {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

// silent says that nothing is to be read within a second of fake time.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	defer c.SetReadDeadline(time.Time{})
	if n, err := c.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v, want a timeout", n, err)
	}
}

// short is a context of a second.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestStreamsCarryBytesBothWays(t *testing.T) {
	n := memnet.New(1)
	a, b := pipe(t, n, "a", "b")
	write(t, a, "hello")
	write(t, a, " you")
	read(t, b, "hello you")
	write(t, b, "hi")
	read(t, a, "hi")
	if got, want := b.LocalAddr().String(), a.RemoteAddr().String(); got != want {
		t.Errorf("b is at %s, a dialed %s", got, want)
	}
	if got, want := a.LocalAddr().String(), b.RemoteAddr().String(); got != want {
		t.Errorf("a is at %s, b sees %s", got, want)
	}
}

func TestCloseDeliversWhatWasSentAndThenEOF(t *testing.T) {
	n := memnet.New(1)
	a, b := pipe(t, n, "a", "b")
	write(t, a, "last")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write to a closed end: %v, want a reset", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseWriteKeepsReading(t *testing.T) {
	n := memnet.New(1)
	a, b := pipe(t, n, "a", "b")
	write(t, a, "question")
	if err := a.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "question" || err != nil {
		t.Fatalf("read %q, %v", got, err)
	}
	write(t, b, "answer")
	read(t, a, "answer")
	if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
}

func TestAWriterWaitsOnlyWhenTheBufferIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pipe(t, n, "a", "b")
		sent := bytes.Repeat([]byte("0123456789"), 100_000)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		done, err := a.Write(sent)
		if !errors.Is(err, os.ErrDeadlineExceeded) || done == 0 || done == len(sent) {
			t.Fatalf("wrote %d of %d, %v, want a part and a timeout", done, len(sent), err)
		}
		a.SetWriteDeadline(time.Time{})
		var g sync.WaitGroup
		g.Go(func() {
			if _, err := a.Write(sent[done:]); err != nil {
				t.Error(err)
			}
			a.Close()
		})
		got, err := io.ReadAll(b)
		g.Wait()
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("read %d bytes, %v, want all %d", len(got), err, len(sent))
		}
	})
}

func TestADeadlineThatIsSetWakesAReader(t *testing.T) {
	n := memnet.New(1)
	a, _ := pipe(t, n, "a", "b")
	ended := make(chan error)
	go func() {
		_, err := a.Read(make([]byte, 1))
		ended <- err
	}()
	a.SetReadDeadline(time.Now())
	err := <-ended
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read: %v, want a timeout", err)
	}
}

func TestDialErrors(t *testing.T) {
	n := memnet.New(1)
	listen(t, n, "b", "1")
	tests := []struct {
		address string
		want    error
	}{
		{"b:2", syscall.ECONNREFUSED},
		{"nobody:1", syscall.EHOSTUNREACH},
	}
	for _, tt := range tests {
		if _, err := n.Host("a").Dial(t.Context(), tt.address); !errors.Is(err, tt.want) {
			t.Errorf("dial %s: %v, want %v", tt.address, err, tt.want)
		}
	}
	if _, err := n.Host("a").Dial(t.Context(), "no port"); err == nil {
		t.Error("an address without a port was dialed")
	}
}

func TestListenErrors(t *testing.T) {
	n := memnet.New(1)
	listen(t, n, "a", "1")
	tests := []struct {
		address string
		want    error
	}{
		{"a:1", syscall.EADDRINUSE},
		{":1", syscall.EADDRINUSE},
		{"b:1", syscall.EADDRNOTAVAIL},
	}
	for _, tt := range tests {
		if _, err := n.Host("a").Listen(t.Context(), tt.address); !errors.Is(err, tt.want) {
			t.Errorf("listen at %s: %v, want %v", tt.address, err, tt.want)
		}
	}
	for _, address := range []string{"a", "a:http", "a:70000"} {
		if _, err := n.Host("a").Listen(t.Context(), address); err == nil {
			t.Errorf("listened at %s", address)
		}
	}
}

func TestAClosedListenerFreesItsPortAndItsBacklog(t *testing.T) {
	n := memnet.New(1)
	l := listen(t, n, "b", "1")
	c, err := n.Host("a").Dial(t.Context(), "b:1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read from a connection nobody accepted: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	listen(t, n, "b", "1")
}

func TestAFullBacklogKeepsDialersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		l := listen(t, n, "b", "1")
		var err error
		var conns int
		for err == nil {
			var c net.Conn
			if c, err = n.Host("a").Dial(short(t), "b:1"); err == nil {
				t.Cleanup(func() { c.Close() })
				conns++
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("after %d connections: %v", conns, err)
		}
		var g sync.WaitGroup
		g.Go(func() {
			c, err := n.Host("a").Dial(t.Context(), "b:1")
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
		synctest.Wait()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		g.Wait()
	})
}

func TestAPartitionStallsConnectionsUntilItHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pipe(t, n, "a", "b")
		listen(t, n, "b", "1")
		n.Partition("a", "b", memnet.BothWays)
		write(t, a, "from a")
		write(t, b, "from b")
		silent(t, a)
		silent(t, b)
		if _, err := n.Host("a").Dial(short(t), "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v, want the end of its context", err)
		}
		n.Heal("a", "b")
		read(t, a, "from b")
		read(t, b, "from a")
	})
}

func TestAOneWayPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pipe(t, n, "a", "b")
		listen(t, n, "a", "1")
		listen(t, n, "b", "1")
		n.Partition("a", "b", memnet.OneWay)
		write(t, a, "lost")
		silent(t, b)
		write(t, b, "arrives")
		read(t, a, "arrives")
		// A handshake needs both ways.
		for from, to := range map[string]string{"a": "b:1", "b": "a:1"} {
			if _, err := n.Host(from).Dial(short(t), to); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s dials %s: %v", from, to, err)
			}
		}
		n.HealAll()
		read(t, b, "lost")
	})
}

func TestAWaitingDialGoesOnWhenThePartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		listen(t, n, "b", "1")
		n.Partition("a", "b", memnet.BothWays)
		var g sync.WaitGroup
		g.Go(func() {
			c, err := n.Host("a").Dial(t.Context(), "b:1")
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
		synctest.Wait()
		n.Heal("a", "b")
		g.Wait()
	})
}

func TestAnIsolatedHostIsPartedFromAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pipe(t, n, "a", "b")
		own, other := pipe(t, n, "a", "a")
		n.Isolate("a")
		listen(t, n, "later", "1")
		write(t, a, "x")
		silent(t, b)
		write(t, own, "to itself")
		read(t, other, "to itself")
		if _, err := n.Host("a").Dial(short(t), "later:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v", err)
		}
		n.Heal("a", "b") // not what parts them
		silent(t, b)
		n.Rejoin("a")
		read(t, b, "x")
	})
}

func TestACrashResetsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pipe(t, n, "a", "b")
		l := listen(t, n, "b", "1")
		p, err := n.Packet("b", 1)
		if err != nil {
			t.Fatal(err)
		}
		n.Crash("b")
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write of the crashed: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if _, _, err := p.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("socket: %v", err)
		}
		if _, err := n.Host("a").Dial(t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
		listen(t, n, "b", "1")
	})
}

func TestACrashBehindAPartitionIsSeenWhenItHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, _ := pipe(t, n, "a", "b")
		n.Partition("a", "b", memnet.BothWays)
		n.Crash("b")
		silent(t, a)
		write(t, a, "nobody says no")
		n.HealAll()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestReaddress(t *testing.T) {
	n := memnet.New(1)
	a, b := pipe(t, n, "a", "old")
	l := listen(t, n, "old", "1")
	if err := n.Readdress("old", "new"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read at the host: %v", err)
	}
	if got := l.Addr().String(); got != "new:1" {
		t.Errorf("the listener is at %s", got)
	}
	if _, err := n.Host("a").Dial(t.Context(), "old:1"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("dial the old address: %v", err)
	}
	c, err := n.Host("a").Dial(t.Context(), "new:1")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := n.Readdress("new", "a"); err == nil {
		t.Error("a taken name was given again")
	}
	if err := n.Readdress("nobody", "x"); err == nil {
		t.Error("nobody was given a name")
	}
}

func TestDelayIsAddedEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		n.SetDelay("a", "b", 50*time.Millisecond)
		start := time.Now()
		a, b := pipe(t, n, "a", "b")
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("connected after %v", got)
		}
		start = time.Now()
		write(t, a, "ping")
		read(t, b, "ping")
		write(t, b, "pong")
		read(t, a, "pong")
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("the round trip took %v", got)
		}
	})
}

// sockets opens one for each host, at port 7.
func sockets(t *testing.T, n *memnet.Network, hosts ...string) []net.PacketConn {
	t.Helper()
	var out []net.PacketConn
	for _, h := range hosts {
		p, err := n.Packet(h, 7)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		out = append(out, p)
	}
	return out
}

// received reads datagrams until none comes for a second.
func received(t *testing.T, p net.PacketConn) []string {
	t.Helper()
	var out []string
	b := make([]byte, 100)
	for {
		p.SetReadDeadline(time.Now().Add(time.Second))
		n, from, err := p.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s from %s", b[:n], from))
	}
}

func TestDatagramsObeyPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		p := sockets(t, n, "a", "b")
		send := func(from, to int, text string) {
			if _, err := p[from].WriteTo([]byte(text), p[to].LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(at int, want ...string) {
			t.Helper()
			if got := received(t, p[at]); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("socket %d received %q, want %q", at, got, want)
			}
		}
		send(0, 1, "one")
		expect(1, "one from a:7")
		n.Partition("a", "b", memnet.OneWay)
		send(0, 1, "two")
		send(1, 0, "three")
		expect(0, "three from b:7")
		n.Heal("a", "b")
		expect(1) // two is lost, not kept
		n.Isolate("b")
		send(0, 1, "four")
		n.HealAll()
		expect(1)
		if err := n.Readdress("a", "c"); err != nil {
			t.Fatal(err)
		}
		send(0, 1, "five")
		expect(1, "five from c:7")
	})
}

func TestLossIsDecidedByTheSeed(t *testing.T) {
	arrive := func(t *testing.T, seed uint64) []string {
		n := memnet.New(seed)
		p := sockets(t, n, "a", "b")
		n.SetLoss("a", "b", 0.5)
		for i := range 100 {
			p[0].WriteTo(fmt.Append(nil, i), memnet.Addr("b:7"))
		}
		return received(t, p[1])
	}
	synctest.Test(t, func(t *testing.T) {
		first, again, other := arrive(t, 1), arrive(t, 1), arrive(t, 2)
		if len(first) < 25 || len(first) > 75 {
			t.Errorf("%d of 100 arrived, want about half", len(first))
		}
		if fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprint(first) == fmt.Sprint(other) {
			t.Error("the seed does not decide what is lost")
		}
	})
}

func TestDatagramWritesNeverWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		p := sockets(t, n, "a", "b")
		for range 5000 {
			if _, err := p[0].WriteTo([]byte("x"), memnet.Addr("b:7")); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(received(t, p[1])); got == 0 || got == 5000 {
			t.Errorf("%d datagrams were kept, want a bounded number", got)
		}
		if _, err := p[0].WriteTo([]byte("x"), memnet.Addr("nobody:7")); err != nil {
			t.Errorf("write to nobody: %v", err)
		}
		if _, err := p[0].WriteTo(make([]byte, 70000), memnet.Addr("b:7")); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("write of 70000 bytes: %v", err)
		}
		if _, err := n.Packet("b", 7); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second socket at a port: %v", err)
		}
	})
}
