package hostops

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// screen reads a console into memory until it ends.
type screen struct {
	io.ReadWriteCloser
	text  bytes.Buffer
	err   error
	ended chan struct{}
}

func (e *env) screen(uuid string) *screen {
	e.t.Helper()
	c, err := e.host.Console(e.t.Context(), uuid)
	if err != nil {
		e.t.Fatalf("console of %s: %v", uuid, err)
	}
	s := &screen{ReadWriteCloser: c, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		_, s.err = io.Copy(&s.text, c)
	}()
	return s
}

func (s *screen) wants(t *testing.T, what, want string) {
	t.Helper()
	synctest.Wait()
	if got := s.text.String(); got != want {
		t.Errorf("%s: saw %d bytes %.60q, want %d %.60q", what, len(got), got, len(want), want)
	}
}

// over fails the test unless the console has ended with an error, or nil for its end.
func (s *screen) over(t *testing.T, what string, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case <-s.ended:
		if !errors.Is(s.err, want) {
			t.Errorf("%s: ended with %v, want %v", what, s.err, want)
		}
	default:
		t.Errorf("%s: has not ended", what)
	}
}

// says is output of the guest.
func (e *env) says(uuid, text string) {
	e.t.Helper()
	tty := e.nodes.tty(uuid)
	if tty == nil {
		e.t.Fatalf("nobody is attached to %s", uuid)
	}
	if _, err := io.WriteString(tty, text); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) attached(uuid string) int {
	e.nodes.mu.Lock()
	defer e.nodes.mu.Unlock()
	n := 0
	for _, c := range e.nodes.calls {
		if c == "console "+uuid {
			n++
		}
	}
	return n
}

func withConsole(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		if _, err := e.host.Console(t.Context(), "a"); !errors.Is(err, state.ErrWrongState) {
			t.Errorf("console of a node that is off: %v", err)
		}
		e.power("a", state.ActionOn)
		test(t, e)
	})
}

func TestEveryClientOfAConsoleSeesAllAndMayType(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		first := e.screen("a")
		e.says("a", "boot ")
		second := e.screen("a")
		e.says("a", "login: ")
		first.wants(t, "the first", "boot login: ")
		second.wants(t, "the second, which came later", "boot login: ")
		if got := e.attached("a"); got != 1 {
			t.Errorf("attached %d times to the driver", got)
		}
		for _, s := range []*screen{first, second} {
			if _, err := s.Write([]byte("root\r")); err != nil {
				t.Fatal(err)
			}
			typed := make([]byte, 16)
			n, err := e.nodes.tty("a").Read(typed)
			if err != nil || string(typed[:n]) != "root\r" {
				t.Errorf("the guest read %q, %v", typed[:n], err)
			}
		}
		if err := errors.Join(first.Close(), first.Close()); err != nil {
			t.Error(err)
		}
		first.over(t, "the first, which left", nil)
		if _, err := first.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write to a console that was left: %v", err)
		}
		e.says("a", "$ ")
		second.wants(t, "the second", "boot login: $ ")
		tty := e.nodes.tty("a")
		_ = second.Close()
		synctest.Wait()
		if _, err := tty.Write([]byte("x")); err == nil {
			t.Error("the driver's console is attached without a client")
		}
		third := e.screen("a")
		third.wants(t, "one that comes when all have left", "boot login: $ ")
		if got := e.attached("a"); got != 2 {
			t.Errorf("attached %d times to the driver", got)
		}
		_ = third.Close()
	})
}

func TestAConsoleEndsWithTheGuestAndIsThereAgain(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		for _, a := range []state.PowerAction{state.ActionCycle, state.ActionOff} {
			one, two := e.screen("a"), e.screen("a")
			e.says("a", "x")
			e.power("a", a)
			one.over(t, "after "+string(a), nil)
			two.over(t, "after "+string(a), nil)
			if _, err := one.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("write after %s: %v", a, err)
			}
		}
		e.power("a", state.ActionOn)
		again := e.screen("a")
		e.says("a", "y")
		again.wants(t, "after the guest is on again", "xxy")
	})
}

