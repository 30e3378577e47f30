package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/client"
)

func (t *tool) nodeCommand() *cobra.Command {
	return group("node", "look at nodes and work their chassis",
		t.nodeList(), t.nodeShow(), t.nodePower(), t.nodeBoot(), t.nodeConsole(), t.nodeAudit(), t.nodeRecover(), t.nodeRemove())
}

func (t *tool) nodeList() *cobra.Command {
	var q client.NodeQuery
	c := &cobra.Command{Use: "list", Short: "list nodes", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			nodes, _, err := t.client().Nodes(c.Context(), q)
			if err != nil {
				return err
			}
			return t.print(nodes, func() table { return nodeTable(nodes) })
		}}
	c.Flags().StringVar(&q.Cluster, "cluster", "", "only this cluster's")
	return c
}

func nodeTable(nodes []api.Node) table {
	tab := table{head: []string{"NAME", "CLUSTER", "TYPE", "HYPERVISOR", "PHASE", "POWER", "BMC", "IRONIC", "REASON"}}
	for _, n := range nodes {
		reason := n.Reason
		if reason == "" && len(n.PendingChanges) > 0 {
			reason = "at next power-on: " + strings.Join(n.PendingChanges, "; ")
		}
		tab.row(n.Name, n.Cluster, n.Type, n.Hypervisor, n.Phase, n.Power, bmcAddress(n.BMC), n.Ironic.ProvisionState, reason)
	}
	return tab
}

func bmcAddress(b api.BMC) string {
	if b.Address == "" {
		return ""
	}
	if b.RedfishURL != "" {
		return b.RedfishURL
	}
	return fmt.Sprintf("%s://%s:%d", b.Protocol, b.Address, b.Port)
}

