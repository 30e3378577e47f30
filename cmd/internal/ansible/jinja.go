package ansible

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The few forms of Jinja that override files and inventories use are understood: the name
// of another variable, with keys (a.b, a['b']), literals, and the filters below. All else
// is said to be not understood, with its line.

// maxNesting bounds variables that are made of variables.
const maxNesting = 16

var expression = regexp.MustCompile(`\{\{-?\s*(.*?)\s*-?\}\}`)

func isTemplate(s string) bool { return strings.Contains(s, "{{") || strings.Contains(s, "{%") }

// scope looks variables up.
type scope interface {
	// lookup returns a variable as it is written; nil: there is none.
	lookup(name string) *value
}

// Bounds of one value's expressions.
const (
	maxExpressions = 10_000
	maxRendered    = 1 << 20
)

// renderer replaces the expressions of one value.
type renderer struct {
	in scope
	// left is how many more expressions may be looked at.
	left int
}

// render returns a value with its expressions, at any depth, replaced. The error says
// which expression is not understood.
func render(v *value, in scope) (*value, error) {
	return (&renderer{in: in, left: maxExpressions}).deep(v, 0)
}

func (r *renderer) deep(v *value, depth int) (*value, error) {
	switch {
	case v == nil:
		return nil, nil //nolint:nilnil // nothing renders to nothing
	case depth > maxNesting:
		return nil, fmt.Errorf("%.80q: variables refer to each other in a circle", v.text)
	case v.kind == scalar && (v.tag == "!unsafe" || !isTemplate(v.text)):
		return v, nil
	case v.kind == scalar:
		return r.text(v, depth)
	}
	if len(v.items) == 0 {
		return v, nil
	}
	c := *v
	c.items = make([]*value, len(v.items))
	for i, item := range v.items {
		one, err := r.deep(item, depth)
		if err != nil {
			return nil, err
		}
		c.items[i] = one
	}
	return &c, nil
}

func (r *renderer) text(v *value, depth int) (*value, error) {
	text := strings.TrimSpace(v.text)
	all := expression.FindAllStringSubmatchIndex(text, -1)
	if strings.Contains(text, "{%") || len(all) == 0 {
		return nil, notUnderstood(text)
	}
	if len(all) == 1 && all[0][0] == 0 && all[0][1] == len(text) {
		one, err := r.evaluate(text[all[0][2]:all[0][3]], depth)
		if err != nil {
			return nil, err
		}
		return one.at(v), nil
	}
	var b strings.Builder
	last := 0
	for _, m := range all {
		one, err := r.evaluate(text[m[2]:m[3]], depth)
		if err != nil {
			return nil, err
		}
		if one.kind == list || one.kind == mapping {
			return nil, fmt.Errorf("the Jinja expression %.80q within a text is %s", text[m[0]:m[1]], one.describe())
		}
		b.WriteString(text[last:m[0]] + one.text)
		if last = m[1]; b.Len() > maxRendered {
			return nil, fmt.Errorf("%.80q becomes longer than %d bytes", text, maxRendered)
		}
	}
	b.WriteString(text[last:])
	if strings.Contains(b.String(), "{{") {
		return nil, notUnderstood(text)
	}
	return textValue(b.String()).at(v), nil
}

var (
	nameToken    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)
	numberToken  = regexp.MustCompile(`^-?[0-9]+`)
	stringToken  = regexp.MustCompile(`^'([^'\\]*)'|^"([^"\\]*)"`)
	indexToken   = regexp.MustCompile(`^\[\s*(?:'([^'\\]*)'|"([^"\\]*)"|([0-9]+))\s*\]|^\.([A-Za-z_][A-Za-z0-9_]*)`)
	filterToken  = regexp.MustCompile(`^\s*\|\s*([a-z_]+)`)
	booleanTexts = map[string]string{"true": "true", "True": "true", "false": "false", "False": "false"}
)

// parser reads one expression.
type parser struct {
	all, rest string
	r         *renderer
	depth     int
}

func notUnderstood(text string) error {
	return fmt.Errorf("the Jinja expression %.80q is not understood: put the value itself here", text)
}

func (p *parser) unknown() error { return notUnderstood("{{ " + p.all + " }}") }

// evaluate returns what an expression is. A variable that there is not is an error, unless
// a default follows.
func (r *renderer) evaluate(text string, depth int) (*value, error) {
	if r.left--; r.left < 0 {
		return nil, fmt.Errorf("more than %d Jinja expressions behind one value", maxExpressions)
	}
	p := &parser{all: text, rest: text, r: r, depth: depth}
	v, err := p.filtered()
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.rest) != "" {
		return nil, p.unknown()
	}
	if v == nil {
		return nil, fmt.Errorf("the Jinja expression %.80q is a variable that none of the files has: put the value itself here", "{{ "+text+" }}")
	}
	return v, nil
}

