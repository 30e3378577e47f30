package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/hostcheck"
)

func (t *tool) hostCommand() *cobra.Command {
	check := &cobra.Command{Use: "check", Short: "say what this host lacks; exits 1 if something is missing", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return t.printChecks(hostcheck.Run(c.Context())) }}
	setup := &cobra.Command{Use: "setup", Short: "install what this host lacks (apt, dnf or zypper)", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := hostcheck.Setup(c.Context(), func(step string) { fmt.Fprintln(t.err, step) }); err != nil {
				return err
			}
			return t.printChecks(hostcheck.Run(c.Context()))
		}}
	return group("host", "get this host ready, and what it keeps", check, setup, t.quarantineCommand())
}
