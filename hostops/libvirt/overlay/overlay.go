// Package overlay merges a fragment of libvirt's domain XML over a domain: what an operator
// wants of a node beyond what Tenks has words for. It is pure: it reads and returns texts, and
// starts nothing.
package overlay

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of a document.
const (
	maxDepth    = 32
	maxElements = 10_000
)

// element is an XML element. Names have their prefix, as they are written.
type element struct {
	name     string
	attrs    []attr
	children []*element
	text     string
}

type attr struct{ name, value string }

func (e *element) attr(name string) (string, bool) {
	for _, a := range e.attrs {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// find follows names of children from e.
func (e *element) find(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		e = e.child(name)
	}
	return e
}

// findAll is find for all that there are: an element may be given twice.
func (e *element) findAll(path ...string) []*element {
	all := []*element{e}
	for _, name := range path {
		var next []*element
		for _, one := range all {
			for _, c := range one.children {
				if c.name == name {
					next = append(next, c)
				}
			}
		}
		all = next
	}
	return all
}

// parse reads a document whose root is <domain>.
func parse(text string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	var p parser
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return p.end()
		}
		if err == nil {
			err = p.take(t)
		}
		if err != nil {
			return nil, err
		}
	}
}

// parser is a document that is being read.
type parser struct {
	root *element
	// open are the elements that have not ended, the innermost last.
	open  []*element
	count int
}

func (p *parser) take(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		return p.start(t)
	case xml.EndElement:
		if len(p.open) == 0 || p.open[len(p.open)-1].name != nameOf(t.Name) {
			return fmt.Errorf("</%s> ends what does not begin", nameOf(t.Name))
		}
		p.open = p.open[:len(p.open)-1]
	case xml.CharData:
		if len(p.open) > 0 {
			p.open[len(p.open)-1].text += string(t)
		} else if strings.TrimSpace(string(t)) != "" {
			return errors.New("text outside of the root")
		}
	case xml.Directive:
		return errors.New("a document type is not taken")
	}
	return nil
}

func (p *parser) start(t xml.StartElement) error {
	e, err := begin(t)
	if err != nil {
		return err
	}
	if p.count++; p.count > maxElements || len(p.open) >= maxDepth {
		return fmt.Errorf("too large: at most %d elements, %d deep", maxElements, maxDepth)
	}
	switch {
	case len(p.open) > 0:
		up := p.open[len(p.open)-1]
		up.children = append(up.children, e)
	case p.root != nil:
		return errors.New("there are two roots")
	default:
		p.root = e
	}
	p.open = append(p.open, e)
	return nil
}

func (p *parser) end() (*element, error) {
	switch {
	case p.root == nil:
		return nil, errors.New("no element")
	case len(p.open) > 0:
		return nil, fmt.Errorf("<%s> does not end", p.open[len(p.open)-1].name)
	case p.root.name != "domain":
		return nil, fmt.Errorf("the root is <%s>, want <domain>", p.root.name)
	}
	return p.root, nil
}

func begin(t xml.StartElement) (*element, error) {
	e := &element{name: nameOf(t.Name)}
	for _, a := range t.Attr {
		name := nameOf(a.Name)
		if _, twice := e.attr(name); twice {
			return nil, fmt.Errorf("<%s> has %s twice", e.name, name)
		}
		e.attrs = append(e.attrs, attr{name, a.Value})
	}
	return e, nil
}

func nameOf(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// String writes the element and what is in it.
func (e *element) String() string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e *element) write(b *strings.Builder) {
	b.WriteString("<" + e.name)
	for _, a := range e.attrs {
		b.WriteString(" " + a.name + `="`)
		_ = xml.EscapeText(b, []byte(a.value)) // a Builder takes everything
		b.WriteString(`"`)
	}
	text := e.text
	if len(e.children) > 0 {
		text = strings.TrimSpace(text) // what is between elements is for people
	}
	if text == "" && len(e.children) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">")
	_ = xml.EscapeText(b, []byte(text))
	for _, c := range e.children {
		c.write(b)
	}
	b.WriteString("</" + e.name + ">")
}

// Check says what is wrong with an overlay by itself; nil: nothing. What it does to a certain
// domain Merge says.
func Check(text string) error {
	root, err := parse(text)
	if err != nil {
		return fmt.Errorf("xml_overlay: %w", err)
	}
	return checkOwned(root)
}

// Merge returns a domain with an overlay over it.
func Merge(domain, text string) (string, error) {
	if err := Check(text); err != nil {
		return "", err
	}
	over, err := parse(text)
	if err != nil {
		return "", fmt.Errorf("xml_overlay: %w", err)
	}
	base, err := parse(domain)
	if err != nil {
		return "", fmt.Errorf("domain XML: %w", err)
	}
	if err := merge(base, over, "domain"); err != nil {
		return "", fmt.Errorf("xml_overlay: %w", err)
	}
	return base.String(), nil
}

// Lost says which elements and attributes of an overlay are not in a domain any longer, after
// it was read and written by who knows a part of XML only.
func Lost(domain, text string) ([]string, error) {
	over, err := parse(text)
	if err != nil {
		return nil, err
	}
	have, err := parse(domain)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	have.paths("", func(path string) { there[path] = true })
	var lost []string
	over.paths("", func(path string) {
		if !there[path] && !slices.Contains(lost, path) {
			lost = append(lost, path)
		}
	})
	return lost, nil
}

// paths calls on with the path of each element and attribute. Namespaces are left out: who
// writes anew may choose other prefixes.
func (e *element) paths(up string, on func(path string)) {
	path := up + "/" + plain(e.name)
	on(path)
	for _, a := range e.attrs {
		if a.name != "xmlns" && !strings.HasPrefix(a.name, "xmlns:") {
			on(path + "/@" + plain(a.name))
		}
	}
	for _, c := range e.children {
		c.paths(path, on)
	}
}

func plain(name string) string {
	if _, local, ok := strings.Cut(name, ":"); ok {
		return local
	}
	return name
}
