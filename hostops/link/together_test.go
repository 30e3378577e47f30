package link

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pairs makes veth pairs and returns the index of one end of each.
func pairs(t *testing.T, h *Host, count int) []int {
	t.Helper()
	var out []int
	for i := range count {
		name := fmt.Sprintf("t%d", i)
		must(t, h.rtnl.addPair(change{name: name}, change{name: name + "p"}))
		l, err := h.rtnl.get(name, 0)
		must(t, err)
		out = append(out, l.Attrs().Index)
	}
	return out
}

func names(t *testing.T, h *Host) []string {
	t.Helper()
	all, err := h.rtnl.dump()
	must(t, err)
	var out []string
	for _, l := range all {
		out = append(out, l.Attrs().Name)
	}
	slices.Sort(out)
	return out
}

func TestIntegrationLinksGoTogether(t *testing.T) {
	h := openHost(t)
	before := names(t, h)
	must(t, h.rtnl.addPair(change{name: "foreign"}, change{name: "foreignp"}))
	left, err := h.rtnl.get("foreign", 0)
	must(t, err)
	must(t, netlink.LinkSetGroup(left, 1))
	links := pairs(t, h, 30)
	must(t, h.rtnl.deleteTogether(links))
	want := slices.Concat(before, []string{"foreign", "foreignp"})
	slices.Sort(want)
	if got := names(t, h); !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
}

// Each of those who wait hears of their own link only.
func TestIntegrationDeletionsAtTheSameTime(t *testing.T) {
	h := openHost(t)
	before := names(t, h)
	links := pairs(t, h, 40)
	absent := links[39] + 1000
	errs := make([]error, len(links)+1)
	var g sync.WaitGroup
	for i, index := range append(links, absent) {
		g.Go(func() { errs[i] = h.deletions.delete(index) })
	}
	g.Wait()
	for i, err := range errs {
		if err != nil && (i < len(links) || !errors.Is(err, unix.ENODEV)) {
			t.Errorf("link %d: %v", i, err)
		}
	}
	if got := names(t, h); !slices.Equal(got, before) {
		t.Errorf("left: %q, want %q", got, before)
	}
}

// One that cannot go does not keep the others.
func TestIntegrationALinkThatCannotGoKeepsNoOther(t *testing.T) {
	h := openHost(t)
	before := names(t, h)
	lo, err := h.rtnl.get("lo", 0)
	must(t, err)
	links := pairs(t, h, 3)
	failed := h.rtnl.deleteAll(append(links, lo.Attrs().Index))
	if len(failed) != 1 || failed[lo.Attrs().Index] == nil {
		t.Errorf("failed: %v", failed)
	}
	if got := names(t, h); !slices.Equal(got, before) {
		t.Errorf("left: %q, want %q", got, before)
	}
}
