package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// How a driver process is watched.
const (
	pingEvery   = time.Second
	pingTimeout = time.Second
	// providerTimeout is how long the provider may take for a cheap question before
	// the driver counts as not answering.
	providerTimeout = 1500 * time.Millisecond
	// hungAfter is how long the process itself may be silent before it is killed.
	hungAfter    = 20 * time.Second
	startTimeout = 20 * time.Second
	restartMin   = 200 * time.Millisecond
	restartMax   = 5 * time.Second
)

// Deadlines of calls. A start or a stop of a guest is slow on a loaded host.
const (
	readDeadline  = 20 * time.Second
	writeDeadline = 90 * time.Second
)

// SupervisorConfig says which process a Supervisor runs.
type SupervisorConfig struct {
	// Name is the driver's name, for messages.
	Name string
	// Path is the driver's program; Args are its arguments.
	Path string
	Args []string
	// Config is what the driver is told once it runs.
	Config Config
	Log    *slog.Logger
}

// Supervisor is a driver in a process of its own, as a Driver: Run keeps the
// process running. A call made while it does not run, or cut short by its end,
// returns an error that wraps state.ErrBusy. It is safe for concurrent use.
type Supervisor struct {
	c SupervisorConfig

	// mu guards the process in use, and what is known of it.
	mu      sync.Mutex
	process *process
	// trouble says why calls cannot be answered; nil: they can.
	trouble error
	since   time.Time
}

// process is one run of the driver.
type process struct {
	plugin *plugin.Client
	driver client
}

// Supervise returns a Supervisor; nothing runs before Run.
func Supervise(c SupervisorConfig) *Supervisor {
	return &Supervisor{c: c, trouble: errors.New("not started yet"), since: time.Now()}
}

// Run starts the process and starts it again whenever it ends, until ctx ends; it
// then stops the process, waits for it, and returns nil.
func (s *Supervisor) Run(ctx context.Context) error {
	// The kernel ends the process when the *thread* that started it ends (prctl(2),
	// PR_SET_PDEATHSIG), so this goroutine keeps its thread until the process is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wait := restartMin
	for ctx.Err() == nil {
		began := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > hungAfter {
			wait = restartMin
		}
		s.lost(err)
		s.c.Log.WarnContext(ctx, "driver process ended; will start it again", "driver", s.c.Name, "in", wait, "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		wait = min(2*wait, restartMax)
	}
	return nil
}

// once runs the process until it ends, hangs, or ctx ends.
func (s *Supervisor) once(ctx context.Context) error {
	p, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		s.drop(p)
		p.plugin.Kill()
	}()
	s.adopt(p)
	return s.watchProcess(ctx, p)
}

func (s *Supervisor) start(ctx context.Context) (*process, error) {
	// The process dies with the agent, however that ends (Run says how), and does not
	// get what is typed at the agent's terminal.
	cmd := exec.Command(s.c.Path, s.c.Args...) //nolint:noctx,gosec // it is ended by plugin.Kill; the path is the operator's
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: handshake, Plugins: plugin.PluginSet{pluginName: &grpcPlugin{}}, Cmd: cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true, StartTimeout: startTimeout,
		Logger: hclog.NewNullLogger(), Stderr: &logWriter{s.c.Log, s.c.Name}, SkipHostEnv: false,
	})
	conn, err := c.Client()
	if err != nil {
		c.Kill()
		return nil, fmt.Errorf("driver %s: start %s: %w", s.c.Name, s.c.Path, err)
	}
	raw, err := conn.Dispense(pluginName)
	if err != nil {
		c.Kill()
		return nil, fmt.Errorf("driver %s: %w", s.c.Name, err)
	}
	p := &process{plugin: c, driver: client{raw.(pb.DriverClient)}}
	bounded, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := p.driver.pb.Configure(bounded, configToPB(s.c.Config)); err != nil {
		c.Kill()
		return nil, fmt.Errorf("driver %s: configure: %w", s.c.Name, fromStatus(err))
	}
	return p, nil
}

