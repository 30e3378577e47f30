package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// line is a line of the audit file. Its keys never change.
type line struct {
	Time     string  `json:"time"`
	Node     string  `json:"node"`
	UUID     string  `json:"uuid"`
	Protocol string  `json:"protocol"`
	Client   string  `json:"client"`
	User     string  `json:"user"`
	Method   string  `json:"method"`
	Result   string  `json:"result"`
	TookMS   float64 `json:"took_ms"`
}

// audit is the file as it is open.
type audit struct {
	cfg  Config
	file *os.File // nil: it is opened with the next line
	size int64
}

// Run writes the audit file until ctx ends, and then what was queued by then. It never
// fails: what cannot be written is counted as lost, and logged once for each time that it
// begins.
func (r *Recorder) Run(ctx context.Context) error {
	a := &audit{cfg: r.cfg}
	defer func() {
		if err := a.close(); err != nil {
			r.cfg.Log.Warn("audit of BMCs: close failed", "err", err)
		}
	}()
	failing := false
	note := func(c Call) {
		err := a.write(c)
		if err != nil {
			r.lost.Add(1)
		}
		if err != nil && !failing {
			r.cfg.Log.ErrorContext(ctx, "audit of BMCs: requests are not noted", "err", err)
		}
		failing = err != nil
	}
	for {
		select {
		case c := <-r.queue:
			note(c)
		case <-ctx.Done():
			for {
				select {
				case c := <-r.queue:
					note(c)
				default:
					return nil
				}
			}
		}
	}
}

func (a *audit) write(c Call) error {
	client := ""
	if c.Client.IsValid() {
		client = c.Client.String()
	}
	b, err := json.Marshal(line{Time: c.At.UTC().Format("2006-01-02T15:04:05.000Z"), Node: c.Node, UUID: c.UUID, Protocol: c.Protocol,
		Client: client, User: c.User, Method: c.Method, Result: c.Result, TookMS: float64(c.Took.Round(time.Microsecond)) / float64(time.Millisecond)})
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if err := a.open(); err != nil {
		return err
	}
	if a.size > 0 && a.size+int64(len(b)) > a.cfg.MaxBytes {
		if err := a.rotate(); err != nil {
			return err
		}
	}
	n, err := a.file.Write(b)
	a.size += int64(n)
	if err != nil {
		return errors.Join(err, a.close()) // opened anew for the next line
	}
	return nil
}

// open opens the file for appending, with mode 0600 also if it was there before.
func (a *audit) open() error {
	if a.file != nil {
		return nil
	}
	f, err := os.OpenFile(a.cfg.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.file, a.size = f, st.Size()
	return nil
}

func (a *audit) close() error {
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}

// rotate puts the file aside and begins another.
func (a *audit) rotate() error {
	if err := a.close(); err != nil {
		return err
	}
	name := func(i int) string { return fmt.Sprintf("%s.%d", a.cfg.Path, i) }
	for i := a.cfg.Keep - 1; i >= 1; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(a.cfg.Path, name(1)); err != nil {
		return err
	}
	return a.open()
}
