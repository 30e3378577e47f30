package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// reason is why frames are lost. Each is made and undone without regard to the others.
type reason int

const (
	partitioned reason = iota
	oneWay
	lossy
	isolated
	paused
)

// fault is frames that are lost on their way from one host to another, by their
// numbers; 0: everybody, the switch included.
type fault struct {
	reason   reason
	from, to int
}

// faults are those of the switch.
type faults struct {
	mu sync.Mutex // guards loss; held until the switch has it, so that the last one set is
	// loss has, for each fault, how many of a million frames are lost.
	loss map[fault]int
}

// certain is the loss of every frame.
const certain = 1_000_000

// set makes the switch lose frames as told, besides what it loses already; 0 of a
// million undoes it. It fails, with nothing changed, where the switch cannot.
func (f *faults) set(ctx context.Context, l *Lab, change map[fault]int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	loss := maps.Clone(f.loss)
	if loss == nil {
		loss = map[fault]int{}
	}
	for key, n := range change {
		loss[key] = n
	}
	maps.DeleteFunc(loss, func(_ fault, n int) bool { return n == 0 })
	if maps.Equal(loss, f.loss) {
		return nil
	}
	return f.apply(ctx, l, loss)
}

// apply gives the switch new rules; f.mu is held.
func (f *faults) apply(ctx context.Context, l *Lab, loss map[fault]int) error {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", l.Switch(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules(loss))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("switch: nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	f.loss = loss
	return nil
}

// clear undoes all faults.
func (f *faults) clear(ctx context.Context, l *Lab) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.loss) == 0 {
		return nil
	}
	return f.apply(ctx, l, nil)
}

// rules is the nft(8) program that replaces the switch's rules at once.
func rules(loss map[fault]int) string {
	const table = "table bridge lab"
	chains := map[string][]string{}
	for _, f := range slices.SortedFunc(maps.Keys(loss), compareFaults) {
		hook := "forward"
		switch {
		case f.to == 0:
			hook = "prerouting"
		case f.from == 0:
			hook = "postrouting"
		}
		chains[hook] = append(chains[hook], drops(f, loss[f])...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s {}\ndelete %s\n", table, table)
	if len(chains) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "%s {\n", table)
	for _, hook := range slices.Sorted(maps.Keys(chains)) {
		fmt.Fprintf(&b, " chain %s {\n  type filter hook %s priority -300;\n  %s\n }\n", hook, hook, strings.Join(chains[hook], "\n  "))
	}
	b.WriteString("}\n")
	return b.String()
}

func compareFaults(a, b fault) int {
	return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.reason, b.reason))
}

// drops are the rules of one fault, of which at most one matches a frame. A host's ports
// are h<n>, and h<n>n<i> on the other networks and at the end of a long cable; no frame
// is forwarded from one bridge to another.
func drops(f fault, loss int) []string {
	verdict := "drop"
	if loss < certain {
		verdict = fmt.Sprintf("numgen random mod %d < %d drop", certain, loss)
	}
	if f.reason == oneWay {
		verdict = "ether type != arp " + verdict
	}
	var all []string
	for _, from := range ports("iifname", f.from) {
		for _, to := range ports("oifname", f.to) {
			all = append(all, from+to+verdict)
		}
	}
	return all
}

// ports matches a host's ports; those of everybody with nothing.
func ports(key string, number int) []string {
	if number == 0 {
		return []string{""}
	}
	return []string{fmt.Sprintf(`%s "h%d" `, key, number), fmt.Sprintf(`%s "h%dn*" `, key, number)}
}

// Partition loses all frames between two hosts, on every network, until Heal. Nobody is
// told: carriers stay. It may be repeated, and outlives a boot.
func (l *Lab) Partition(ctx context.Context, a, b *Host) error {
	return l.faults.set(ctx, l, map[fault]int{{partitioned, a.number, b.number}: certain, {partitioned, b.number, a.number}: certain})
}

