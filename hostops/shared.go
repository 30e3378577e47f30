package hostops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tenks/hostops/link"
)

// SharedBridge is a bridge of ours that is not as it should be because others have ports in it:
// it would go, or become one of another type.
type SharedBridge struct {
	Physnet, Bridge string
	// Others are those ports, sorted.
	Others []string
	// Problem says what is not as it should be.
	Problem string
}

// Fix says what to do about it.
func (s SharedBridge) Fix() string {
	return fmt.Sprintf("take %s out of %s: what is due is done then", strings.Join(s.Others, ", "), s.Bridge)
}

// shared are those bridges, by name.
func (h have) shared(wanted []link.Bridge, switched bool) []SharedBridge {
	want := map[string]link.Bridge{}
	for _, b := range wanted {
		want[b.Name] = b
	}
	var out []SharedBridge
	for _, name := range slices.Sorted(maps.Keys(h.links.Links)) {
		if !h.links.Shared(name) {
			continue
		}
		s := SharedBridge{Physnet: h.links.Links[name].Mark.Physnet, Bridge: name, Others: h.links.Others(name)}
		if h.links.Links[name].Kind == link.KindSwitch {
			s.Others = h.switches.Others(name)
		}
		b, needed := want[name]
		switch {
		case !needed:
			s.Problem = fmt.Sprintf("no node needs bridge %s any longer, and it stays for the ports of others in it: %s", name, strings.Join(s.Others, ", "))
		case b.Switch != switched:
			s.Problem = fmt.Sprintf("bridge %s stays of its type, whatever bridge_type says, for the ports of others in it: %s", name, strings.Join(s.Others, ", "))
		default:
			continue
		}
		out = append(out, s)
	}
	return out
}

// noteShared remembers the bridges that others keep, and logs each once.
func (h *Host) noteShared(ctx context.Context, found []SharedBridge) {
	h.mu.Lock()
	h.shared = found
	h.mu.Unlock()
	problems := map[string]error{}
	for _, s := range found {
		problems[s.Bridge] = errors.New(s.Problem)
	}
	h.complainOf(ctx, "bridge ", problems)
}

// Shared returns what the last pass found.
func (h *Host) Shared() []SharedBridge {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.shared)
}
