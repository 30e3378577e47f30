package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"tenks/cluster/transport"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/declare"
	"tenks/ironic"
	"tenks/ironic/placement"
)

// shutdownTime is how long running requests may go on when the agent stops.
const shutdownTime = 2 * time.Second

// serve answers API requests on the local socket until ctx ends.
func (a *agent) serve(ctx context.Context) error {
	listener, err := listenLocal(ctx, a.paths.Socket)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	handler := a.mesh.Guard(a.redfish.around(api.New(api.Config{
		Source: a.source, Propose: a.propose, Allowed: a.allowed, Host: a, PDUs: a.pdus, Quarantine: a, Adopter: a, Faults: a, Removable: ironic.Removable, Protected: ironic.Protected, Images: ironic.MissingImage, Placement: placement.Lacks,
		Parse: ParseCluster, Plan: declare.Cluster,
		Leader: func() (string, string) {
			id, _ := a.mesh.Leader()
			return id, a.mesh.ID()
		},
		KeyRing: a,
		Mesh:    a, Moves: a.outgoing, Ready: a.ready, Checks: a.checks, Metrics: a.metrics.handler(), Version: a.opt.Version, Log: a.log,
	}).Handler()))
	// Requests that stream end with ctx, not with the server.
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	listeners := []net.Listener{listener}
	if t := a.mesh.Transport(); t != nil {
		server.ConnContext = t.ConnContext
		listeners = append(listeners, t.Listener(transport.API))
	}
	g, failed := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error { return closed(server.Serve(l)) })
	}
	<-failed.Done()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(bounded) != nil {
		err = server.Close() // what still runs is cut off
	}
	if err = errors.Join(g.Wait(), err); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// closed drops the error that says that a server was closed.
func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listenLocal listens on a socket that only root reaches. The lock on the data
// directory says that a socket found there is a dead agent's.
func listenLocal(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
