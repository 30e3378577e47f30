package config

import "regexp"

type kind int

const (
	null kind = iota
	scalar
	list
	mapping
)

// node is a value of a file with its place. Aliases and merge keys are resolved.
type node struct {
	up *node
	// name is the key below a mapping, "[i]" below a list, "" for the whole file.
	name string
	// line is where the key stands, or the list item.
	line int
	kind kind
	// tag is the short YAML tag of a scalar, such as "!!int"; text is its text.
	tag, text string
	// items are the values of a list or mapping, in file order.
	items []*node
	// bad is set once there is a fault in it or below.
	bad bool
}

func (n *node) path() string {
	switch {
	case n.up == nil:
		return ""
	case n.up.kind == list:
		return n.up.path() + n.name
	case n.up.up == nil:
		return showKey(n.name)
	}
	return n.up.path() + "." + showKey(n.name)
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// showKey keeps a fault on one line and its key unambiguous, whatever the key.
func showKey(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return quote(key)
}

// get returns the value of a key.
func (n *node) get(key string) (*node, bool) {
	for _, item := range n.items {
		if n.kind == mapping && item.name == key {
			return item, true
		}
	}
	return nil, false
}

// at returns the node at a path of keys (string) and list indexes (int), or the
// nearest one above it that the file has.
func (n *node) at(path ...any) *node {
	for _, step := range path {
		switch step := step.(type) {
		case int:
			if n.kind != list || step >= len(n.items) {
				return n
			}
			n = n.items[step]
		case string:
			next, ok := n.get(step)
			if !ok {
				return n
			}
			n = next
		}
	}
	return n
}

// describe says what a value is, for messages.
func (n *node) describe() string {
	switch {
	case n.kind == null:
		return "nothing"
	case n.kind == list:
		return "a list"
	case n.kind == mapping:
		return "a mapping"
	case n.isText():
		return quote(n.text)
	}
	if n.tag == "!!bool" {
		return showText(n.text)
	}
	return "the number " + showText(n.text)
}

// isText reports whether the value is a text. YAML's dates are texts here.
func (n *node) isText() bool {
	return n.kind == scalar && (n.tag == "!!str" || n.tag == "!!timestamp" || n.tag == "!!merge")
}

var digits = regexp.MustCompile(`^[+-]?[0-9]+$`)

// isWhole reports whether the value is a whole number. YAML calls one of more than
// 64 bits a float.
func (n *node) isWhole() bool {
	return n.kind == scalar && (n.tag == "!!int" || n.tag == "!!float" && digits.MatchString(n.text))
}

var plainText = regexp.MustCompile(`^[!-~]{1,64}$`)

func showText(s string) string {
	if plainText.MatchString(s) {
		return s
	}
	return quote(s)
}
