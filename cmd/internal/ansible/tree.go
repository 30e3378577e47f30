package ansible

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file: far above what anybody writes, and below what a hostile one needs.
const (
	maxBytes  = 8 << 20
	maxValues = 200_000
	maxDepth  = 64
)

type kind int

const (
	null kind = iota
	scalar
	list
	mapping
)

// value is a value of a YAML file with its place; aliases and merge keys are resolved.
type value struct {
	file string
	// line is that of the key, or of the list's item.
	line int
	// name is the key below a mapping.
	name string
	kind kind
	// tag is the short YAML tag of a scalar, such as "!!int"; text is its text.
	tag, text string
	items     []*value
}

func textValue(s string) *value { return &value{kind: scalar, tag: "!!str", text: s} }

// get returns the value of a key; nil: there is none.
func (v *value) get(key string) *value {
	if v == nil || v.kind != mapping {
		return nil
	}
	for i := len(v.items) - 1; i >= 0; i-- { // the last of two counts, as in Ansible
		if v.items[i].name == key {
			return v.items[i]
		}
	}
	return nil
}

// at returns v with the place and name of another.
func (v *value) at(o *value) *value {
	c := *v
	c.file, c.line, c.name = o.file, o.line, o.name
	return &c
}

func (v *value) describe() string {
	switch v.kind {
	case null:
		return "nothing"
	case list:
		return "a list"
	case mapping:
		return "a mapping"
	}
	return fmt.Sprintf("%.64q", v.text)
}

// equal reports whether two values say the same, wherever they stand.
func (v *value) equal(o *value) bool {
	if v == nil || o == nil {
		return (v == nil || v.kind == null) && (o == nil || o.kind == null)
	}
	if v.kind != o.kind || v.text != o.text || len(v.items) != len(o.items) {
		return false
	}
	for i, item := range v.items {
		other := o.items[i]
		if v.kind == mapping {
			if other = o.get(item.name); other == nil {
				return false
			}
		}
		if !item.equal(other) {
			return false
		}
	}
	return true
}

// parse reads the YAML document of a file; nil: it cannot be read.
func (im *importer) parse(f File) *value {
	root := &value{file: f.Name, line: 1}
	if len(f.Data) > maxBytes {
		im.add(fault, root, "", "the file has %d bytes: at most %d are read", len(f.Data), maxBytes)
		return nil
	}
	var doc, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(f.Data))
	err := documents.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return root
	}
	if err == nil {
		if err = documents.Decode(&second); err == nil {
			root.line = second.Line
			im.add(fault, root, "", "a second document begins here: Ansible reads files of one")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		at, text := yamlError(err)
		root.line = at
		im.add(fault, root, "", "not YAML: %s", text)
		return nil
	}
	x := expander{im: im, file: f.Name}
	out := x.expand(doc.Content[0], "", doc.Content[0].Line)
	if x.stopped != "" {
		im.add(fault, root, "", "%s", x.stopped)
		return nil
	}
	return out
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func yamlError(err error) (line int, text string) {
	text = err.Error()
	m := yamlLine.FindStringSubmatch(text)
	line = 1
	if m[1] != "" {
		_, _ = fmt.Sscan(m[1], &line) // digits by the pattern
	}
	return line, strings.ReplaceAll(text[len(m[0]):], "\n", " ")
}

// expander turns YAML nodes into values.
type expander struct {
	im            *importer
	file          string
	values, depth int
	// stopped says which bound was hit.
	stopped string
}

func (x *expander) expand(y *yaml.Node, name string, line int) *value {
	v := &value{file: x.file, line: line, name: name}
	x.values++
	x.depth++
	defer func() { x.depth-- }()
	switch {
	case x.stopped != "":
		return v
	case x.values > maxValues:
		x.stopped = fmt.Sprintf("more than %d values, counting aliased ones each time", maxValues)
		return v
	case x.depth > maxDepth:
		x.stopped = fmt.Sprintf("more than %d levels deep", maxDepth)
		return v
	}
	switch y.Kind {
	case yaml.AliasNode:
		return x.expand(y.Alias, name, line)
	case yaml.SequenceNode:
		v.kind = list
		for _, item := range y.Content {
			v.items = append(v.items, x.expand(item, "", item.Line))
		}
	case yaml.MappingNode:
		v.kind = mapping
		x.mapping(y, v)
	case yaml.ScalarNode:
		x.scalar(y, v)
	}
	return v
}

func (x *expander) scalar(y *yaml.Node, v *value) {
	v.tag, v.text = y.ShortTag(), y.Value
	switch v.tag {
	case "!!null":
		return
	case "!vault":
		x.im.add(fault, v, v.name, "is encrypted: decrypt it with ansible-vault first, or put a value here")
	case "!!str", "!!int", "!!float", "!!bool", "!unsafe":
	default:
		v.tag = "!!str"
	}
	v.kind = scalar
}

func (x *expander) mapping(y *yaml.Node, v *value) {
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, item := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			x.im.add(fault, &value{file: x.file, line: key.Line}, v.name, "a key must be a text")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, item)
			continue
		}
		if own[key.Value] {
			x.im.add(Warning, &value{file: x.file, line: key.Line}, key.Value, "given twice: the last one counts, as in Ansible")
		}
		own[key.Value] = true
		v.items = append(v.items, x.expand(item, key.Value, y.Content[i].Line))
	}
	for _, item := range merged {
		x.merge(x.expand(item, "<<", item.Line), v, own)
	}
}

// merge adds what v does not have itself from a mapping, or a list of them.
func (x *expander) merge(from, v *value, own map[string]bool) {
	if from.kind == list {
		for _, item := range from.items {
			x.merge(item, v, own)
		}
		return
	}
	for _, item := range from.items {
		if !own[item.name] {
			own[item.name] = true
			v.items = append(v.items, item)
		}
	}
}
