package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tenks/cmd/internal/ansible"
)

// importFlags are what tenks import is given.
type importFlags struct {
	state, inventory, file, agents string
	options                        ansible.Options
	force, adopt                   bool
	adoption                       adoption
}

func (t *tool) importCommand() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use: "import OVERRIDE [-o FILE]", Short: "turn the files of the Ansible tool named Tenks into a cluster file", Args: args(1, 1, "one override file"),
		Long: `Import reads the override file of the Ansible tool, and its inventory and state file where
they are given, and writes the cluster file that means the same, and for each hypervisor an
agent.yml. What is not carried over, and what is different here, stands above it and on
standard error. Without -o the cluster file is printed, and nothing is written.`,
		Example: "  tenks import override.yml -o cluster.yml\n  tenks import override.yml --state state.yml --inventory ansible/inventory -o cluster.yml --agent-files agents",
		RunE: func(c *cobra.Command, a []string) error {
			if f.adopt && f.file == "" {
				return usagef("--adopt needs -o FILE: the cluster file that is applied")
			}
			if err := t.importFrom(a[0], f); err != nil || !f.adopt {
				return err
			}
			r, err := (&applyFlags{file: f.file}).request(t)
			if err != nil {
				return err
			}
			return t.adopt(c.Context(), r, f.adoption)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.state, "state", "", "state file of the Ansible tool: nodes keep name, UUID, host and port")
	fl.StringVar(&f.inventory, "inventory", "", "inventory: a file or a folder, with group_vars and host_vars (default: localhost)")
	fl.StringVarP(&f.file, "output", "o", "", "file to write; the BMCs' password is written beside it")
	fl.StringVar(&f.agents, "agent-files", "", "folder to write an agent.yml for each hypervisor to, as HOST.yml")
	fl.StringVar(&f.options.Cluster, "cluster", "", "name of the cluster (default: that of the override file)")
	fl.StringVar(&f.options.Cloud, "cloud", os.Getenv("OS_CLOUD"), "entry of clouds.yaml: the Ironic to enrol nodes in")
	fl.StringVar(&f.options.Endpoint, "endpoint", "", "URL of an Ironic without Keystone")
	fl.StringVar(&f.options.Localhost, "localhost", "", "name of the peer that the inventory calls localhost (default: this host's name)")
	fl.BoolVar(&f.options.IgnoreUnknown, "ignore-unknown", false, "list unknown keys of node types, specs and flavors instead of refusing them")
	fl.BoolVar(&f.force, "force", false, "replace files that are there")
	fl.BoolVar(&f.adopt, "adopt", false, "then take over the nodes of --state as they are: see tenks adopt")
	f.adoption.add(c)
	return c
}

func (t *tool) importFrom(override string, f importFlags) error {
	in, err := importInput(override, f)
	if err != nil {
		return err
	}
	opt := f.options
	if opt.Endpoint != "" {
		opt.Cloud = ""
	}
	if opt.Localhost == "" {
		if opt.Localhost, err = os.Hostname(); err != nil {
			return err
		}
	}
	if opt.PasswordFile, err = filepath.Abs(passwordBeside(cmp.Or(f.file, "cluster.yml"))); err != nil {
		return err
	}
	r, err := ansible.Import(in, opt)
	if err != nil {
		return err
	}
	t.importNotes(r)
	if f.file == "" {
		_, err := t.out.Write(r.Cluster)
		return err
	}
	return t.writeImport(r, f, opt.PasswordFile)
}

// passwordBeside is the file of the BMCs' password beside a cluster file.
func passwordBeside(file string) string {
	return strings.TrimSuffix(file, filepath.Ext(file)) + ".bmc-password"
}

// importNotes tells what a reader of the result should know.
func (t *tool) importNotes(r ansible.Result) {
	var last ansible.Kind
	for _, n := range r.Notes {
		if n.Kind != last {
			fmt.Fprintf(t.err, "%s:\n", n.Kind)
			last = n.Kind
		}
		fmt.Fprintf(t.err, "  %s\n", n)
	}
}

// importFile is a file that an import writes.
type importFile struct {
	name string
	data []byte
	mode fs.FileMode
}