func TestScrollbackIsBounded(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		first := e.screen("a")
		text := ""
		for i := range 50 {
			line := strings.Repeat(string(rune('a'+i%26)), 1000) + "\n"
			e.says("a", line)
			text += line
		}
		first.wants(t, "one who was there", text)
		e.screen("a").wants(t, "one who comes", text[len(text)-scrollback:])
		read, err := e.host.Console(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = read.Close() }()
		e.says("a", "more")
		synctest.Wait()
		next, err := e.host.Console(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = next.Close() }()
		place := func(c io.ReadWriteCloser) int64 { return c.(interface{ Position() int64 }).Position() }
		if got := place(next) - place(read); got != 4 {
			t.Errorf("after 4 bytes of output the place of the next client differs by %d", got)
		}
	})
}

func TestASlowClientIsDroppedAndOthersLoseNothing(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		slow, err := e.host.Console(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		fast := e.screen("a")
		chunk := strings.Repeat("0123456789abcdef", 1<<10)
		text := ""
		for range clientBuffer/len(chunk) + 2 {
			e.says("a", chunk)
			text += chunk
			synctest.Wait()
		}
		fast.wants(t, "the fast one", text)
		got, err := io.ReadAll(slow)
		if !errors.Is(err, ErrSlowConsole) || string(got) != text[:clientBuffer] {
			t.Errorf("the slow one read %d bytes and %v, want %d and %v", len(got), err, clientBuffer, ErrSlowConsole)
		}
		e.says("a", "!")
		fast.wants(t, "the fast one later", text+"!")
		_ = slow.Close()
		e.screen("a").wants(t, "a new one", (text + "!")[len(text)+1-scrollback:])
	})
}

func TestAGuestThatDoesNotReadHoldsUpNoClient(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		one, two := e.screen("a"), e.screen("a")
		stuck := make(chan error, 1) // one result
		go func() {
			for {
				if _, err := one.Write([]byte("x")); err != nil {
					stuck <- err
					return
				}
			}
		}()
		e.says("a", "still here")
		two.wants(t, "another", "still here")
		_ = one.Close()
		if err := <-stuck; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write of one who left: %v", err)
		}
		_ = two.Close()
	})
}

func TestAConsoleEndsWithItsContextAndItsNode(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := e.host.Console(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		other := e.screen("a")
		cancel()
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("after its context: %v", err)
		}
		e.says("a", "x")
		other.wants(t, "another", "x")
		e.removeNode("a")
		e.mustPass()
		e.mustPass()
		other.over(t, "once the node is gone", nil)
		if _, err := e.host.Console(t.Context(), "a"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("console of a node that is gone: %v", err)
		}
	})
}

func TestADriverThatHangsHoldsUpNobodyAtAConsole(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		e.nodes.hang("console")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := e.host.Console(ctx, "a"); !errors.Is(err, state.ErrBusy) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want busy after the context's second", err, time.Since(began))
		}
		e.nodes.hang("")
		e.nodes.failWith(func(op, _ string) error {
			if op == "console" {
				return state.ErrWrongState
			}
			return nil
		})
		for range 2 {
			if _, err := e.host.Console(t.Context(), "a"); !errors.Is(err, state.ErrWrongState) {
				t.Errorf("got %v, want the driver's error", err)
			}
		}
		e.nodes.failWith(nil)
		_ = e.screen("a").Close()
	})
}

func TestTheEndOfTheAgentEndsConsoles(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		s := e.screen("a")
		e.says("a", "x")
		e.restart()
		s.over(t, "once the agent ended", nil)
	})
}

func TestABreakIsInOrderWithWhatIsTyped(t *testing.T) {
	withConsole(t, func(t *testing.T, e *env) {
		s := e.screen("a")
		if err := s.ReadWriteCloser.(driver.Breaker).SendBreak(t.Context()); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("a break where the driver cannot: %v", err)
		}
		_ = s.Close()
		synctest.Wait()
		e.nodes.breaks = true
		s = e.screen("a")
		_, err := s.Write([]byte("a"))
		err = errors.Join(err, s.ReadWriteCloser.(driver.Breaker).SendBreak(t.Context()))
		_, err2 := s.Write([]byte("b"))
		if err = errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		typed := make([]byte, len("a(break)b"))
		if _, err := io.ReadFull(e.nodes.tty("a"), typed); err != nil || string(typed) != "a(break)b" {
			t.Errorf("the guest read %q, %v", typed, err)
		}
		_ = s.Close()
		if err := s.ReadWriteCloser.(driver.Breaker).SendBreak(t.Context()); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a break on a console that was left: %v", err)
		}
	})
}
