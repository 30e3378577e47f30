//go:build cgo && libvirt_dlopen

package libvirt

import (
	"sync"
	"time"

	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

// archsAgain is when libvirt is asked again which architectures there are: an emulator may have been
// installed.
const archsAgain = 30 * time.Second

// archs are the architectures that guests can have here: libvirt has an emulator for each, and
// there is firmware. libvirtd looks at the host anew and writes 20 kB for that, and Info is asked
// every second: so an answer is kept for a while.
type archs struct {
	mu   sync.Mutex
	last []string
	// on is the session that was asked, at when.
	on *session
	at time.Time
}

func (a *archs) get(s *session, now time.Time, ask func() ([]string, error)) []string {
	a.mu.Lock()
	on, last, fresh := a.on, a.last, now.Sub(a.at) < archsAgain
	a.mu.Unlock()
	if on == s && fresh {
		return last
	}
	last, err := ask()
	if err != nil {
		return []string{state.ArchX86} // asked again next time
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on, a.last, a.at = s, last, now
	return last
}

func askArchs(s *session) ([]string, error) {
	text, err := s.conn.GetCapabilities()
	if err != nil {
		return nil, err
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return nil, err
	}
	return archsOf(caps), nil
}
