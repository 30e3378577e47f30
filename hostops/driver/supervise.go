package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// timing is how a driver process is watched, and how long calls may take.
type timing struct {
	// pingEvery is how often the process, and then its provider, is asked for a sign
	// of life; pingTimeout and providerTimeout are how long each may take to give it.
	pingEvery, pingTimeout, providerTimeout time.Duration
	// hungAfter is how long the process itself may be silent before it is killed.
	hungAfter    time.Duration
	startTimeout time.Duration
	// restartMin is the pause before it is started again, doubled each time up to
	// restartMax. A run longer than hungAfter begins anew with restartMin.
	restartMin, restartMax time.Duration
	// read bounds questions, write changes: a start or stop of a guest is slow on a
	// loaded host.
	read, write time.Duration
}

func defaultTiming() timing {
	return timing{
		pingEvery: time.Second, pingTimeout: time.Second, providerTimeout: 1500 * time.Millisecond,
		hungAfter: 20 * time.Second, startTimeout: 20 * time.Second,
		restartMin: 200 * time.Millisecond, restartMax: 5 * time.Second,
		read: 20 * time.Second, write: 90 * time.Second,
	}
}

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
// process running. A call made while it does not run fails at once, and a call that
// the process' end or a deadline cuts short fails then, with an error that wraps
// state.ErrBusy; so does a Watch. It is safe for concurrent use.
type Supervisor struct {
	c      SupervisorConfig
	timing timing

	// mu guards what follows.
	mu sync.Mutex
	// process is the one in use; nil: it does not run.
	process *process
	// trouble says why calls are not answered; nil: they are.
	trouble error
	// since is when the provider last answered, or when it was first asked.
	since time.Time
}

// ErrNotStarted says that the driver's program could not be started when it was last
// tried, as where libvirt's library is missing. It will be tried again.
var ErrNotStarted = errors.New("the driver's program does not start")

// Supervise returns a Supervisor; nothing runs before Run.
func Supervise(c SupervisorConfig) *Supervisor {
	return &Supervisor{c: c, timing: defaultTiming(), trouble: errors.New("not started yet"), since: time.Now()}
}

// Run starts the process and starts it again whenever it ends or hangs, until ctx
// ends; it then kills the process, waits for it, and returns nil. A provider that
// hangs is no reason to start its driver again. Run is called once.
func (s *Supervisor) Run(ctx context.Context) error {
	// The process dies with the thread that started it, so this goroutine keeps its
	// thread for as long as there may be one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wait := s.timing.restartMin
	for {
		began := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > s.timing.hungAfter {
			wait = s.timing.restartMin
		}
		s.c.Log.WarnContext(ctx, "driver process ended; will start it again", "driver", s.c.Name, "in", wait, "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, s.timing.restartMax)
	}
}

// once runs the process until it ends, hangs, or ctx ends, and says which.
func (s *Supervisor) once(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, s.timing.startTimeout)
	p, err := startProcess(bounded, s.c)
	cancel()
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotStarted, err)
		s.use(nil, err)
		return err
	}
	s.use(p, errors.New("starting"))
	err = s.watchProcess(ctx, p)
	// Calls fail from here on, not only once the process is gone.
	s.use(nil, err)
	p.end(ctx)
	return err
}

// watchProcess asks the process and its provider for signs of life, until the
// process ends or hangs, or ctx ends.
func (s *Supervisor) watchProcess(ctx context.Context, p *process) error {
	answered := time.Now()
	ticker := time.NewTicker(s.timing.pingEvery)
	defer ticker.Stop()
	for {
		err := s.ping(ctx, p)
		if err == nil {
			answered = time.Now()
			err = s.askProvider(ctx, p)
		}
		s.note(err)
		if time.Since(answered) > s.timing.hungAfter {
			return fmt.Errorf("the process did not answer for %s", s.timing.hungAfter)
		}
		select {
		case <-ctx.Done():
			return errors.New("stopped")
		case <-p.program.exited:
			return fmt.Errorf("the process ended: %s", p.program.how())
		case <-ticker.C:
		}
	}
}

func (s *Supervisor) ping(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, s.timing.pingTimeout)
	defer cancel()
	_, err := p.driver.pb.Ping(ctx, &pb.PingRequest{})
	return fromStatus(err)
}

func (s *Supervisor) askProvider(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, s.timing.providerTimeout)
	defer cancel()
	_, err := p.driver.Info(ctx)
	return err
}

// Healthy returns nil, or why calls would not be answered now.
func (s *Supervisor) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.trouble == nil:
		return nil
	case s.process == nil:
		return fmt.Errorf("driver %s: not running for %s: %w", s.c.Name, s.silent(), s.trouble)
	}
	return fmt.Errorf("driver %s: not answering for %s: %w", s.c.Name, s.silent(), s.trouble)
}

// silent is how long the provider has not answered; mu is held.
func (s *Supervisor) silent() time.Duration { return time.Since(s.since).Round(time.Second) }

// use makes calls go to p, or fail if it is nil, until the next call of use.
func (s *Supervisor) use(p *process, trouble error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.trouble = p, trouble
}

// note records how the provider answered.
func (s *Supervisor) note(trouble error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = trouble
	if trouble == nil {
		s.since = time.Now()
	}
}

// get returns the process in use.
func (s *Supervisor) get() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil, fmt.Errorf("driver %s: %w: not running: %w", s.c.Name, state.ErrBusy, s.trouble)
	}
	return s.process, nil
}