// watchProcess pings the process and asks the provider, until the process ends,
// hangs, or ctx ends.
func (s *Supervisor) watchProcess(ctx context.Context, p *process) error {
	answered := time.Now()
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		if err := s.ping(ctx, p); err == nil {
			answered = time.Now()
			s.set(p, s.askProvider(ctx, p))
		} else {
			s.set(p, err)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case p.plugin.Exited():
			return errors.New("it ended")
		case time.Since(answered) > hungAfter:
			return fmt.Errorf("it did not answer for %s", hungAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *Supervisor) ping(ctx context.Context, p *process) error {
	bounded, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := p.driver.pb.Ping(bounded, &pb.PingRequest{})
	return fromStatus(err)
}

func (s *Supervisor) askProvider(ctx context.Context, p *process) error {
	bounded, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	_, err := p.driver.Info(bounded)
	return err
}

// Healthy returns nil, or why calls would not be answered now.
func (s *Supervisor) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		return nil
	}
	return fmt.Errorf("driver %s: for %s: %w", s.c.Name, time.Since(s.since).Round(time.Second), s.trouble)
}

func (s *Supervisor) adopt(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
}

// drop makes calls fail at once.
func (s *Supervisor) drop(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == p {
		s.process = nil
	}
}

func (s *Supervisor) lost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(err)
}

func (s *Supervisor) set(p *process, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == p {
		s.note(err)
	}
}

// note records trouble, or its end; mu is held.
func (s *Supervisor) note(err error) {
	if (err == nil) != (s.trouble == nil) {
		s.since = time.Now()
	}
	s.trouble = err
}

// get returns the process in use.
func (s *Supervisor) get() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil, &remoteError{text: fmt.Sprintf("driver %s does not run: %v", s.c.Name, s.trouble), kind: state.ErrBusy}
	}
	return s.process, nil
}

// call makes one call with a deadline. A call that the end of the process cuts
// short is a busy driver.
func (s *Supervisor) call(ctx context.Context, limit time.Duration, do func(context.Context, client) error) error {
	p, err := s.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx, p.driver)
}

// Info implements Driver.
func (s *Supervisor) Info(ctx context.Context) (info Info, err error) {
	err = s.call(ctx, readDeadline, func(ctx context.Context, c client) error {
		info, err = c.Info(ctx)
		return err
	})
	return info, err
}

// Instances implements Driver.
func (s *Supervisor) Instances(ctx context.Context) (all []Instance, err error) {
	err = s.call(ctx, readDeadline, func(ctx context.Context, c client) error {
		all, err = c.Instances(ctx)
		return err
	})
	return all, err
}

// Ensure implements Driver.
func (s *Supervisor) Ensure(ctx context.Context, spec Spec) error {
	return s.call(ctx, writeDeadline, func(ctx context.Context, c client) error { return c.Ensure(ctx, spec) })
}

// Remove implements Driver.
func (s *Supervisor) Remove(ctx context.Context, uuid string) error {
	return s.call(ctx, writeDeadline, func(ctx context.Context, c client) error { return c.Remove(ctx, uuid) })
}

// Power implements Driver.
func (s *Supervisor) Power(ctx context.Context, uuid string, req PowerRequest) error {
	return s.call(ctx, writeDeadline, func(ctx context.Context, c client) error { return c.Power(ctx, uuid, req) })
}

// Watch implements Driver. It ends with an error when the process does.
func (s *Supervisor) Watch(ctx context.Context, on func(Event)) error {
	p, err := s.get()
	if err != nil {
		return err
	}
	return p.driver.Watch(ctx, on)
}

// Console implements Driver.
func (s *Supervisor) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	p, err := s.get()
	if err != nil {
		return nil, err
	}
	return p.driver.Console(ctx, uuid)
}

// logWriter turns what a driver prints into log lines.
type logWriter struct {
	log  *slog.Logger
	name string
}

// Write implements io.Writer.
func (w *logWriter) Write(b []byte) (int, error) {
	w.log.Info("driver says", "driver", w.name, "text", string(b))
	return len(b), nil
}
