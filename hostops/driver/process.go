package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	pb "tenks/hostops/driver/driverpb"
)

// process is one run of a driver's program. It is not used again once it ended.
type process struct {
	program *program
	plugin  *plugin.Client
	driver  client
	// sockets is a directory to remove at the end; empty: there is none.
	sockets string
}

// startProcess runs the program and configures it. The process dies with the thread
// that this is called on: see Supervisor.Run.
func startProcess(ctx context.Context, c SupervisorConfig) (*process, error) {
	if _, err := exec.LookPath(c.Path); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	sockets, err := socketDir(c.Config.DataDir)
	if err != nil {
		return nil, err
	}
	p := &process{program: newProgram(c.Path, c.Args), sockets: sockets}
	p.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{pluginName: &grpcPlugin{}},
		RunnerFunc:       p.program.adopt,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		StartTimeout:     time.Hour, // ctx is what bounds it
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: sockets},
		Logger:           hclog.NewNullLogger(),
		Stderr:           &logWriter{c.Log, c.Name},
	})
	// Whatever the process does not answer, its end does.
	stop := context.AfterFunc(ctx, func() { _ = p.program.Kill(ctx) })
	defer stop()
	if err := p.connect(ctx, c.Config); err != nil {
		err = p.explain(ctx, err)
		p.end(ctx)
		return nil, err
	}
	return p, nil
}

func (p *process) connect(ctx context.Context, c Config) error {
	conn, err := p.plugin.Client()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.program.cmd.Path, err)
	}
	raw, err := conn.Dispense(pluginName)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.program.cmd.Path, err)
	}
	p.driver = client{raw.(pb.DriverClient)}
	if _, err := p.driver.pb.Configure(ctx, configToPB(c)); err != nil {
		return fmt.Errorf("configure: %w", fromStatus(err))
	}
	return nil
}

// explain says in plain words why a start came to nothing. A program that could not
// even be run, and an answer of a driver, speak for themselves.
func (p *process) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("start %s: it did not answer in time", p.program.cmd.Path)
	case p.driver.pb == nil && p.program.running() != 0:
		return fmt.Errorf("start %s: it does not speak the protocol of drivers (%s)", p.program.cmd.Path, firstLine(err.Error()))
	}
	return err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// end kills the process and waits until nothing is left of it. Asking it to end
// first would gain nothing, because a driver must bear being killed at any moment,
// and go-plugin would wait for the answer of a hung one for ever.
func (p *process) end(ctx context.Context) {
	_ = p.program.Kill(ctx)
	p.plugin.Kill()
	if p.sockets != "" {
		_ = os.RemoveAll(p.sockets) // the next start removes it otherwise
	}
}

// maxSocketDir is how long a path may be to have sockets in it: sun_path is 108
// bytes (unix(7)), of which go-plugin's names of directory and socket take 40.
const maxSocketDir = 64

// socketDir makes a directory for the sockets of a process: below the driver's own,
// so that what a killed agent leaves is found and removed by its next run.
func socketDir(data string) (string, error) {
	dir := filepath.Join(data, ".sockets")
	if data == "" || len(dir) > maxSocketDir {
		return "", nil // the system's
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("sockets: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("sockets: %w", err)
	}
	return dir, nil
}

// program implements runner.Runner: a process that dies with the agent, has no
// terminal, and whose end is known at once. It is safe for concurrent use.
type program struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File
	// exited is closed when the process has ended, and err says how; it is never
	// closed if the process did not start.
	exited chan struct{}
	err    error

	// mu guards what follows, so that Kill comes before Start or after it.
	mu sync.Mutex
	// pid is 0 before the process runs.
	pid    int
	killed bool
}

func newProgram(path string, args []string) *program {
	return &program{cmd: exec.Command(path, args...), exited: make(chan struct{})} //nolint:noctx,gosec // Kill ends it; the path is the operator's
}

// adopt takes over what go-plugin has to tell the process by its environment.
func (p *program) adopt(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
	p.cmd.Env = cmd.Env
	return p, nil
}

// Start implements runner.Runner.
func (p *program) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("killed before it ran")
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		return err
	}
	stderr, errs, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdout.Close(), out.Close())
	}
	p.stdout, p.stderr = stdout, stderr
	p.cmd.Stdout, p.cmd.Stderr = out, errs
	// A group of its own keeps what is typed at the agent's terminal from it. The
	// kernel kills it when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG).
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = p.cmd.Start()
	_, _ = out.Close(), errs.Close() // the process has its own
	if err != nil {
		_, _ = stdout.Close(), stderr.Close()
		return err
	}
	p.pid = p.cmd.Process.Pid
	go p.await() // ends with the process; Kill waits for it
	return nil
}

// await closes exited. A child of the process may hold its ends of the pipes open:
// what is not read soon is not read at all.
func (p *program) await() {
	p.err = p.cmd.Wait()
	soon := time.Now().Add(time.Second)
	_ = p.stdout.SetReadDeadline(soon)
	_ = p.stderr.SetReadDeadline(soon)
	close(p.exited)
}

// Kill implements runner.Runner: it kills the process and its children, and waits.
func (p *program) Kill(context.Context) error {
	p.mu.Lock()
	p.killed = true
	pid := p.pid
	p.mu.Unlock()
	if pid == 0 {
		return nil
	}
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-p.exited
	return nil
}

func (p *program) running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Wait implements runner.Runner.
func (p *program) Wait(context.Context) error {
	<-p.exited
	return p.err
}

// how says how the process ended.
func (p *program) how() string {
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// Stdout implements runner.Runner.
func (p *program) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner.
func (p *program) Stderr() io.ReadCloser { return p.stderr }

// Name implements runner.Runner.
func (p *program) Name() string { return p.cmd.Path }

// ID implements runner.Runner.
func (p *program) ID() string {
	if pid := p.running(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

// Diagnose implements runner.Runner.
func (p *program) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner: both see the same files.
func (p *program) PluginToHost(network, addr string) (hostNetwork, hostAddr string, err error) {
	return network, addr, nil
}

// HostToPlugin implements runner.Runner.
func (p *program) HostToPlugin(network, addr string) (pluginNetwork, pluginAddr string, err error) {
	return network, addr, nil
}

// logWriter turns the lines that a driver prints into log lines.
type logWriter struct {
	log  *slog.Logger
	name string
}

// Write implements io.Writer.
func (w *logWriter) Write(b []byte) (int, error) {
	if text := strings.TrimSpace(string(b)); text != "" {
		w.log.Info("driver says", "driver", w.name, "text", text)
	}
	return len(b), nil
}
