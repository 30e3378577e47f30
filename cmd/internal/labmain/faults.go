package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"tenks/cmd/internal/lab"
)

// command is what a person may type.
type command struct {
	name, args, does string
	// hosts are how many names of hosts come first.
	hosts int
	do    func(ctx context.Context, l *lab.Lab, h []*lab.Host, arg string) error
}

// takesArgument reports whether something follows the hosts.
func (c command) takesArgument() bool { return len(strings.Fields(c.args)) > c.hosts }

// commands are all, in the order that help shows.
func commands() []command {
	one := func(f func(*lab.Host, context.Context) error) func(context.Context, *lab.Lab, []*lab.Host, string) error {
		return func(ctx context.Context, _ *lab.Lab, h []*lab.Host, _ string) error { return f(h[0], ctx) }
	}
	disk := func(f func(*lab.Host) error) func(context.Context, *lab.Lab, []*lab.Host, string) error {
		return func(_ context.Context, _ *lab.Lab, h []*lab.Host, _ string) error { return f(h[0]) }
	}
	return []command{
		{"kill", "HOST", "power cut", 1, one((*lab.Host).Kill)},
		{"boot", "HOST", "power on, with libvirtd", 1, boot},
		{"reboot", "HOST", "kill and boot", 1, one((*lab.Host).Reboot)},
		{"pause", "HOST", "everything in it stands still, its network is silent", 1, one((*lab.Host).Pause)},
		{"resume", "HOST", "undoes pause", 1, one((*lab.Host).Resume)},
		{"unplug", "HOST", "pull eth0's cable", 1, one((*lab.Host).Unplug)},
		{"plug", "HOST", "undoes unplug", 1, one((*lab.Host).Plug)},
		{"isolate", "HOST", "lose all its frames, silently", 1, one((*lab.Host).Isolate)},
		{"rejoin", "HOST", "undoes isolate", 1, one((*lab.Host).Rejoin)},
		{"partition", "HOST HOST", "lose all frames between two", 2, pair((*lab.Lab).Partition)},
		{"oneway", "HOST HOST", "lose all frames of the first to the second", 2, pair((*lab.Lab).PartitionOneWay)},
		{"lose", "HOST HOST FRACTION", "lose some frames of the first to the second", 2, lose},
		{"heal", "HOST HOST", "undoes partition, oneway and lose", 2, pair((*lab.Lab).Heal)},
		{"delay", "HOST DURATION", "frames to and from eth0 take so much longer; 0: none", 1, delay},
		{"address", "HOST ADDRESS", "give eth0 another address", 1, readdress},
		{"hang", "HOST", "writes to its disk wait (needs a disk of its own)", 1, disk((*lab.Host).HangDisk)},
		{"slow", "HOST DURATION", "writes to its disk wait up to so long", 1, slow},
		{"thaw", "HOST", "undoes hang and slow", 1, disk((*lab.Host).ThawDisk)},
		{"clock", "HOST DURATION", "its wall clock is so much ahead, or behind (-1h); 0: right", 1, clock},
		{"healall", "", "undoes everything but kill and address", 0,
			func(ctx context.Context, l *lab.Lab, _ []*lab.Host, _ string) error { return l.HealAll(ctx) }},
	}
}

func pair(f func(*lab.Lab, context.Context, *lab.Host, *lab.Host) error) func(context.Context, *lab.Lab, []*lab.Host, string) error {
	return func(ctx context.Context, l *lab.Lab, h []*lab.Host, _ string) error { return f(l, ctx, h[0], h[1]) }
}

func boot(ctx context.Context, _ *lab.Lab, h []*lab.Host, _ string) error {
	if err := h[0].Boot(ctx); err != nil {
		return err
	}
	return h[0].StartLibvirtd(ctx)
}

func lose(ctx context.Context, l *lab.Lab, h []*lab.Host, arg string) error {
	fraction, err := strconv.ParseFloat(arg, 64)
	if err != nil {
		return err
	}
	return l.Lose(ctx, fraction, h[0], h[1])
}

func delay(ctx context.Context, _ *lab.Lab, h []*lab.Host, arg string) error {
	d, err := time.ParseDuration(arg)
	if err != nil {
		return err
	}
	return h[0].Delay(ctx, d)
}

func readdress(ctx context.Context, _ *lab.Lab, h []*lab.Host, arg string) error {
	return h[0].Readdress(ctx, arg)
}

func slow(_ context.Context, _ *lab.Lab, h []*lab.Host, arg string) error {
	d, err := time.ParseDuration(arg)
	if err != nil {
		return err
	}
	return h[0].SlowDisk(d)
}

func clock(_ context.Context, _ *lab.Lab, h []*lab.Host, arg string) error {
	d, err := time.ParseDuration(arg)
	if err != nil {
		return err
	}
	return h[0].ShiftClock(d)
}

// serve does what is typed, until ctx ends.
func serve(ctx context.Context, l *lab.Lab, in io.Reader, out io.Writer) {
	lines := make(chan string)
	go func() { // ends with the input, or, as a read of a terminal cannot be ended, with the process
		s := bufio.NewScanner(in)
		for s.Scan() {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case line := <-lines:
			answer(ctx, l, strings.Fields(line), out)
		}
	}
}

func answer(ctx context.Context, l *lab.Lab, words []string, out io.Writer) {
	if len(words) == 0 {
		return
	}
	if words[0] == "help" {
		help(out)
		return
	}
	if err := do(ctx, l, words[0], words[1:]); err != nil {
		fmt.Fprintln(out, "error:", err)
		return
	}
	fmt.Fprintln(out, "done:", strings.Join(words, " "))
}

func do(ctx context.Context, l *lab.Lab, name string, args []string) error {
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		if len(args) != len(strings.Fields(c.args)) {
			return fmt.Errorf("usage: %s %s", c.name, c.args)
		}
		hosts, err := named(l, args[:c.hosts])
		if err != nil {
			return err
		}
		arg := ""
		if c.takesArgument() {
			arg = args[c.hosts]
		}
		return c.do(ctx, l, hosts, arg)
	}
	return fmt.Errorf("no command %q: type help", name)
}

func help(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(t, "%s %s\t%s\n", c.name, c.args, c.does)
	}
	_ = t.Flush() // as Fprintf
}
