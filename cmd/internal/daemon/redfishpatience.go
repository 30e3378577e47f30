package daemon

import (
	"context"
	"net/http"
	"time"
)

// signTime is how long a peer may take to say that it is there.
const signTime = 3 * time.Second

// patience bounds the wait for another peer's answer. A peer that hangs, or is cut off,
// takes the request and says nothing; one that waits for an image may take long, but
// answers what else it is asked.
type patience struct {
	// silent is how long a peer may say nothing at all, most how long it may take.
	silent, most time.Duration
	alive        func(context.Context) bool
	giveUp       func()
}

// watch gives up, or returns when ctx ends.
func (p patience) watch(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, p.most)
	defer cancel()
	look := time.NewTicker(p.silent)
	defer look.Stop()
	for bounded.Err() == nil {
		select {
		case <-bounded.Done():
		case <-look.C:
			if !p.asks(bounded) {
				cancel()
			}
		}
	}
	if ctx.Err() == nil {
		p.giveUp()
	}
}

func (p patience) asks(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, signTime)
	defer cancel()
	return p.alive(ctx)
}

// alive says that a peer answers at all. Peers of before answer with the service root.
func (m *meshRedfish) alive(ctx context.Context, peer string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+"/redfish/v1/", nil)
	if err != nil {
		return false
	}
	r.Header.Set(redfishFor, forSign)
	resp, err := m.a.peerHTTP.RoundTrip(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}
