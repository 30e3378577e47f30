package hostops

import (
	"context"
	"sync"

	"tenks/hostops/ovs"
)

// switches is an Open vSwitch in memory: a Switcher that is told what there is.
type switches struct {
	mu   sync.Mutex
	have ovs.Have
}

func (s *switches) set(have ovs.Have) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have = have
}

func (s *switches) Observe(ctx context.Context) (ovs.Have, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have, ctx.Err()
}

func (s *switches) Apply(_ context.Context, step ovs.Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch step.Op {
	case ovs.OpDeletePort:
		delete(s.have.Ports, step.Port.Name)
	case ovs.OpDeleteBridge:
		delete(s.have.Bridges, step.Bridge.Name)
	}
	return nil
}

func (s *switches) Watch(ctx context.Context, wake func()) error {
	wake()
	<-ctx.Done()
	return nil
}
