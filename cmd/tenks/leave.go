package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenks/cluster"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
)

func (t *tool) leaveCommand() *cobra.Command {
	var r api.PeerRequest
	c := &cobra.Command{
		Use: "leave", Short: "take this host out of its mesh", Args: noArgs,
		Long: `Leave removes this peer from its mesh, stops its agent and removes its data
directory. It is refused while nodes are on this host, or disks of nodes that the mesh
has elsewhere. With --force they are deleted; what is placed here is made anew on
others, with empty disks. Move nodes away with their disks before: tenks peer drain.
The last peer leaves once no cluster is declared any longer; the mesh ends with it.`,
		RunE: func(c *cobra.Command, _ []string) error { return t.leave(c.Context(), r) },
	}
	c.Flags().BoolVar(&r.Force, "force", false, "also if nodes are here: they are deleted, and made anew on other hosts")
	return c
}

func (t *tool) leave(ctx context.Context, r api.PeerRequest) error {
	p := t.paths()
	if !cluster.Exists(p.Mesh) {
		return errors.New("this host is in no mesh")
	}
	if daemon.PID(p.Dir) == 0 {
		if err := t.startAgent(ctx, p); err != nil {
			return err
		}
	}
	id, err := cluster.ID(p.Mesh)
	if err != nil {
		return err
	}
	if err := t.leaveMesh(ctx, id, r); err != nil {
		return err
	}
	if err := t.removeAgent(ctx, p.Dir); err != nil {
		return err
	}
	if err := removeData(p.Dir); err != nil {
		return err
	}
	fmt.Fprintln(t.out, "left the mesh; nothing of it is on this host")
	return nil
}

// leaveTime is how long it may take until another peer votes in this one's place.
const leaveTime = 2 * time.Minute

// leaveMesh waits until this peer has no part in the log before it is removed: who
// is removed is refused at once, and its vote with it.
func (t *tool) leaveMesh(ctx context.Context, id string, r api.PeerRequest) error {
	c := t.client()
	peers, err := c.Peers(ctx)
	if err != nil {
		return err
	}
	if len(peers) == 1 && peers[0].ID == id {
		return endMesh(ctx, c, id, r)
	}
	if err := mayLeave(ctx, c, id, r); err != nil {
		return err
	}
	if err := c.ChangePeer(ctx, id, "leave"); err != nil {
		return err
	}
	progress := t.progress()
	defer progress.done()
	for deadline := time.Now().Add(leaveTime); ; {
		raft, err := c.Raft(ctx)
		if err == nil && !slices.ContainsFunc(raft, func(p api.RaftPeer) bool { return p.ID == id }) {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no other peer takes this one's place in the log after %s: see tenks raft list", leaveTime)
		}
		progress.show("waiting for another peer to take this one's place in the log")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	// Before others make them: a node never runs twice.
	progress.show("removing what the mesh has on this host")
	if err := c.ClearHost(ctx, id, r.Force); err != nil {
		return err
	}
	return c.RemovePeer(ctx, id, r)
}

// mayLeave says why a peer may not leave without force.
func mayLeave(ctx context.Context, c *client.Client, id string, r api.PeerRequest) error {
	self, err := c.Peer(ctx, id)
	if err != nil {
		return err
	}
	if self.Nodes > 0 && !r.Force {
		return fmt.Errorf("%d nodes are on this host: tenks peer drain, or --force to have them made anew on others, with empty disks", self.Nodes)
	}
	kept, err := c.Quarantine(ctx)
	if err != nil {
		return err
	}
	if len(kept) > 0 && !r.Force {
		return fmt.Errorf("this host keeps disks of %d nodes that are elsewhere now: see tenks host quarantine; or --force to have them deleted", len(kept))
	}
	return nil
}

// endMesh clears the host of the mesh's last peer. Its nodes have nowhere to be made anew,
// and who enrolled them must take them out of Ironic: clusters are destroyed before.
func endMesh(ctx context.Context, c *client.Client, id string, r api.PeerRequest) error {
	if err := mayEnd(ctx, c); err != nil {
		return err
	}
	if err := c.ClearHost(ctx, id, r.Force); err != nil {
		return err
	}
	return mayEnd(ctx, c) // somebody may have come meanwhile, and the mesh would go with this host
}

// mayEnd says why a mesh must not end with its last peer.
func mayEnd(ctx context.Context, c *client.Client) error {
	peers, err := c.Peers(ctx)
	if err != nil {
		return err
	}
	if len(peers) > 1 {
		return errors.New("another peer has joined: tenks leave again")
	}
	clusters, err := c.Clusters(ctx)
	if err != nil {
		return err
	}
	if len(clusters) > 0 {
		var names []string
		for _, cl := range clusters {
			names = append(names, cl.Name)
		}
		return fmt.Errorf("this is the last peer of its mesh, which has clusters: %s: tenks destroy CLUSTER --wait, then tenks leave", strings.Join(names, ", "))
	}
	return nil
}