func (t *tool) writeImport(r ansible.Result, f importFlags, password string) error {
	files := []importFile{{f.file, r.Cluster, 0o644}}
	if r.Password != "" {
		files = append(files, importFile{password, []byte(r.Password + "\n"), 0o600})
	}
	if f.agents != "" {
		if err := os.MkdirAll(f.agents, 0o755); err != nil { //nolint:gosec // nothing secret is in it
			return err
		}
		for _, h := range r.Hosts {
			if h != filepath.Base(h) || h == "." || h == ".." {
				return fmt.Errorf("host %q: no name for a file", h)
			}
			files = append(files, importFile{filepath.Join(f.agents, h+".yml"), r.Agents[h], 0o644})
		}
	}
	if !f.force {
		for _, one := range files {
			if _, err := os.Lstat(one.name); err == nil {
				return fmt.Errorf("%s exists: --force replaces it", one.name)
			}
		}
	}
	for _, one := range files {
		if err := replaceFile(one); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "%s: cluster %s", f.file, r.Name)
	for _, one := range files[1:] {
		fmt.Fprintf(t.out, ", %s", one.name)
	}
	fmt.Fprintf(t.out, "\nSee what it would do: tenks plan -f %s\n", f.file)
	return nil
}

// replaceFile writes a file, whole or not at all, and never with a wider mode.
func replaceFile(f importFile) error {
	tmp, err := os.CreateTemp(filepath.Dir(f.name), ".tenks-import-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(f.data)
	err = errors.Join(err, tmp.Chmod(f.mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// importInput reads what is imported.
func importInput(override string, f importFlags) (ansible.Input, error) {
	var in ansible.Input
	data, err := os.ReadFile(override)
	if err != nil {
		return in, err
	}
	in.Override = ansible.File{Name: override, Data: data}
	if f.state != "" {
		data, err := os.ReadFile(f.state)
		if err != nil {
			return in, err
		}
		in.State = &ansible.File{Name: f.state, Data: data}
	}
	if f.inventory != "" {
		in.Inventory, err = inventoryFiles(f.inventory)
	}
	return in, err
}

// Bounds of an inventory that is read.
const (
	maxInventoryFiles = 10_000
	maxInventoryFile  = 8 << 20
	maxInventoryDepth = 16
)

// inventoryFiles reads an inventory: a folder with all below it, or a file with the
// group_vars and host_vars beside it.
func inventoryFiles(name string) ([]ansible.File, error) {
	i, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if i.IsDir() {
		return inventoryFolder(name, ".")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	out := []ansible.File{{Name: filepath.Base(name), Data: data}}
	for _, below := range []string{"group_vars", "host_vars"} {
		files, err := inventoryFolder(filepath.Dir(name), below)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		out = append(out, files...)
	}
	return out, nil
}

// inventoryFolder reads a folder with all below it. Links are followed, as Ansible does.
func inventoryFolder(root, below string) ([]ansible.File, error) {
	var out []ansible.File
	err := inventoryBelow(root, below, 0, &out)
	return out, err
}

func inventoryBelow(root, below string, depth int, out *[]ansible.File) error {
	if depth > maxInventoryDepth {
		return fmt.Errorf("%s: more than %d folders deep: does a link lead back?", filepath.Join(root, below), maxInventoryDepth)
	}
	all, err := os.ReadDir(filepath.Join(root, below))
	if err != nil {
		return err
	}
	for _, d := range all {
		rel := filepath.Join(below, d.Name())
		i, err := os.Stat(filepath.Join(root, rel))
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link to nowhere
		case err != nil:
			return err
		case i.IsDir() && slices.Contains([]string{".git", "roles", "library", "collections"}, d.Name()):
		case i.IsDir():
			if err := inventoryBelow(root, rel, depth+1, out); err != nil {
				return err
			}
		case !i.Mode().IsRegular() || i.Size() > maxInventoryFile:
		case len(*out) >= maxInventoryFiles:
			return fmt.Errorf("%s: more than %d files: is it an inventory?", root, maxInventoryFiles)
		default:
			data, err := os.ReadFile(filepath.Join(root, rel))
			if err != nil {
				return err
			}
			*out = append(*out, ansible.File{Name: filepath.ToSlash(rel), Data: data})
		}
	}
	return nil
}
