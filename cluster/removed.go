package cluster

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"tenks/cluster/transport"
)

// outEvery is how often a peer looks whether another was removed. Each request is
// checked besides: this ends streams, and what waits.
const outEvery = 250 * time.Millisecond

// keepOut ends the connections of peers that were removed, until ctx ends.
func (m *Mesh) keepOut(ctx context.Context) {
	out := map[string]bool{}
	for ctx.Err() == nil {
		for _, p := range m.view().Peers {
			if p.Removed && !out[p.ID] {
				m.transport.Drop(p.ID)
			}
			out[p.ID] = p.Removed
		}
		pause(ctx, outEvery)
	}
}

// Guard refuses requests of peers that were removed since they connected.
func (m *Mesh) Guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := transport.PeerOf(r.Context()); id != "" && !m.allowed(id) {
			w.Header().Set("Connection", "close")
			http.Error(w, fmt.Sprintf("peer %s was removed from the mesh", id), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
