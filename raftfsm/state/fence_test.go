package state

import (
	"testing"
	"time"
)

func TestAHostStopsNoLaterThanItPromisedAndTheLeaderWaitsLonger(t *testing.T) {
	for name, tt := range map[string]struct {
		policy             LossPolicy
		declared, promised int64
		promise            int64
		stop               time.Duration
		fenced             time.Duration // 0: never
	}{
		"hold":                      {policy: LossHold, declared: 30000},
		"not promised yet":          {policy: LossRebuild, declared: 30000, promise: 30000, stop: 30 * time.Second},
		"promised":                  {policy: LossRebuild, declared: 30000, promised: 30000, promise: 30000, stop: 30 * time.Second, fenced: 45 * time.Second},
		"shorter, not promised yet": {policy: LossRebuild, declared: 15000, promised: 60000, promise: 15000, stop: 15 * time.Second, fenced: 75 * time.Second},
		"longer, not promised yet":  {policy: LossRebuild, declared: 60000, promised: 15000, promise: 60000, stop: 15 * time.Second, fenced: 30 * time.Second},
		"hold, still promised":      {policy: LossHold, promised: 15000, stop: 15 * time.Second, fenced: 30 * time.Second},
		"nothing declared":          {policy: LossRebuild},
	} {
		t.Run(name, func(t *testing.T) {
			n := Node{OnHostLoss: tt.policy, StopAfterMilli: tt.declared, Host: HostStatus{StopAfterMilli: tt.promised}}
			fenced, _ := n.FencedAfter()
			if n.Promise() != tt.promise || n.StopAfter() != tt.stop || fenced != tt.fenced {
				t.Errorf("promise %d, stop after %s, fenced after %s, want %d, %s, %s", n.Promise(), n.StopAfter(), fenced, tt.promise, tt.stop, tt.fenced)
			}
			if fenced > 0 && n.StopAfter()+FenceMargin > fenced {
				t.Errorf("stops after %s and is taken to be stopped after %s", n.StopAfter(), fenced)
			}
		})
	}
}
