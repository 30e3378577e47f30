// Command labmain makes some hosts on this machine for people to try Tenks on, as
// `make lab` does: each with its own network, disk and libvirtd. It stays until it is
// interrupted, then removes all of it. Meanwhile it reads commands that make and undo
// faults from its standard input.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"tenks/cmd/internal/lab"
)

const dataDir = "/var/lib/tenks"

// options are what the hosts are to be.
type options struct {
	hosts, zones, diskMiB int
	networks              []string
	dir, bin              string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var networks string
	f := flag.NewFlagSet("lab", flag.ContinueOnError)
	f.IntVar(&o.hosts, "n", 3, "how many hosts: hv1, hv2, …")
	f.IntVar(&o.zones, "zones", 0, "zones z1, z2, … that hosts are in, in turn; 0: none")
	f.IntVar(&o.diskMiB, "disk", 0, "`MiB` of each host's own file system, which can hang and fill up; 0: a directory")
	f.StringVar(&networks, "networks", "", "physnets between the hosts, separated by commas")
	f.StringVar(&o.dir, "dir", "", "directory to be made (default: in the one for temporary files)")
	f.StringVar(&o.bin, "bin", "bin", "directory with tenks")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.hosts < 1 || o.zones < 0 || o.diskMiB < 0 {
		return o, errors.New("usage: lab [-n HOSTS] [-zones ZONES] [-networks NAME,…] [-disk MiB]")
	}
	if networks != "" {
		o.networks = strings.Split(networks, ",")
	}
	bin, err := filepath.Abs(o.bin)
	o.bin = bin
	return o, err
}

// run makes the lab, does what in says until ctx ends, and removes the lab.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if reason := lab.Missing(); reason != "" {
		return errors.New(reason)
	}
	if o.dir == "" {
		top, err := os.MkdirTemp("", "tenks-lab")
		if err != nil {
			return err
		}
		// The lab removes what is in it, unless something could not be ended.
		defer func() { _ = os.Remove(top) }()
		o.dir = filepath.Join(top, "lab")
	}
	l, err := lab.New(ctx, o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	start := time.Now()
	if err := populate(ctx, l, o); err != nil {
		return err
	}
	enter, err := l.WriteEnter(o.bin)
	if err != nil {
		return err
	}
	greet(out, l, o, enter, time.Since(start))
	serve(ctx, l, in, out)
	fmt.Fprintln(out, "removing everything")
	return nil
}

// populate makes the hosts, with libvirtd running.
func populate(ctx context.Context, l *lab.Lab, o options) error {
	for _, name := range o.networks {
		if err := l.AddNetwork(ctx, name); err != nil {
			return err
		}
	}
	specs := make([]lab.Spec, o.hosts)
	for i := range specs {
		specs[i] = lab.Spec{Name: fmt.Sprintf("hv%d", i+1), DiskMiB: o.diskMiB}
	}
	hosts, err := l.Add(ctx, specs...)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, h := range hosts {
		g.Go(func() error {
			text, err := agentFile(h, o.zone(i), o.networks)
			if err != nil {
				return err
			}
			if err := os.WriteFile(h.Path(dataDir+"/agent.yml"), text, 0o600); err != nil {
				return err
			}
			return h.StartLibvirtd(ctx)
		})
	}
	return g.Wait()
}

// zone is that of the host with an index from 0 on.
func (o options) zone(i int) string {
	if o.zones == 0 {
		return ""
	}
	return fmt.Sprintf("z%d", i%o.zones+1)
}

// agentFile is the agent.yml of a host; tenks init leaves one alone that is there.
func agentFile(h *lab.Host, zone string, networks []string) ([]byte, error) {
	file := map[string]any{"name": h.Name(), "data_dir": dataDir, "advertise": h.Address()}
	if zone != "" {
		file["zone"] = zone
	}
	physnets := map[string]any{}
	for _, name := range networks {
		physnets[name] = map[string]string{"device": "eth-" + name}
	}
	if len(physnets) > 0 {
		file["physnets"] = physnets
	}
	return yaml.Marshal(file)
}

// greet says what there is, and how to use it.
func greet(out io.Writer, l *lab.Lab, o options, enter string, took time.Duration) {
	fmt.Fprintf(out, "%d hosts in %s, made in %s\n\n", o.hosts, l.Dir(), took.Round(10*time.Millisecond))
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "HOST\tADDRESS\tZONE\tAPI, ONCE ITS AGENT RUNS")
	for i, h := range l.Hosts() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", h.Name(), h.Address(), or(o.zone(i), "-"), h.Path(dataDir+"/api.sock"))
	}
	_ = t.Flush() // as Fprintf
	if len(o.networks) > 0 {
		fmt.Fprintf(out, "\nPhysnets, on eth-<name> of each host and in its agent.yml: %s\n", strings.Join(o.networks, ", "))
	}
	fmt.Fprintf(out, `
Enter a host, where tenks is in PATH (%s):
  %s hv1 [COMMAND]
  %s hv1 tenks init
%s
Faults: type help. Ctrl-C removes everything.
`, o.bin, enter, enter, tenksMissing(o.bin))
}

func tenksMissing(bin string) string {
	if _, err := os.Stat(filepath.Join(bin, "tenks")); err != nil {
		return "  (not yet: " + err.Error() + ")\n"
	}
	return ""
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// named returns the hosts with names.
func named(l *lab.Lab, names []string) ([]*lab.Host, error) {
	var found []*lab.Host
	for _, name := range names {
		i := slices.IndexFunc(l.Hosts(), func(h *lab.Host) bool { return h.Name() == name })
		if i < 0 {
			return nil, fmt.Errorf("no host %q", name)
		}
		found = append(found, l.Hosts()[i])
	}
	return found, nil
}
