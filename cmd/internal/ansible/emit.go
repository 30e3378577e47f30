package ansible

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"tenks/config"
)

// object is a mapping that is written.
type object struct{ n *yaml.Node }

func newObject() object { return object{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

func flow(o object) *yaml.Node {
	o.n.Style = yaml.FlowStyle
	return o.n
}

// set adds a key; a comment stands behind its value, or above a key that has more lines.
func (o object) set(key string, v *yaml.Node, comment ...string) {
	k := textNode(key)
	text := strings.Join(comment, "\n")
	switch {
	case text == "":
	case v.Kind == yaml.ScalarNode:
		v.LineComment = "# " + text
	default:
		k.HeadComment = "# " + strings.ReplaceAll(text, "\n", "\n# ")
	}
	o.n.Content = append(o.n.Content, k, v)
}

func (o object) empty() bool { return len(o.n.Content) == 0 }

func textNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func numberNode(n uint64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatUint(n, 10)}
}

func flagNode(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(b)}
}

func listNode(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}

func textsNode(texts []string) *yaml.Node {
	n := listNode()
	n.Style = yaml.FlowStyle
	for _, s := range texts {
		n.Content = append(n.Content, textNode(s))
	}
	return n
}

// same writes a value as it was read.
func same(v *value) *yaml.Node {
	switch v.kind {
	case null:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	case list:
		n := listNode()
		for _, item := range v.items {
			n.Content = append(n.Content, same(item))
		}
		return n
	case mapping:
		o := newObject()
		for _, item := range v.items {
			o.set(item.name, same(item))
		}
		return o.n
	}
	if v.tag == "!unsafe" {
		return textNode(v.text)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: v.tag, Value: v.text}
}

func marshal(n *yaml.Node) []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil { // nodes of ours: cannot happen
		panic(fmt.Sprintf("write YAML: %v", err))
	}
	return b.Bytes()
}

// schema is the cluster file's JSON Schema.
var schema = sync.OnceValue(func() map[string]any {
	var s map[string]any
	if err := json.Unmarshal(config.Schema(), &s); err != nil { // ours: cannot happen
		panic(err)
	}
	return s
})

// hasKey reports whether the cluster file has a key: a path of keys, "*" for any key of a
// mapping, "[]" for the items of a list.
func (im *importer) hasKey(path ...string) bool {
	if im.opt.everything {
		return true
	}
	at := schema()
	for _, step := range path {
		var next any
		switch step {
		case "*":
			next = at["additionalProperties"]
		case "[]":
			next = at["items"]
		default:
			properties, _ := at["properties"].(map[string]any)
			next = properties[step]
		}
		var ok bool
		if at, ok = next.(map[string]any); !ok || at["not"] != nil { // what is not supported yet is refused
			return false
		}
	}
	return true
}

// put sets a key that the cluster file may or may not have; below is the path of o.
func (im *importer) put(o object, below []string, key string, node *yaml.Node, at *value) {
	if im.hasKey(append(slices.Clone(below), key)...) {
		o.set(key, node)
		return
	}
	name := key
	if at != nil && at.name != "" {
		name = at.name
	}
	im.add(NotCarried, at, name, "this version of Tenks has no %s", key)
}

// write is the cluster file with what the reader should know above it.
func (im *importer) write(cluster object, from string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# The cluster file that %s, of the Ansible tool, becomes.\n", oneLine(from))
	last := Kind("")
	for _, n := range im.sorted() {
		if n.Kind != last {
			fmt.Fprintf(&b, "#\n# %s:\n", strings.ToUpper(string(n.Kind[:1]))+string(n.Kind[1:]))
			last = n.Kind
		}
		fmt.Fprintf(&b, "#   %s\n", oneLine(n.String()))
	}
	b.WriteString("\n")
	return append([]byte(b.String()), marshal(cluster.n)...)
}

// oneLine keeps a comment one, whatever is in it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
}

// verify holds the results against what reads them.
func (im *importer) verify(r *Result) {
	report := func(file string, err error) {
		faults, ok := err.(config.Faults) //nolint:errorlint // it is not wrapped
		if !ok {
			return
		}
		for _, f := range faults {
			im.add(fault, im.origin(f.Key), f.Key, "%s (in the %s that it becomes)", f.Message, file)
		}
	}
	_, err := config.LoadCluster("cluster file", r.Cluster)
	report("cluster file", err)
	for _, h := range r.Hosts {
		_, err := config.LoadAgent("agent.yml", r.Agents[h])
		report("agent.yml of "+h, err)
	}
}

// origin is where the override file has what the cluster file has at a path, or nearly.
func (im *importer) origin(key string) *value {
	at := im.override
	for _, step := range strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next := at.get(step)
		if i, err := strconv.Atoi(step); err == nil && at.kind == list && i < len(at.items) {
			next = at.items[i]
		}
		if next == nil {
			return at
		}
		at = next
	}
	return at
}
