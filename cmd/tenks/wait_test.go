package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"tenks/cmd/internal/api"
)

func TestGaveUpSaysWhatWasMissing(t *testing.T) {
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	ready, creating := api.Node{Name: "tk0", Phase: "ready"}, api.Node{Name: "tk1", Phase: "creating", Reason: "no room"}
	for name, tt := range map[string]struct {
		ctx  context.Context
		last waiting
		want string
	}{
		"a node":             {over, waiting{nodes: []api.Node{ready, creating}}, "not done after 1m0s (it goes on): tk1 creating no room"},
		"flavors":            {over, waiting{cluster: api.Cluster{FlavorsPending: true}}, "not done after 1m0s (it goes on): flavors of Nova"},
		"before any answer":  {over, waiting{}, "not done after 1m0s (it goes on): there was no time to see its nodes: see tenks node list"},
		"something else was": {t.Context(), waiting{}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.last.gaveUp(tt.ctx, errors.New("refused"), time.Minute).Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
