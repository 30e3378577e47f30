package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tenks/cluster"
	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
	"tenks/cmd/internal/daemon"
	"tenks/config"
	"tenks/raftfsm/state"
)

// defaultCluster is what up makes without a file.
const defaultCluster = `# Two nodes on one isolated network, to try.
cluster: up
node_types:
  small:
    memory_mb: 512
    vcpus: 1
    volumes: [{capacity: 4GiB}]
    physical_networks: [lab]
    boot_mode: bios
specs:
  - type: small
    count: 2
`

// upRecord remembers what up made, for down.
type upRecord struct {
	// Mesh says that up made the mesh: down then removes all of it.
	Mesh     bool     `json:"mesh"`
	Clusters []string `json:"clusters"`
}

func (t *tool) upCommand() *cobra.Command {
	var host hostFlags
	var file, wait string
	c := &cobra.Command{
		Use: "up", Short: "a mesh of one on this host, with a cluster", Args: noArgs,
		Long: `Up makes a mesh of one on this host if it is in none, starts its agent, applies a
cluster and waits until it is ready. Without a file that is two nodes on one
isolated network. BMCs listen on 127.0.0.1 unless --advertise names an address.
Take it down with tenks down.`,
		Example: "  tenks up\n  tenks up -f demo.yml --physnet physnet1=eth1 --advertise 192.0.2.11",
		RunE: func(c *cobra.Command, _ []string) error {
			limit, err := waitTime(wait)
			if err != nil {
				return err
			}
			return t.up(c.Context(), host, file, limit)
		},
	}
	host.add(c)
	_ = c.Flags().MarkHidden("foreground")
	c.Flags().StringVarP(&file, "file", "f", "", "cluster file; - for standard input")
	c.Flags().StringVar(&wait, "wait", "10m", "wait until it is done, at most this long")
	return c
}

func (t *tool) up(ctx context.Context, host hostFlags, file string, wait time.Duration) error {
	r := api.ApplyRequest{Name: "the built-in cluster", File: defaultCluster}
	if file != "" {
		var err error
		if r, err = (&applyFlags{file: file}).request(t); err != nil {
			return err
		}
	}
	want, err := config.LoadCluster(r.Name, []byte(r.File))
	if err != nil {
		return err
	}
	given := host.given()
	if host.advertise == "" {
		host.advertise = "127.0.0.1"
	}
	p := t.paths()
	agent, err := host.file(p.Dir)
	if err != nil {
		return err
	}
	agent.flags = given
	isolate(&agent, want)
	made, err := t.ensureAgent(ctx, p, "tenks", agent)
	if err != nil {
		return err
	}
	if err := recordUp(p.Up, made, want.Name); err != nil {
		return err
	}
	if err := t.waitDrivers(ctx, want); err != nil {
		return err
	}
	if err := t.apply(ctx, r, confirmation{}, wait); err != nil {
		return err
	}
	return t.welcome(ctx, want.Name)
}

// isolate gives a new host the physnets that a cluster needs and the flags do not
// map.
func isolate(agent *agentFile, want config.Cluster) {
	for _, nt := range want.NodeTypes {
		for _, physnet := range nt.PhysicalNetworks {
			if _, ok := agent.Physnets[physnet]; !ok {
				agent.Physnets[physnet] = map[string]string{}
			}
		}
	}
}

