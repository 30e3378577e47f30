package hostops

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"

	"tenks/hostops/link"
)

// kernel is a host's links in memory: a Linker that carries out steps as the
// kernel would.
type kernel struct {
	mu       sync.Mutex
	have     link.Have
	writes   int
	tried    map[string]int
	failing  map[string]error // by link
	watchers map[chan struct{}]bool
}

const mesh = "mesh-1"

func newKernel() *kernel {
	return &kernel{have: link.Have{Mesh: mesh, Links: map[string]link.Link{}}, failing: map[string]error{}, tried: map[string]int{}, watchers: map[chan struct{}]bool{}}
}

func (k *kernel) Observe(ctx context.Context) (link.Have, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return link.Have{Mesh: mesh, Links: maps.Clone(k.have.Links)}, ctx.Err()
}

func (k *kernel) Apply(_ context.Context, s link.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes++
	k.tried[s.Link]++
	if err := k.failing[s.Link]; err != nil {
		return err
	}
	if err := k.apply(s); err != nil {
		return err
	}
	k.tell()
	return nil
}

// fail has steps of a link fail from now on; nil: no longer.
func (k *kernel) fail(link string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing[link] = err
}

func (k *kernel) tell() {
	for w := range k.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (k *kernel) Watch(ctx context.Context, wake func()) error {
	changed := make(chan struct{}, 1)
	k.mu.Lock()
	k.watchers[changed] = true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.watchers, changed)
	}()
	wake()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			wake()
		}
	}
}

// delete removes a link behind everybody's back.
func (k *kernel) delete(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(k.have.Links[name])
	k.tell()
}

// clear is what a reboot does.
func (k *kernel) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.have.Links)
}

// add makes a foreign link.
func (k *kernel) add(l link.Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.have.Links[l.Name] = l
}

func (k *kernel) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.writes
}

// triedLink is how many steps there were of a link.
func (k *kernel) triedLink(name string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tried[name]
}

func (k *kernel) has(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.have.Links[name]
	return ok
}

func (k *kernel) apply(s link.Step) error {
	links := k.have.Links
	for _, bridge := range []string{s.Bridge, s.PeerBridge} {
		if s.Op != link.OpRelease && bridge != "" && links[bridge].Kind != "bridge" {
			return errors.New("no bridge " + bridge)
		}
	}
	l, exists := links[s.Link]
	switch s.Op {
	case link.OpConflict:
		return errors.New(s.Reason)
	case link.OpCreateBridge:
		links[s.Link] = link.Link{Name: s.Link, Kind: "bridge", MAC: s.MAC, MTU: s.MTU, Up: true, Mark: markOf(s.Alias)}
		return nil
	case link.OpCreatePair:
		links[s.Link] = link.Link{Name: s.Link, Kind: "veth", MAC: birth(s.Link), MTU: s.MTU, Up: true, Mark: markOf(s.Alias), Master: s.Bridge, Peer: s.Peer}
		links[s.Peer] = link.Link{Name: s.Peer, Kind: "veth", MAC: s.MAC, MTU: s.MTU, Up: true, Mark: markOf(s.Alias), Master: s.PeerBridge, Peer: s.Link}
		return nil
	case link.OpDelete:
		k.remove(l)
		return nil
	}
	if !exists {
		return errors.New("no link " + s.Link)
	}
	switch s.Op {
	case link.OpMark, link.OpAdopt:
		l.Mark, l.Unmarked = markOf(s.Alias), false
	case link.OpSetMAC:
		l.MAC = s.MAC
	case link.OpSetMTU:
		l.MTU = s.MTU
	case link.OpUp:
		l.Up = true
	case link.OpJoin:
		l.Master = s.Bridge
	case link.OpPlug:
		l.Master, l.Up = s.Bridge, true
	case link.OpRelease:
		if l.Master == s.Bridge {
			l.Master = ""
		}
	}
	links[s.Link] = l
	return nil
}

func (k *kernel) remove(l link.Link) {
	delete(k.have.Links, l.Name)
	delete(k.have.Links, l.Peer)
	for name, other := range k.have.Links {
		if other.Master == l.Name {
			other.Master = ""
			k.have.Links[name] = other
		}
	}
}

// markOf reads an alias of this test's mesh.
func markOf(alias string) link.Mark {
	parts := strings.Split(alias, ":")
	m := link.Mark{Role: link.Role(parts[2])}
	if m.Role == link.RolePort {
		m.Node = parts[3]
		m.Index, _ = strconv.Atoi(parts[4])
		return m
	}
	m.Physnet = parts[3]
	if len(parts) == 5 {
		m.Device = parts[4]
	}
	return m
}

// birth is the address that package link gives a switch-side end.
func birth(name string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{"link", mesh, name}, "\x00")))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2
	return mac.String()
}
