package hostops

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tenks/hostops/link"
)

// deletion is how long the kernel waits for readers of a link, however many others go meanwhile.
const deletion = 20 * time.Millisecond

type slowDeletions struct{ *kernel }

func (k slowDeletions) Apply(ctx context.Context, s link.Step) error {
	if s.Op == link.OpDelete {
		<-time.After(deletion)
	}
	return k.kernel.Apply(ctx, s)
}

func TestLinksOfNodesThatGoWaitForTheKernelTogether(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		const nodes = 3 * defaultParallel
		e.close()
		e.config.Links = slowDeletions{e.links}
		e.open()
		for i := range nodes {
			e.place(node(fmt.Sprintf("n%d", i), "p1"))
		}
		e.mustPass()
		for i := range nodes {
			e.removeNode(fmt.Sprintf("n%d", i))
		}
		began := time.Now()
		e.mustPass()
		if took := time.Since(began); took > 2*deletion { // all pairs, then their bridge
			t.Errorf("the pass took %s", took)
		}
		if left := e.links.have.Ours(); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}
