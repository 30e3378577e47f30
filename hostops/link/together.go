package link

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// deletions takes links away, those together that are to go while others are being taken away. The kernel
// waits some 20 ms for readers of what it deletes, and as long for many links as for
// one. It is safe for concurrent use.
type deletions struct {
	rtnl *rtnl

	mu sync.Mutex
	// next are the links that go once those do that are under way; nil: none wait.
	next *gathering
	busy bool
}

// gathering are links that go together.
type gathering struct {
	// links are interface indices.
	links []int
	// lead is for whoever is to delete them, one of those who wait for done.
	lead, done chan struct{}
	// failed are those that are still there; it can be read once done is closed.
	failed map[int]error
}

// delete returns once a link is gone; unix.ENODEV: it was.
func (d *deletions) delete(index int) error {
	d.mu.Lock()
	if d.next == nil {
		d.next = &gathering{lead: make(chan struct{}, 1), done: make(chan struct{})}
	}
	mine := d.next
	mine.links = append(mine.links, index)
	if !d.busy {
		d.busy = true
		mine.lead <- struct{}{}
	}
	d.mu.Unlock()
	select {
	case <-mine.lead:
		d.run()
	case <-mine.done:
	}
	return mine.failed[index]
}

// run deletes what waits, and leaves what came meanwhile to one of those who wait for it.
func (d *deletions) run() {
	d.mu.Lock()
	g := d.next
	d.next = nil
	d.mu.Unlock()
	g.failed = d.rtnl.deleteAll(g.links)
	close(g.done)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		d.busy = false
		return
	}
	d.next.lead <- struct{}{}
}

// deleteAll deletes links by their indices and returns what failed.
func (r *rtnl) deleteAll(links []int) map[int]error {
	if len(links) > 1 && r.deleteTogether(links) == nil {
		return nil
	}
	failed := map[int]error{}
	for _, index := range links {
		if err := r.delete(index); err != nil {
			failed[index] = err
		}
	}
	return failed
}

// deleteTogether puts links into a group of interfaces of their own, and deletes that
// (ip-link(8), "group"). Nobody else's link is in it: its number is drawn for this call, and links are
// in group 0 unless somebody says otherwise.
func (r *rtnl) deleteTogether(links []int) error {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("group of interfaces: %w", err)
	}
	group := nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(binary.NativeEndian.Uint32(b[:])|1<<31))
	for _, index := range links {
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index) //nolint:gosec // the kernel's own
		if err := r.send(unix.RTM_SETLINK, 0, []nl.NetlinkRequestData{msg, group}); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return r.send(unix.RTM_DELLINK, 0, []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), group})
}