// filtered is a primary and the filters behind it; nil: a variable that there is not.
func (p *parser) filtered() (*value, error) {
	v, err := p.primary()
	for err == nil {
		m := filterToken.FindStringSubmatch(p.rest)
		if m == nil {
			return v, nil
		}
		p.rest = p.rest[len(m[0]):]
		v, err = p.filter(m[1], v)
	}
	return nil, err
}

// filters are those without arguments.
var filters = map[string]bool{"string": true, "trim": true, "lower": true, "upper": true, "int": true, "bool": true}

func (p *parser) filter(name string, v *value) (*value, error) {
	args, err := p.arguments()
	switch {
	case err != nil:
		return nil, err
	case name == "default" || name == "d":
		return p.orDefault(v, args)
	case !filters[name]:
		return nil, p.unknown()
	case v == nil:
		return nil, nil //nolint:nilnil // a later default may still give it a value
	case len(args) > 0 || v.kind != scalar:
		return nil, p.unknown()
	}
	switch name {
	case "string", "trim":
		return textValue(strings.TrimSpace(v.text)), nil
	case "lower":
		return textValue(strings.ToLower(v.text)), nil
	case "upper":
		return textValue(strings.ToUpper(v.text)), nil
	case "int":
		n, err := strconv.ParseInt(strings.TrimSpace(v.text), 10, 64)
		if err != nil {
			n = 0 // as Jinja does
		}
		return &value{kind: scalar, tag: "!!int", text: strconv.FormatInt(n, 10)}, nil
	case "bool":
		return &value{kind: scalar, tag: "!!bool", text: strconv.FormatBool(truth(v.text))}, nil
	}
	return nil, p.unknown()
}

// orDefault is the first argument where there is no value, or, with a second one, where it
// is as good as none.
func (p *parser) orDefault(v *value, args []*value) (*value, error) {
	if len(args) < 1 || len(args) > 2 {
		return nil, p.unknown()
	}
	if v == nil || len(args) == 2 && v.falsy() {
		return args[0], nil
	}
	return v, nil
}

func (v *value) falsy() bool {
	return v.kind == null || v.text == "" && len(v.items) == 0 || v.text == "false" || v.text == "0"
}

// arguments are the values in parentheses behind a filter's name, if there are any.
func (p *parser) arguments() ([]*value, error) {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.rest, " "), "(")
	if !ok {
		return nil, nil
	}
	p.rest = rest
	var out []*value
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		if rest, ok := strings.CutPrefix(p.rest, ")"); ok {
			p.rest = rest
			return out, nil
		}
		if len(out) > 0 {
			if p.rest, ok = strings.CutPrefix(p.rest, ","); !ok {
				return nil, p.unknown()
			}
		}
		v, err := p.filtered()
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, p.unknown()
		}
		out = append(out, v)
	}
}

// primary is a literal or a variable with keys; nil: there is no such variable.
func (p *parser) primary() (*value, error) {
	p.rest = strings.TrimLeft(p.rest, " ")
	if m := stringToken.FindStringSubmatch(p.rest); m != nil {
		p.rest = p.rest[len(m[0]):]
		return textValue(m[1] + m[2]), nil
	}
	if n := numberToken.FindString(p.rest); n != "" {
		p.rest = p.rest[len(n):]
		return &value{kind: scalar, tag: "!!int", text: n}, nil
	}
	name := nameToken.FindString(p.rest)
	if name == "" {
		return nil, p.unknown()
	}
	p.rest = p.rest[len(name):]
	if b, ok := booleanTexts[name]; ok {
		return &value{kind: scalar, tag: "!!bool", text: b}, nil
	}
	v, err := p.r.deep(p.r.in.lookup(name), p.depth+1)
	if err != nil {
		return nil, err
	}
	for {
		m := indexToken.FindStringSubmatch(p.rest)
		if m == nil {
			break
		}
		p.rest = p.rest[len(m[0]):]
		if v = step(v, m); v == nil && name == "hostvars" {
			return nil, p.unknown()
		}
	}
	if strings.HasPrefix(p.rest, "(") {
		return nil, p.unknown()
	}
	return v, nil
}

// step follows one key or index; nil: there is nothing there.
func step(v *value, m []string) *value {
	if m[3] == "" {
		return v.get(m[1] + m[2] + m[4])
	}
	i, err := strconv.Atoi(m[3])
	if v == nil || v.kind != list || err != nil || i >= len(v.items) {
		return nil
	}
	return v.items[i]
}

// truth is what Ansible takes a text for.
func truth(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1", "y", "t":
		return true
	}
	return false
}