// PartitionOneWay is Partition for frames of one to the other only, and not for ARP's:
// who is never told a MAC address cannot send, either, and it would be both ways soon.
func (l *Lab) PartitionOneWay(ctx context.Context, from, to *Host) error {
	return l.faults.set(ctx, l, map[fault]int{{oneWay, from.number, to.number}: certain})
}

// Lose loses a fraction, 0 to 1, of the frames of one host to another at random, on
// every network, until Heal or another fraction. It outlives a boot.
func (l *Lab) Lose(ctx context.Context, fraction float64, from, to *Host) error {
	if !(fraction >= 0 && fraction <= 1) {
		return fmt.Errorf("lose %v of all frames: not a fraction", fraction)
	}
	return l.faults.set(ctx, l, map[fault]int{{lossy, from.number, to.number}: int(fraction * certain)})
}

// Heal undoes Partition, PartitionOneWay and Lose between two hosts, both ways.
func (l *Lab) Heal(ctx context.Context, a, b *Host) error {
	change := map[fault]int{}
	for _, r := range []reason{partitioned, oneWay, lossy} {
		change[fault{r, a.number, b.number}], change[fault{r, b.number, a.number}] = 0, 0
	}
	return l.faults.set(ctx, l, change)
}

// HealAll undoes every fault of the switch, of cables, and of hosts that are on, but
// for addresses. It powers nothing on.
func (l *Lab) HealAll(ctx context.Context) error {
	errs := l.faults.clear(ctx, l)
	for _, h := range l.Hosts() {
		errs = errors.Join(errs, h.Plug(ctx), h.Delay(ctx, 0))
		if h.started() != nil {
			errs = errors.Join(errs, h.ThawDisk(), h.Resume(ctx))
		}
		errs = errors.Join(errs, h.ShiftClock(0))
	}
	return errs
}

// silence is the loss of so many of a million of all frames that the host sends and
// that are for it, while it is paused.
func (h *Host) silence(loss int) map[fault]int { return h.around(paused, loss) }

func (h *Host) around(r reason, loss int) map[fault]int {
	return map[fault]int{{r, h.number, 0}: loss, {r, 0, h.number}: loss}
}

// Isolate loses all frames of the host and for it, on every network, until Rejoin. The
// host is not told: carriers stay. It may be repeated, and outlives a boot.
func (h *Host) Isolate(ctx context.Context) error {
	return h.lab.faults.set(ctx, h.lab, h.around(isolated, certain))
}

// Rejoin is the inverse of Isolate.
func (h *Host) Rejoin(ctx context.Context) error {
	return h.lab.faults.set(ctx, h.lab, h.around(isolated, 0))
}

// Pause makes the host hang, until Resume: everything in it stands still, guests too,
// and its network is silent, since the kernel would acknowledge what nobody reads. What
// Command starts meanwhile runs.
func (h *Host) Pause(ctx context.Context) error {
	namespaces := h.inside()
	if namespaces == nil {
		return fmt.Errorf("host %q: pause: %w", h.name, ErrOff)
	}
	if err := h.lab.faults.set(ctx, h.lab, h.silence(certain)); err != nil {
		return fmt.Errorf("host %q: pause: %w", h.name, err)
	}
	stopped, err := stopAll(namespaces)
	h.mu.Lock()
	h.paused = append(h.paused, stopped...)
	h.mu.Unlock()
	if err != nil {
		return fmt.Errorf("host %q: pause: %w", h.name, err)
	}
	return nil
}

// Resume is the inverse of Pause. What stood still before Pause does so after it.
func (h *Host) Resume(ctx context.Context) error {
	h.mu.Lock()
	pids, namespaces := h.paused, h.namespaces
	h.paused = nil
	h.mu.Unlock()
	errs := h.lab.faults.set(ctx, h.lab, h.silence(0))
	for _, pid := range pids {
		errs = errors.Join(errs, goOn(pid, namespaces))
	}
	if errs != nil {
		return fmt.Errorf("host %q: resume: %w", h.name, errs)
	}
	return nil
}
