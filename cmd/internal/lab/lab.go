// Package lab makes hosts on one machine, for tests and for people to try things on:
// each has its own network, mounts, /dev, disk, boot ID and libvirtd, can be powered
// off and boots again with its disk; what fails between and in hosts is a function,
// and has an inverse. AddHost starts a process that holds the host's namespaces, and
// goroutines that make its device nodes; Lab.Close ends them and everything else that
// runs in the namespaces, and removes the lab's directory. It needs root.
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
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxHosts keeps addresses within 10.77.0.1 to 10.77.0.200.
	maxHosts = 200
	// network is the first three bytes of every address.
	network = "10.77.0"
	// closeTimeout bounds what Close waits for processes to go.
	closeTimeout = 30 * time.Second
	// atOnce is how many hosts boot or end at a time: more does not make it faster.
	atOnce = 8
)

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Lab is some hosts and the switch between them. It is safe for concurrent use, but
// for AddNetwork, HealAll and Close, which are called while no host is added or boots.
type Lab struct {
	dir, prefix string
	faults      faults

	mu sync.Mutex // guards what follows
	// hosts are in the order that they were added in.
	hosts []*Host
	// networks are those besides the hosts' own, in the order that they were added in.
	networks []string
}

// Spec is what a host is to be.
type Spec struct {
	// Name is its name in the lab and its host name.
	Name string
	// DiskMiB is the size of a file system of its own for its disk, which can hang
	// and loses in a power cut what was not synced; 0: a directory of this machine,
	// which does neither.
	DiskMiB int
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
	l := &Lab{dir: dir, prefix: prefixOf(dir)}
	err = l.owned()
	if err == nil {
		err = l.addSwitch(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", dir, err), l.Close())
	}
	return l, nil
}

// prefixOf is how names begin of what is a lab's outside its directory.
func prefixOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "lab-" + hex.EncodeToString(sum[:4])
}

// Dir is the lab's directory.
func (l *Lab) Dir() string { return l.dir }

// Hosts returns the hosts, on or off, in the order that they were added in.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hosts)
}

// AddHost makes a host and boots it, without libvirtd. Its name is its host name.
func (l *Lab) AddHost(ctx context.Context, name string) (*Host, error) {
	hosts, err := l.Add(ctx, Spec{Name: name})
	if err != nil {
		return nil, err
	}
	return hosts[0], nil
}

// AddHosts makes n hosts, named hv<n> by their numbers in the lab from 1 on, and starts
// their libvirtds, all at the same time.
func (l *Lab) AddHosts(ctx context.Context, n int) ([]*Host, error) {
	first := len(l.Hosts()) + 1
	specs := make([]Spec, n)
	for i := range specs {
		specs[i].Name = fmt.Sprintf("hv%d", first+i)
	}
	hosts, err := l.Add(ctx, specs...)
	if err != nil {
		return nil, err
	}
	return hosts, forAll(hosts, func(h *Host) error { return h.StartLibvirtd(ctx) })
}

// Add makes hosts and boots them, without libvirtd, at the same time. After an error
// those that it concerns are off, or not there if their names could not be taken.
func (l *Lab) Add(ctx context.Context, specs ...Spec) ([]*Host, error) {
	hosts, err := l.reserve(specs)
	if err != nil {
		return nil, err
	}
	err = forAll(hosts, func(h *Host) error {
		if err := h.install(ctx); err != nil {
			return fmt.Errorf("host %q: install: %w", h.name, err)
		}
		return h.Boot(ctx)
	})
	if err != nil {
		return nil, err
	}
	return hosts, nil
}

// reserve gives names and numbers to hosts: to all of them, or to none.
func (l *Lab) reserve(specs []Spec) ([]*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.hosts)
	for _, s := range specs {
		if !validName.MatchString(s.Name) || s.Name == "switch" || s.Name == "enter" {
			return nil, fmt.Errorf("host %q: not a name for a host", s.Name)
		}
		if slices.ContainsFunc(all, func(h *Host) bool { return h.name == s.Name }) {
			return nil, fmt.Errorf("host %q: exists", s.Name)
		}
		if len(all) == maxHosts {
			return nil, fmt.Errorf("host %q: a lab has at most %d hosts", s.Name, maxHosts)
		}
		number := len(all) + 1
		all = append(all, &Host{lab: l, name: s.Name, number: number, diskMiB: s.DiskMiB,
			address: fmt.Sprintf("%s.%d", network, number)})
	}
	added := all[len(l.hosts):]
	l.hosts = all
	return slices.Clone(added), nil
}

// forAll calls f for each host, some at a time, and returns all errors.
func forAll(hosts []*Host, f func(*Host) error) error {
	errs := make([]error, len(hosts))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, h := range hosts {
		g.Go(func() error { errs[i] = f(h); return nil })
	}
	_ = g.Wait() // they are in errs
	return errors.Join(errs...)
}

// Close powers all hosts off and removes the lab's namespaces and directory. It may
// be repeated.
func (l *Lab) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	errs := forAll(l.Hosts(), func(h *Host) error { return h.Kill(ctx) })
	errs = errors.Join(errs, deleteNetns(ctx, l.Switch()))
	if errs != nil {
		return errs // what is left may still use the directory
	}
	l.mu.Lock()
	l.hosts = nil
	l.mu.Unlock()
	return errors.Join(os.RemoveAll(l.dir), l.disowned())
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
	namespaces := map[string]bool{ns: true}
	if _, err := stopAll(namespaces); err != nil {
		return err
	}
	if err := killAll(ctx, namespaces); err != nil {
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
