package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file. The real ones stay far below; they keep a hostile one from
// eating the memory of the agent that is asked to apply it.
const (
	maxFileBytes = 4 << 20
	maxValues    = 200_000
	maxDepth     = 64
)

// parse reads the one YAML document of a file. It returns nil after a fault that
// leaves nothing to go on with. An empty file is a node of kind null.
func (r *reader) parse(data []byte) *node {
	if len(data) > maxFileBytes {
		r.add(1, "", "the file has %d bytes: at most %d are read", len(data), maxFileBytes)
		return nil
	}
	r.last = countLines(data)
	lines := &lineReader{data: data}
	dec := yaml.NewDecoder(lines)
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return &node{line: 1}
	}
	if err != nil {
		r.syntax(data, lines.count, err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		r.add(second.Line, "", "a second document begins here: a file holds one")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntax(data, lines.count, err)
		return nil
	}
	x := expander{reader: r}
	root := x.expand(doc.Content[0], nil, "", doc.Content[0].Line)
	if x.stopped {
		return nil
	}
	return root
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

func (r *reader) syntax(data []byte, read int, err error) {
	line := syntaxLine(data, read)
	hint := ""
	if text := bytes.TrimLeft(lineOf(data, line), " "); bytes.HasPrefix(text, []byte("\t")) {
		hint = " (indent with spaces, not tabs)"
	}
	r.add(line, "", "not YAML: %s%s", yamlPrefix.ReplaceAllString(err.Error(), ""), hint)
}

// syntaxLine finds the line of a syntax error. The YAML library's own is that of
// the block around it, give or take one, or missing. The error lies in the lines
// that the parser has read; taking the last ones away until the rest parses tells
// which one it was.
func syntaxLine(data []byte, read int) int {
	const most, budget = 50, 16 << 20
	line, work := max(read, 1), 0
	for ; line > 1 && line > read-most; line-- {
		rest := data[:offsetOf(data, line-1)]
		if work += len(rest); work > budget {
			break
		}
		var n yaml.Node
		if err := yaml.NewDecoder(bytes.NewReader(rest)).Decode(&n); err == nil || errors.Is(err, io.EOF) {
			break
		}
	}
	return line
}

// offsetOf returns where the first n lines end.
func offsetOf(data []byte, n int) int {
	end := 0
	for ; n > 0; n-- {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			return len(data)
		}
		end += i + 1
	}
	return end
}

var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// countLines counts lines as YAML does (YAML 1.1 §5.4).
func countLines(data []byte) int {
	n := len(lineBreak.FindAllIndex(data, -1))
	if n > 0 && data[len(data)-1] == '\n' {
		return n
	}
	return n + 1
}

func lineOf(data []byte, line int) []byte {
	return data[offsetOf(data, line-1):offsetOf(data, line)]
}

// lineReader hands out a line at a time and counts them, which tells how far the
// parser got.
type lineReader struct {
	data  []byte
	count int
}

func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.data) == 0 {
		return 0, io.EOF
	}
	end := offsetOf(l.data, 1)
	n := copy(p, l.data[:end])
	if n == end {
		l.count++
	}
	l.data = l.data[n:]
	return n, nil
}

// expander turns YAML nodes into nodes.
type expander struct {
	*reader
	values, depth int
	// stopped is set when a bound was hit: what was made so far is useless.
	stopped bool
}

func (x *expander) expand(y *yaml.Node, up *node, name string, line int) *node {
	n := &node{up: up, name: name, line: line}
	x.values++
	x.depth++
	defer func() { x.depth-- }()
	switch {
	case x.stopped:
		return n
	case x.values > maxValues:
		return x.stop(n, fmt.Sprintf("more than %d values, counting aliased ones each time", maxValues))
	case x.depth > maxDepth:
		return x.stop(n, fmt.Sprintf("more than %d levels deep", maxDepth))
	}
	switch y.Kind {
	case yaml.AliasNode:
		return x.expand(y.Alias, up, name, line)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, x.expand(item, n, fmt.Sprintf("[%d]", i), item.Line))
		}
	case yaml.MappingNode:
		n.kind = mapping
		x.mapping(y, n)
	case yaml.ScalarNode:
		x.scalar(y, n)
	}
	return n
}

// stop reports a bound that was hit, at the key of the top level that is too much.
func (x *expander) stop(n *node, message string) *node {
	x.stopped = true
	top := n
	for top.up != nil && top.up.up != nil {
		top = top.up
	}
	x.fault(top, "%s", message)
	return n
}

func (x *expander) scalar(y *yaml.Node, n *node) {
	n.tag, n.text = y.ShortTag(), y.Value
	switch n.tag {
	case "!!null":
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
		n.kind = scalar
	default:
		n.kind = scalar
		n.tag = "!!str"
		x.fault(n, "YAML tag %s is not known here", quote(y.ShortTag()))
	}
}

func (x *expander) mapping(y *yaml.Node, n *node) {
	seen := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null" {
			x.add(key.Line, n.path(), "a key must be a text")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		item := x.expand(value, n, key.Value, y.Content[i].Line)
		if first, twice := seen[key.Value]; twice {
			x.fault(item, "given twice: first in line %d", first)
			continue
		}
		seen[key.Value] = item.line
		n.items = append(n.items, item)
	}
	for _, value := range merged {
		x.merge(x.expand(value, n, "<<", value.Line), n, seen)
	}
}

// merge adds what n does not have itself from the mapping, or list of mappings,
// below a "<<" key.
func (x *expander) merge(from, n *node, seen map[string]int) {
	if from.kind == list {
		for _, item := range from.items {
			x.merge(item, n, seen)
		}
		return
	}
	if from.kind != mapping {
		x.fault(from, "want a mapping to merge, found %s", from.describe())
		return
	}
	for _, item := range from.items {
		if _, have := seen[item.name]; have {
			continue
		}
		seen[item.name] = item.line
		item.up = n
		n.items = append(n.items, item)
	}
}
