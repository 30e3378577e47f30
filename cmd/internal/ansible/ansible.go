// Package ansible reads what users of the Ansible tool named Tenks have (its override
// file, inventory and state file) and writes the cluster file and the agents' files that
// mean the same here. It takes bytes and returns bytes: it opens no file, asks no host,
// runs no Ansible and starts nothing. What it does not carry over it lists.
package ansible

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// File is a file with its name, which messages have.
type File struct {
	Name string
	Data []byte
}

// Options of an import.
type Options struct {
	// Cluster is the name of the cluster; empty: the override file's.
	Cluster string
	// Cloud is an entry of clouds.yaml, Endpoint the URL of an Ironic without Keystone. Where
	// both are empty the nodes are not enrolled, and a note says so.
	Cloud, Endpoint string
	// Localhost is the name of the peer that the inventory calls localhost.
	Localhost string
	// PasswordFile is where the caller will write Result.Password: an absolute path.
	PasswordFile string
	// IgnoreUnknown has keys within node types, specs and flavors that are not known listed
	// instead of refused.
	IgnoreUnknown bool
	// everything takes every key for one that this version has, for tests whose results
	// outlive it.
	everything bool
}

// Input is what is imported.
type Input struct {
	Override File
	// State is nil without a state file.
	State *File
	// Inventory holds the inventory's files: hosts in INI or YAML, and below group_vars and
	// host_vars variables in YAML. Names are paths relative to the inventory.
	Inventory []File
}

// Kind says what a Note is about.
type Kind string

// The kinds.
const (
	// NotCarried is a key that has no meaning here, or none that can be had.
	NotCarried Kind = "not carried over"
	// Unknown is a key that neither Tenks knows.
	Unknown Kind = "not known"
	// Differs is what is different here.
	Differs Kind = "different here"
	// Warning is what somebody should look at.
	Warning Kind = "warning"
	// fault makes the import fail.
	fault Kind = "error"
)

// Note is something that the reader of the result should know.
type Note struct {
	Kind Kind
	File string
	// Line counts from 1; 0: it is about no line.
	Line int
	// Key is the path of the value; empty: it is about the whole file.
	Key  string
	Text string
}

// String is the note in one line.
func (n Note) String() string {
	where := n.File
	if n.Line > 0 {
		where = fmt.Sprintf("%s:%d", n.File, n.Line)
	}
	return strings.Join(slices.DeleteFunc([]string{where, n.Key, n.Text}, func(s string) bool { return s == "" }), ": ")
}

// Faults are what makes an import impossible, by file and line; never empty.
type Faults []Note

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, n := range f {
		lines[i] = n.String()
	}
	return strings.Join(lines, "\n")
}

// Result is what an import makes.
type Result struct {
	// Cluster is the cluster file, which config.LoadCluster accepts.
	Cluster []byte
	// Name is the cluster's name.
	Name string
	// Agents are the agents' files, by host.
	Agents map[string][]byte
	// Password is what PasswordFile is to hold; empty: the cluster file names none.
	Password string
	// Notes are in the order of kinds, files and lines.
	Notes []Note
	// Hosts are the hypervisors, sorted.
	Hosts []string
}

// Import turns the files of the Ansible tool into those of Tenks. The error is Faults.
func Import(in Input, opt Options) (Result, error) {
	im := &importer{opt: opt, defaults: toolDefaults()}
	im.read(in)
	if im.failed() {
		return Result{}, im.faults()
	}
	r := Result{Name: im.clusterName(in.Override.Name), Agents: map[string][]byte{}, Hosts: im.hosts()}
	cluster := im.cluster(r.Name)
	im.unused()
	for _, h := range r.Hosts {
		r.Agents[h] = im.agent(h)
	}
	if im.failed() {
		return Result{}, im.faults()
	}
	r.Notes, r.Password = im.sorted(), im.password
	r.Cluster = im.write(cluster, in.Override.Name)
	if !opt.everything {
		im.verify(&r)
	}
	if im.failed() {
		return Result{}, im.faults()
	}
	return r, nil
}

// importer is one import.
type importer struct {
	opt   Options
	notes []Note
	// override are the extra variables, which beat all others.
	override *value
	inv      *inventory
	state    *stateFile
	// defaults are the tool's own, below all others.
	defaults *value
	// password is that of the BMCs.
	password string
}

func (im *importer) read(in Input) {
	im.override = im.parse(in.Override)
	if im.override != nil && im.override.kind != mapping {
		if im.override.kind != null {
			im.add(fault, im.override, "", "want a mapping of variables, found %s", im.override.describe())
		}
		im.override = &value{kind: mapping, file: in.Override.Name, line: 1}
	}
	im.inv = im.readInventory(in.Inventory)
	if in.State != nil {
		im.state = im.readState(*in.State)
	}
}

func (im *importer) add(k Kind, at *value, key, format string, args ...any) {
	n := Note{Kind: k, Key: key, Text: fmt.Sprintf(format, args...)}
	if at != nil {
		n.File, n.Line = at.file, at.line
	}
	if len(im.notes) < maxNotes && !slices.Contains(im.notes, n) {
		im.notes = append(im.notes, n)
	}
}

// maxNotes bounds what is said of one import.
const maxNotes = 2000

func (im *importer) failed() bool {
	return slices.ContainsFunc(im.notes, func(n Note) bool { return n.Kind == fault })
}

func (im *importer) faults() error {
	var out Faults
	for _, n := range im.sorted() {
		if n.Kind == fault {
			out = append(out, n)
		}
	}
	return out
}

var order = []Kind{fault, Warning, NotCarried, Unknown, Differs}

// sorted are the notes by kind, file and line.
func (im *importer) sorted() []Note {
	out := slices.Clone(im.notes)
	slices.SortStableFunc(out, func(a, b Note) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
	return out
}
