package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/daemon"
	"tenks/cmd/internal/hostcheck"
	"tenks/config"
)

func (t *tool) hostCommand() *cobra.Command {
	var openVSwitch bool
	check := &cobra.Command{Use: "check", Short: "say what this host lacks; exits 1 if something is missing", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.printChecks(hostcheck.Run(c.Context(), t.wantsOVS(openVSwitch)))
		}}
	setup := &cobra.Command{Use: "setup", Short: "install what this host lacks (apt, dnf or zypper)", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o := t.wantsOVS(openVSwitch)
			if err := hostcheck.Setup(c.Context(), o, func(step string) { fmt.Fprintln(t.err, step) }); err != nil {
				return err
			}
			return t.printChecks(hostcheck.Run(c.Context(), o))
		}}
	for _, c := range []*cobra.Command{check, setup} {
		c.Flags().BoolVar(&openVSwitch, "openvswitch", false, "with Open vSwitch (default: if bridge_type in agent.yml says so)")
	}
	return group("host", "get this host ready, and what it keeps", check, setup, t.quarantineCommand())
}

// wantsOVS says what the host is to have of Open vSwitch, by its agent.yml if there is one
// that can be read.
func (t *tool) wantsOVS(anyway bool) hostcheck.OVS {
	c := t.agentConfig()
	if !anyway && c.BridgeType != config.BridgeOVS {
		return hostcheck.OVS{}
	}
	return hostcheck.OVS{DB: c.OVS.DB, Kernel: c.OVS.Datapath == config.DatapathSystem}
}

// agentConfig is the host's agent.yml if there is one that can be read, or what holds without.
func (t *tool) agentConfig() config.Agent {
	file := daemon.PathsOf(t.dataDir).Config
	if text, err := os.ReadFile(file); err == nil {
		if read, err := config.LoadAgent(file, text); err == nil {
			return read
		}
	}
	return config.DefaultAgent()
}