// recordUp notes what up made; a mesh that was there before is not its own.
func recordUp(path string, made bool, cluster string) error {
	var r upRecord
	if b, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	r.Mesh = r.Mesh || made
	if !slices.Contains(r.Clusters, cluster) {
		r.Clusters = append(r.Clusters, cluster)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(path, b, 0o600)
}

// How long a driver may take until it works. A libvirtd that was just installed looks
// at every QEMU first, and answers "busy" meanwhile: minutes on a slow machine.
const (
	driverSilent = 3 * time.Second
	driverTime   = time.Minute
	driverBusy   = 3 * time.Minute
)

// waitDrivers waits until this host offers the drivers that a cluster needs, and
// says what is wrong when it does not.
func (t *tool) waitDrivers(ctx context.Context, want config.Cluster) error {
	need := map[string]bool{}
	for _, nt := range want.NodeTypes {
		need[nt.Driver] = true
	}
	c := t.client()
	p := t.progress()
	defer p.done()
	began := time.Now()
	for {
		missing, err := missingDrivers(ctx, c, need)
		if err != nil || len(missing) == 0 {
			return err
		}
		if waited := time.Since(began); waited > driverSilent {
			p.show("waiting for driver %s", strings.Join(missing, ", "))
			why := t.explainDrivers(ctx, c, missing)
			if waited > driverBusy || waited > driverTime && !strings.Contains(why.Error(), state.ErrBusy.Error()) {
				return why
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func missingDrivers(ctx context.Context, c *client.Client, need map[string]bool) ([]string, error) {
	peers, err := c.Peers(ctx)
	if err != nil {
		return nil, err
	}
	var missing []string
	for name := range need {
		if !slices.ContainsFunc(peers, func(p api.Peer) bool { return slices.Contains(p.Drivers, name) }) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func (t *tool) explainDrivers(ctx context.Context, c *client.Client, missing []string) error {
	checks, err := c.Doctor(ctx)
	if err != nil {
		return err
	}
	for _, check := range checks {
		for _, name := range missing {
			if check.Name == "driver "+name {
				return fmt.Errorf("driver %s does not work: %s: %s", name, check.Detail, check.Fix)
			}
		}
	}
	return fmt.Errorf("no hypervisor offers driver %s: see tenks doctor", strings.Join(missing, ", "))
}

// welcome shows what there is, and a line to try.
func (t *tool) welcome(ctx context.Context, cluster string) error {
	nodes, _, err := t.client().Nodes(ctx, client.NodeQuery{Cluster: cluster, Secrets: api.ShowSecrets})
	if err != nil || t.output != "table" {
		return err
	}
	if err := writeTable(t.out, nodeTable(nodes)); err != nil {
		return err
	}
	if len(nodes) == 0 || nodes[0].BMC.Address == "" {
		return nil
	}
	_, err = fmt.Fprintf(t.out, "\nTry a BMC:\n  %s\n  tenks node console %s\nand take it all down with: tenks down\n",
		bmcLine(nodes[0], "on"), nodes[0].Name)
	return err
}

// bmcLine is a command that asks a node's BMC for its power, or to change it to what
// ipmitool calls power.
func bmcLine(n api.Node, power string) string {
	switch {
	case n.BMC.Protocol == "redfish":
		return curlLine(n)
	case n.BMC.Protocol == "snmp" && n.Plug != nil:
		return "tenks pdu show " + n.Plug.PDU
	}
	return ipmitoolLine(n) + " power " + power
}

// curlLine is the command that shows a node by Redfish.
func curlLine(n api.Node) string {
	return fmt.Sprintf("curl -k -u %s %s/redfish/v1/Systems/%s", quoted(n.BMC.Username+":"+n.BMC.Password), n.BMC.RedfishURL, strings.ToLower(n.UUID))
}

// quoted is a word of a shell.
func quoted(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// ipmitoolLine is the command that reaches a node's BMC.
func ipmitoolLine(n api.Node) string {
	key := ""
	if n.BMC.KeyHex != "" {
		key = " -y " + n.BMC.KeyHex
	}
	return fmt.Sprintf("ipmitool -I lanplus -H %s -p %d -U %s -P %s%s", n.BMC.Address, n.BMC.Port, n.BMC.Username, n.BMC.Password, key)
}

func (t *tool) downCommand() *cobra.Command {
	var r api.DestroyRequest
	var wait string
	c := &cobra.Command{
		Use: "down", Short: "take down what up made, all of it", Args: noArgs,
		Long: `Down destroys the clusters that tenks up made. If up made the mesh, too, it stops
the agent and removes its data directory: nothing is left.`,
		RunE: func(c *cobra.Command, _ []string) error {
			limit, err := waitTime(wait)
			if err != nil {
				return err
			}
			return t.down(c.Context(), r, limit)
		},
	}
	c.Flags().BoolVar(&r.Force, "force", false, "also nodes that Ironic uses")
	c.Flags().BoolVar(&r.Forget, "forget-ironic", false, "leave the records in Ironic")
	c.Flags().StringVar(&wait, "wait", "10m", "wait for the nodes to go, at most this long")
	return c
}

func (t *tool) down(ctx context.Context, r api.DestroyRequest, wait time.Duration) error {
	p := t.paths()
	b, err := os.ReadFile(p.Up)
	if errors.Is(err, os.ErrNotExist) {
		if cluster.Exists(p.Mesh) {
			return fmt.Errorf("%s: this mesh was not made by tenks up: tenks destroy CLUSTER --wait, then tenks leave", p.Dir)
		}
		fmt.Fprintln(t.out, "nothing is up")
		return nil
	}
	if err != nil {
		return err
	}
	var made upRecord
	if err := json.Unmarshal(b, &made); err != nil {
		return fmt.Errorf("%s: %w", p.Up, err)
	}
	if daemon.PID(p.Dir) == 0 {
		if err := t.startAgent(ctx, p); err != nil {
			return err
		}
	}
	if err := t.destroyAll(ctx, made, r, wait); err != nil {
		return err
	}
	if !made.Mesh {
		return os.Remove(p.Up)
	}
	if err := t.removeAgent(ctx, p.Dir); err != nil {
		return err
	}
	if err := removeData(p.Dir); err != nil {
		return err
	}
	fmt.Fprintln(t.out, "all is down")
	return nil
}

// destroyAll destroys what up made; in a mesh that up made, whatever is there.
func (t *tool) destroyAll(ctx context.Context, made upRecord, r api.DestroyRequest, wait time.Duration) error {
	c := t.client()
	clusters, err := c.Clusters(ctx)
	if err != nil {
		return err
	}
	for _, cl := range clusters {
		if !made.Mesh && !slices.Contains(made.Clusters, cl.Name) {
			continue
		}
		if err := c.Destroy(ctx, cl.Name, r); err != nil {
			return err
		}
	}
	for _, cl := range clusters {
		if !made.Mesh && !slices.Contains(made.Clusters, cl.Name) {
			continue
		}
		if err := t.waitGone(ctx, c, cl.Name, wait); err != nil {
			return err
		}
	}
	return nil
}

// removeData removes a data directory, up.json last, so that a repeat after a
// crash goes on.
func removeData(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	up := daemon.PathsOf(dir).Up
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); path != up {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(up); err != nil {
		return err
	}
	// A directory that is a mount point stays, empty.
	if err := os.Remove(dir); err != nil && !errors.Is(err, syscall.EBUSY) {
		return err
	}
	return nil
}
