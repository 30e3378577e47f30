package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/declare"
)

func (t *tool) planCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use: "plan -f FILE", Short: "show what an apply would do", Args: noArgs,
		Long: `Plan shows what an apply would do to each node, why, and when that takes effect; nodes
of which the same is to be said are one line. Notes are about what an apply does not mend.
It fails if the apply would be refused.`,
		Example: "  tenks plan -f demo.yml",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := f.request(t)
			if err != nil {
				return err
			}
			p, err := t.client().Plan(c.Context(), r)
			if err != nil {
				return err
			}
			if err := t.print(p, func() table { return planTable(p) }); err != nil {
				return err
			}
			if len(p.Refusals) > 0 {
				return errors.New("an apply would be refused:\n" + strings.Join(p.Refusals, "\n"))
			}
			return nil
		},
	}
	f.add(c)
	return c
}

func planTable(p api.Plan) table {
	tab := table{}
	if len(p.Steps)+len(p.Flavors) > 0 {
		tab.head = []string{"ACTION", "NODE", "HYPERVISOR", "WHY"}
	}
	count := map[string]int{}
	for _, s := range p.Steps {
		count[s.Action]++
	}
	for _, g := range foldSteps(p.Steps) {
		action, nodes, hosts := g.action, declare.Names(g.nodes), declare.Names(g.hosts)
		for _, line := range g.why {
			tab.row(action, nodes, hosts, line)
			action, nodes, hosts = " ", " ", " " // said once
		}
	}
	for _, f := range p.Flavors {
		tab.row(f.Action, "flavor "+f.Name, "", strings.Join(f.Reasons, "; "))
	}
	for _, note := range p.Notes {
		tab.row("note: " + note)
	}
	recreate := ""
	if n := count["recreate"]; n > 0 {
		recreate = fmt.Sprintf(", recreate %d", n)
	}
	tab.row(fmt.Sprintf("cluster %s: create %d, change %d%s, remove %d, unchanged %d",
		p.Cluster, count["create"], count["change"], recreate, count["remove"], p.Unchanged))
	return tab
}

// fold is steps of which the same is to be said.
type fold struct {
	action       string
	nodes, hosts []string
	why          []string
}

// foldSteps puts steps together, in the order of the first of each.
func foldSteps(steps []api.PlanStep) []*fold {
	var out []*fold
	byText := map[string]*fold{}
	seen := map[string]bool{}
	for _, s := range steps {
		why := stepWhy(s)
		text := s.Action + "\n" + strings.Join(why, "\n")
		g := byText[text]
		if g == nil {
			g = &fold{action: s.Action, why: why}
			byText[text], out = g, append(out, g)
		}
		g.nodes = append(g.nodes, s.Node)
		if host := text + "\n" + s.Hypervisor; s.Hypervisor != "" && !seen[host] {
			seen[host], g.hosts = true, append(g.hosts, s.Hypervisor)
		}
	}
	return out
}

// planTimes has the words for when a change takes effect.
var planTimes = map[string]string{
	"now": "now", "restart": "now: power cycle by --restart", "power-on": "a running node: at its next power-on",
	"placement": "for nodes placed from now on",
}

// stepWhy says what of a node differs, and when it takes effect, or else the reasons.
func stepWhy(s api.PlanStep) []string {
	if len(s.Changes) == 0 {
		return []string{strings.Join(s.Reasons, "; ")}
	}
	var out []string
	for _, c := range s.Changes {
		out = append(out, fmt.Sprintf("%s (%s)", c.Text, cmp.Or(planTimes[c.When], c.When)))
	}
	if s.When == "restart" && len(s.Reasons) > 1 { // what waited before
		out = append(out, s.Reasons[1:]...)
	}
	return out
}
