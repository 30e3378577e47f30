package hostops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tenks/hostops/link"
)

// hostStep carries out a step that belongs to no node. One that failed is tried again after 1, 2,
// 4 … 60 s, and at once when what it is about has changed.
func (h *Host) hostStep(ctx context.Context, s layerStep, now have) error {
	if s.Op == link.OpConflict {
		return errors.New(s.Reason)
	}
	key, about := s.String(), now.about(s)
	t, tried := h.stuck[key]
	if tried && t.what == about && time.Now().Before(t.next) {
		return t.err
	}
	err := h.linkStep(ctx, s)
	noteTrial(h.stuck, key, about, err)
	if err == nil && tried {
		clear(h.stuck) // others may have failed for want of it
		clear(h.trials)
	}
	return err
}

// about is all that is known of what a step changes, as text to be compared.
func (h have) about(s layerStep) string {
	var out strings.Builder
	for _, name := range []string{s.Link, s.Bridge, s.Peer, s.PeerBridge, s.Parent} {
		l := h.links.Links[name]
		if l.Overlay != nil {
			fmt.Fprintf(&out, "%+v ", *l.Overlay)
			l.Overlay = nil
		}
		fmt.Fprintf(&out, "%+v %v\n", l, h.links.Addresses[name])
	}
	fmt.Fprintf(&out, "%+v %+v", h.switches.Bridges[s.then.Bridge.Name], h.switches.Ports[s.then.Port.Name])
	return out.String()
}

// forgetStuck drops what is not to be done any longer.
func (h *Host) forgetStuck(p program) {
	for key := range h.stuck {
		if !slices.ContainsFunc(slices.Concat(p.before, p.after), func(s layerStep) bool { return s.String() == key }) {
			delete(h.stuck, key)
		}
	}
}

// noteHostErrors logs, each once, what is wrong with links that no node's status tells of.
func (h *Host) noteHostErrors(ctx context.Context, errs map[string]error, want link.Want) {
	found := map[string]error{}
	for name, err := range errs {
		if !slices.ContainsFunc(want.Ports, func(p link.Port) bool { return p.Bridge == name }) {
			found[name] = err
		}
	}
	h.complainOf(ctx, "link ", found)
}

// complainOf is complain for all subjects whose names begin with kind.
func (h *Host) complainOf(ctx context.Context, kind string, found map[string]error) {
	for what := range h.logged {
		if name, ok := strings.CutPrefix(what, kind); ok && found[name] == nil {
			h.complain(ctx, what, nil)
		}
	}
	for name, err := range found {
		h.complain(ctx, kind+name, err)
	}
}
