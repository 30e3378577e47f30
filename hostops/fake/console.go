package fake

import (
	"context"
	"io"
	"sync"

	"tenks/raftfsm/state"
)

// lineSize is how many bytes wait for a reader; a serial line loses the rest.
const lineSize = 64 << 10

// console is a serial line whose far end sends back what it gets. It is safe for
// concurrent use.
type console struct {
	forget func()

	// mu guards what follows; changed is told of every change.
	mu      sync.Mutex
	changed *sync.Cond
	line    []byte
	ended   bool
}

// Console implements driver.Driver: it echoes what is typed.
func (d *Driver) Console(_ context.Context, uuid string) (io.ReadWriteCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.mine(uuid)
	if err != nil {
		return nil, err
	}
	if n.Power != state.PowerOn {
		return nil, offError(n)
	}
	c := &console{}
	c.changed = sync.NewCond(&c.mu)
	c.forget = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.consoles, c)
	}
	d.consoles[c] = uuid
	return c, nil
}

// detach ends the consoles of a guest that goes off; the driver's mu is held.
func (d *Driver) detach(uuid string) {
	for c, of := range d.consoles {
		if of == uuid {
			c.end()
			delete(d.consoles, c)
		}
	}
}

func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.changed.Broadcast()
}

// Read implements io.Reader.
func (c *console) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.line) == 0 && !c.ended {
		c.changed.Wait()
	}
	if len(c.line) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.line)
	c.line = c.line[n:]
	return n, nil
}

// Write implements io.Writer.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, io.ErrClosedPipe
	}
	c.line = append(c.line, b[:min(len(b), lineSize-len(c.line))]...)
	c.changed.Broadcast()
	return len(b), nil
}

// SendBreak implements driver.Breaker: a line that sends it back makes a zero byte of it.
func (c *console) SendBreak(context.Context) error {
	_, err := c.Write([]byte{0})
	return err
}

// Close implements io.Closer.
func (c *console) Close() error {
	c.forget()
	c.end()
	return nil
}
