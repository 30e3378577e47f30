package redfish

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
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

// The limits of what another peer may take to answer, beside what an image may.
const (
	readPatience   = 5 * time.Second
	changePatience = 10 * time.Second
)

// Patience is how long a peer that a request is forwarded to may take to begin its answer:
// one that hangs takes what is sent, and says nothing. After silent it must show that it is
// there, again and again until most. Only the fetch of an image is waited for by design,
// also by a start from the drive: for all else silent is most.
func Patience(r *http.Request) (silent, most time.Duration) {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return readPatience, readPatience
	case strings.HasSuffix(r.URL.Path, "/Actions/ComputerSystem.Reset"):
		return changePatience, changePatience + mediaWait
	case strings.Contains(r.URL.Path, "/VirtualMedia/"):
		return changePatience, changePatience + asyncAfter(r)
	}
	return changePatience, changePatience
}
