package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"tenks/cluster"
	"tenks/cmd/internal/daemon"
	"tenks/config"
)

// hostFlags are what init, and later join, may say of this host.
type hostFlags struct {
	name, advertise, zone string
	physnets, labels      []string
	foreground            bool
}

func (f *hostFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.name, "name", "", "name of this peer (default: the host's name)")
	fl.StringVar(&f.advertise, "advertise", "", "address for other peers and of BMCs (default: the default route's)")
	fl.StringVar(&f.zone, "zone", "", "failure domain of this host")
	fl.StringArrayVar(&f.physnets, "physnet", nil, "NAME=DEVICE, or NAME for an isolated network; may be repeated")
	fl.StringArrayVar(&f.labels, "label", nil, "KEY=VALUE, for specs' placement; may be repeated")
	fl.BoolVar(&f.foreground, "foreground", false, "run the agent in the foreground")
}

// agentFile is agent.yml as init writes it.
type agentFile struct {
	Name      string                       `yaml:"name,omitempty"`
	DataDir   string                       `yaml:"data_dir"`
	Advertise string                       `yaml:"advertise,omitempty"`
	Zone      string                       `yaml:"zone,omitempty"`
	Labels    map[string]string            `yaml:"labels,omitempty"`
	Physnets  map[string]map[string]string `yaml:"physnets,omitempty"`
	// flags says that a person gave some: the file must have what they say.
	flags bool
}

// given reports whether there is a flag about what the host offers.
func (f *hostFlags) given() bool {
	return f.name+f.advertise+f.zone != "" || len(f.physnets)+len(f.labels) > 0
}

func (f *hostFlags) file(dataDir string) (agentFile, error) {
	a := agentFile{Name: f.name, DataDir: dataDir, Advertise: f.advertise, Zone: f.zone,
		Labels: map[string]string{}, Physnets: map[string]map[string]string{},
		flags: f.given()}
	for _, p := range f.physnets {
		name, device, mapped := strings.Cut(p, "=")
		if name == "" || mapped && device == "" {
			return a, usagef("--physnet %q: not NAME=DEVICE", p)
		}
		a.Physnets[name] = map[string]string{}
		if mapped {
			a.Physnets[name]["device"] = device
		}
	}
	for _, l := range f.labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok || key == "" {
			return a, usagef("--label %q: not KEY=VALUE", l)
		}
		a.Labels[key] = value
	}
	return a, nil
}

func (t *tool) initCommand() *cobra.Command {
	var host hostFlags
	var mesh string
	c := &cobra.Command{
		Use: "init", Short: "make a mesh of one on this host, and start its agent", Args: noArgs,
		Example: "  tenks init --physnet physnet1=eth1 --zone rack-a",
		RunE: func(c *cobra.Command, _ []string) error {
			p := t.paths()
			file, err := host.file(p.Dir)
			if err != nil {
				return err
			}
			if err := t.makeMesh(p, mesh, file); err != nil {
				return err
			}
			if host.foreground {
				return runAgent(c.Context(), p.Config, "info", t.err)
			}
			if err := t.startAgent(c.Context(), p); err != nil {
				return err
			}
			fmt.Fprintf(t.out, "mesh %q made; agent %d runs, its log is %s\n", mesh, daemon.PID(p.Dir), t.agentLog(p))
			return nil
		},
	}
	host.add(c)
	c.Flags().StringVar(&mesh, "mesh", "tenks", "name of the mesh")
	return c
}

// makeMesh writes agent.yml and makes a mesh of one. What is there is left alone,
// so that it may be repeated after a crash; a whole mesh is refused.
func (t *tool) makeMesh(p daemon.Paths, mesh string, file agentFile) error {
	if cluster.Exists(p.Mesh) {
		return fmt.Errorf("%s: this host is in a mesh already: see tenks status", p.Dir)
	}
	if _, err := ensureFile(p, file); err != nil {
		return err
	}
	return daemon.Found(p.Mesh, mesh, file.Name)
}

// ensureFile writes agent.yml unless it is there, and returns what it says. One that is there
// counts, and not the flags: other ones are refused while there is no mesh that they might
// have been given for before.
func ensureFile(p daemon.Paths, file agentFile) (config.Agent, error) {
	want, err := yaml.Marshal(file)
	if err != nil {
		return config.Agent{}, err
	}
	text, err := os.ReadFile(p.Config)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := config.LoadAgent(p.Config, want); err != nil {
			return config.Agent{}, err
		}
		if err := os.MkdirAll(p.Dir, 0o711); err != nil {
			return config.Agent{}, err
		}
		if err := writeFile(p.Config, want, 0o600); err != nil {
			return config.Agent{}, err
		}
		text = want
	case err != nil:
		return config.Agent{}, err
	case file.flags && string(text) != string(want) && !cluster.Exists(p.Mesh):
		return config.Agent{}, fmt.Errorf("%s is there, and says what this host offers: write there what the flags say, or remove it", p.Config)
	}
	return config.LoadAgent(p.Config, text)
}

// ensureAgent makes the mesh if there is none, and starts the agent if none runs.
func (t *tool) ensureAgent(ctx context.Context, p daemon.Paths, mesh string, file agentFile) (made bool, err error) {
	if !cluster.Exists(p.Mesh) {
		if err := t.makeMesh(p, mesh, file); err != nil {
			return false, err
		}
		made = true
	}
	if daemon.PID(p.Dir) != 0 {
		return made, t.client().Ready(ctx)
	}
	return made, t.startAgent(ctx, p)
}
