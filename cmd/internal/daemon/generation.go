package daemon

import (
	"context"
	"errors"
)

// errSuperseded says that the mesh was recovered without this peer, which is ready to
// come over.
var errSuperseded = errors.New("the mesh goes on in another generation")

// Run runs the agent until ctx ends. Errors: ErrNoMesh when the data directory
// belongs to no mesh, ErrRunning when another agent uses it.
func Run(ctx context.Context, opt Options) error {
	for {
		err := runOnce(ctx, opt)
		if !errors.Is(err, errSuperseded) || ctx.Err() != nil {
			return err
		}
		opt.Log.WarnContext(ctx, "this peer leaves its log and starts again in the recovered mesh")
	}
}

// superseded returns an error once this peer must come over.
func (a *agent) superseded(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.mesh.Superseded():
		return errSuperseded
	}
}
