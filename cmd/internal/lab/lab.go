// Package lab makes hosts on one machine, for tests and for people to try things on:
// each has its own network, mounts, disk, boot ID and libvirtd, can be powered off
// and boots again with its disk. AddHost starts a process that holds the host's
// namespaces; Lab.Close ends it and everything else that runs in them, and removes
// the lab's directory. It needs root.
package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// maxHosts keeps addresses within 10.77.0.1 to 10.77.0.200.
	maxHosts = 200
	// network is the first three bytes of every address.
	network = "10.77.0"
	// closeTimeout bounds what Close waits for processes to go.
	closeTimeout = 30 * time.Second
)

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Lab is some hosts and the switch between them. It is safe for concurrent use.
type Lab struct {
	dir, prefix string

	mu sync.Mutex // guards hosts
	// hosts are in the order that they were added in.
	hosts []*Host
}

// New makes a lab without hosts in dir, which must be absent or empty. Names outside
// dir begin with a prefix that depends on dir.
func New(ctx context.Context, dir string) (*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("lab %s: the directory is not empty", dir)
	}
	sum := sha256.Sum256([]byte(dir))
	l := &Lab{dir: dir, prefix: "lab-" + hex.EncodeToString(sum[:4])}
	if err := l.addSwitch(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", dir, err), l.Close())
	}
	return l, nil
}

// Dir is the lab's directory.
func (l *Lab) Dir() string { return l.dir }

// Switch is the network namespace, by its ip-netns(8) name, with the bridge "lab" that
// every host's eth0 is wired to as "h<n>". The bridge has the address 10.77.0.254/24.
func (l *Lab) Switch() string { return l.prefix + "-switch" }

func (l *Lab) addSwitch(ctx context.Context) error {
	ns := l.Switch()
	if err := run(ctx, "ip", "netns", "add", ns); err != nil {
		return err
	}
	return run(ctx, "ip", "-n", ns, "-batch", "-",
		"link set lo up",
		"link add name lab type bridge forward_delay 0 stp_state 0",
		"addr add "+network+".254/24 dev lab",
		"link set lab up")
}

// AddHost makes a host and boots it, without libvirtd. Its name is its host name.
func (l *Lab) AddHost(ctx context.Context, name string) (*Host, error) {
	if !validName.MatchString(name) || name == "switch" {
		return nil, fmt.Errorf("host %q: not a name for a host", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		if h.name == name {
			return nil, fmt.Errorf("host %q: exists", name)
		}
	}
	if len(l.hosts) == maxHosts {
		return nil, fmt.Errorf("host %q: a lab has at most %d hosts", name, maxHosts)
	}
	h := &Host{lab: l, name: name, number: len(l.hosts) + 1}
	if err := h.install(); err != nil {
		return nil, fmt.Errorf("host %q: %w", name, err)
	}
	l.hosts = append(l.hosts, h)
	if err := h.Boot(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// Close powers all hosts off and removes the lab's namespaces and directory. It may
// be repeated.
func (l *Lab) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs error
	for _, h := range l.hosts {
		errs = errors.Join(errs, h.Kill(ctx))
	}
	l.hosts = nil
	errs = errors.Join(errs, deleteNetns(ctx, l.Switch()))
	if errs != nil {
		return errs // what is left may still use the directory
	}
	return os.RemoveAll(l.dir)
}

// deleteNetns ends the processes of a network namespace and deletes it; an absent one
// is no error.
func deleteNetns(ctx context.Context, name string) error {
	path := netnsPath(name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ns, err := namespaceOf(path)
	if err != nil {
		return err
	}
	if err := killAll(ctx, map[string]bool{ns: true}); err != nil {
		return err
	}
	return run(ctx, "ip", "netns", "del", name)
}

func netnsPath(name string) string { return filepath.Join("/run/netns", name) }

// run executes a command; with "-batch -" as its last arguments before lines of
// input, as ip(8) takes them.
func run(ctx context.Context, name string, args ...string) error {
	var input []string
	for i, a := range args {
		if a == "-batch" {
			args, input = args[:i+2], args[i+2:]
			break
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(strings.Join(input, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
