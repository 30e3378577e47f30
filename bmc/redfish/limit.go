package redfish

import (
	"net/netip"
	"sync"
)

const (
	// maxPerSource bounds the requests of one address that are being answered. Ironic has
	// some hundreds of workers at most.
	maxPerSource = 512
	// maxAccountStreams bounds the open event streams of an account.
	maxAccountStreams = 16
	// maxGuesses bounds the logins that wait until their password is compared slowly.
	maxGuesses = 64
)

// inFlight counts the requests that are being answered, by source.
type inFlight struct {
	mu    sync.Mutex // guards count
	count map[netip.Addr]int
}

// enter reports whether another request of the source may be answered; if so, leave ends
// it.
func (f *inFlight) enter(source netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.count = map[netip.Addr]int{}
	}
	if f.count[source] >= maxPerSource {
		return false
	}
	f.count[source]++
	return true
}

func (f *inFlight) leave(source netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[source]--; f.count[source] <= 0 {
		delete(f.count, source)
	}
}