// nodeNames completes the names of nodes.
func (t *tool) nodeNames(c *cobra.Command, done []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(done) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	nodes, _, err := t.client().Nodes(c.Context(), client.NodeQuery{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) nodeShow() *cobra.Command {
	var secrets bool
	c := &cobra.Command{Use: "show NODE", Short: "show one node", Args: args(1, 1, "one node"),
		ValidArgsFunction: t.nodeNames,
		RunE: func(c *cobra.Command, a []string) error {
			choice := api.HideSecrets
			if secrets {
				choice = api.ShowSecrets
			}
			n, err := t.client().Node(c.Context(), a[0], choice)
			if err != nil {
				return err
			}
			return t.print(n, func() table { return nodeDetails(n) })
		}}
	c.Flags().BoolVar(&secrets, "secrets", false, "show the BMC's password, and a line to try it")
	return c
}

func nodeDetails(n api.Node) table {
	tab := table{}
	tab.row("name", n.Name)
	tab.row("uuid", n.UUID)
	tab.row("cluster", n.Cluster)
	tab.row("type", n.Type)
	tab.row("hardware", fmt.Sprintf("%d MiB, %d vCPUs, %d GiB disk, %s firmware", n.MemoryMB, n.VCPUs, n.DiskGB, n.BootMode))
	tab.row("driver", n.Driver)
	tab.row("hypervisor", n.Hypervisor)
	tab.row("phase", strings.TrimSpace(n.Phase+" "+n.Reason))
	tab.row("power", n.Power)
	for i, p := range n.Ports {
		trunk := ""
		if p.Trunk != "" {
			trunk = ", trunk of " + p.Trunk
		}
		tab.row("port "+strconv.Itoa(i), fmt.Sprintf("%s on %s (%s in %s)%s", p.MAC, p.Physnet, p.Link, p.Bridge, trunk))
	}
	if n.BMC.Protocol != "snmp" { // those have only an outlet
		tab.row("bmc", strings.TrimSpace(bmcAddress(n.BMC)+" user "+n.BMC.Username))
	}
	if n.Plug != nil {
		at := ""
		if n.BMC.Protocol == "snmp" {
			at = bmcAddress(n.BMC)
		}
		tab.row("plug", strings.TrimSpace(fmt.Sprintf("outlet %d of PDU %s %s", n.Plug.Outlet, n.Plug.PDU, at)))
	}
	if n.Architecture != "" && n.Architecture != "x86_64" {
		tab.row("architecture", n.Architecture)
	}
	if n.Hardware != nil {
		tab.row("hardware", n.Hardware.String())
	}
	if n.Display != "" {
		tab.row("display", n.Display)
	}
	if n.BMC.Audit {
		tab.row("audit", "audit.log in the data directory of "+n.Hypervisor)
	}
	if n.BMC.Password != "" {
		tab.row("try", bmcLine(n, "status"))
	}
	ironicDetails(&tab, n)
	for _, change := range n.PendingChanges {
		tab.row("at next power-on", change)
	}
	return tab
}

// powerWords are the actions, and status, which changes nothing.
var powerWords = []string{"on", "off", "soft", "cycle", "reset", "nmi", "status"}

func (t *tool) nodePower() *cobra.Command {
	c := group("power", "change or show a node's power")
	short := map[string]string{"on": "switch on", "off": "switch off, hard", "soft": "ask the guest to shut down (ACPI)",
		"cycle": "off and on", "reset": "reset with power on", "nmi": "send a non-maskable interrupt", "status": "show power"}
	for _, word := range powerWords {
		c.AddCommand(&cobra.Command{Use: word + " NODE...", Short: short[word], Args: args(1, 1000, "one node or more"),
			ValidArgsFunction: t.nodeNames,
			RunE: func(c *cobra.Command, a []string) error {
				return t.powerNodes(c.Context(), word, a)
			}})
	}
	return c
}

func (t *tool) powerNodes(ctx context.Context, word string, nodes []string) error {
	return t.eachChassis(nodes, func(name string) (api.Chassis, error) {
		if word == "status" {
			return t.client().Chassis(ctx, name)
		}
		return t.client().Power(ctx, name, word)
	})
}

// eachChassis calls do for nodes, one after the other until one fails, and prints what
// power they have then.
func (t *tool) eachChassis(nodes []string, do func(name string) (api.Chassis, error)) error {
	type row struct {
		Node string `json:"node"`
		api.Chassis
	}
	rows := []row{}
	for _, name := range nodes {
		ch, err := do(name)
		if err != nil {
			return err
		}
		rows = append(rows, row{name, ch})
	}
	return t.print(rows, func() table {
		tab := table{}
		for _, r := range rows {
			tab.row(r.Node, r.Power)
		}
		return tab
	})
}

func (t *tool) nodeBoot() *cobra.Command {
	var r api.BootRequest
	c := &cobra.Command{Use: "boot NODE pxe|disk|cdrom|usb|bios|none", Short: "set what a node boots from next",
		Args:    args(2, 2, "a node and a device"),
		Example: "  tenks node boot tk0 pxe\n  tenks node boot tk0 disk --persistent",
		RunE: func(c *cobra.Command, a []string) error {
			r.Device = a[1]
			ch, err := t.client().Boot(c.Context(), a[0], r)
			if err != nil {
				return err
			}
			return t.print(ch, func() table {
				tab := table{head: []string{"DEVICE", "PERSISTENT", "EFI"}}
				tab.row(ch.BootDevice, strconv.FormatBool(ch.Persistent), strconv.FormatBool(ch.EFI))
				return tab
			})
		}}
	c.Flags().BoolVar(&r.Persistent, "persistent", false, "for every boot, not only the next")
	c.Flags().BoolVar(&r.EFI, "efi", false, "set the EFI flag")
	return c
}

func (t *tool) nodeRemove() *cobra.Command {
	var r api.DestroyRequest
	var yes bool
	c := &cobra.Command{Use: "remove NODE", Short: "remove one node and its disks", Args: args(1, 1, "one node"),
		Long: `Remove takes one node away. The next apply of its cluster's file makes another one
unless the count is lowered, too.`,
		ValidArgsFunction: t.nodeNames,
		RunE: func(c *cobra.Command, a []string) error {
			if in, ok := t.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) && !yes {
				if err := t.question("Remove node " + a[0] + " with its disks?"); err != nil {
					return err
				}
			}
			return t.client().RemoveNode(c.Context(), a[0], r)
		}}
	c.Flags().BoolVar(&r.Force, "force", false, "also if Ironic uses it")
	c.Flags().BoolVar(&r.Forget, "forget-ironic", false, "leave its record in Ironic")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// escape ends a console session: Ctrl-].
const escape = 0x1d

func (t *tool) nodeConsole() *cobra.Command {
	return &cobra.Command{Use: "console NODE", Short: "attach to a node's serial console; Ctrl-] ends it",
		Args: args(1, 1, "one node"), ValidArgsFunction: t.nodeNames,
		RunE: func(c *cobra.Command, a []string) error {
			conn, err := t.client().Console(c.Context(), a[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			return t.attach(c.Context(), conn)
		}}
}

// attach copies between the terminal and a console until either side ends.
func (t *tool) attach(ctx context.Context, conn io.ReadWriteCloser) error {
	if f, ok := t.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		old, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return err
		}
		defer func() { _ = term.Restore(int(f.Fd()), old) }()
		fmt.Fprint(t.err, "attached; Ctrl-] ends it\r\n")
	}
	done := make(chan error, 2)
	go func() {
		_, err := io.Copy(t.out, conn)
		done <- err
	}()
	// A read from a terminal cannot be cut short: this one ends with the process.
	go func() { done <- typed(conn, t.in) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-done:
		return err
	}
}

// typed copies what is typed until the escape character, or the end of input.
func typed(conn io.Writer, in io.Reader) error {
	buf := make([]byte, 256)
	for {
		n, err := in.Read(buf)
		if i := strings.IndexByte(string(buf[:n]), escape); i >= 0 {
			_, werr := conn.Write(buf[:i])
			return werr
		}
		if _, werr := conn.Write(buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
