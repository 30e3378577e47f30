package redfish

import (
	"cmp"
	"strconv"
	"strings"
)

// An expression is a parsed $filter (DSP0266 §7.3.4): either left op right of two
// expressions, a negation, or a comparison of a property with a literal.
type expression struct {
	op          string // and, or, not; eq, ne, gt, ge, lt, le
	left, right *expression
	path        []string
	literal     any // string, float64, bool or nil
}

// maxDepth bounds the nesting of a filter.
const maxDepth = 16

// parseFilter reads a filter.
func parseFilter(s string) (*expression, bool) {
	tokens, ok := filterTokens(s)
	if !ok || len(tokens) == 0 {
		return nil, false
	}
	p := filterParser{tokens: tokens}
	e := p.or(0)
	if e == nil || len(p.tokens) > 0 {
		return nil, false
	}
	return e, true
}

// filterTokens splits into parentheses, quoted strings (with the opening quote) and words.
func filterTokens(s string) ([]string, bool) {
	var out []string
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		n := 1 // a parenthesis
		switch s[0] {
		case '(', ')':
		case '\'':
			text, length, ok := quoted(s)
			if !ok {
				return nil, false
			}
			out, s = append(out, "'"+text), s[length:]
			continue
		default:
			if n = strings.IndexAny(s, " ()'"); n < 0 {
				n = len(s)
			}
		}
		out, s = append(out, s[:n]), s[n:]
	}
	return out, true
}

// quoted reads a string in single quotes; two of them are one.
func quoted(s string) (text string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

// filterParser is a recursive descent over the tokens; nil is a syntax error.
type filterParser struct{ tokens []string }

func (p *filterParser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

func (p *filterParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *filterParser) or(depth int) *expression {
	return p.chain("or", func() *expression {
		return p.chain("and", func() *expression { return p.unary(depth) })
	})
}

// chain reads operands that are joined by one operator.
func (p *filterParser) chain(op string, operand func() *expression) *expression {
	left := operand()
	for left != nil && p.peek() == op {
		p.next()
		right := operand()
		if right == nil {
			return nil
		}
		left = &expression{op: op, left: left, right: right}
	}
	return left
}

func (p *filterParser) unary(depth int) *expression {
	if depth > maxDepth {
		return nil
	}
	switch p.peek() {
	case "not":
		p.next()
		inner := p.unary(depth + 1)
		if inner == nil {
			return nil
		}
		return &expression{op: "not", left: inner}
	case "(":
		p.next()
		inner := p.or(depth + 1)
		if inner == nil || p.next() != ")" {
			return nil
		}
		return inner
	}
	return p.comparison()
}

func (p *filterParser) comparison() *expression {
	path, op, literal := p.next(), p.next(), p.next()
	if path == "" || strings.ContainsAny(path[:1], "'()") {
		return nil
	}
	switch op {
	case "eq", "ne", "gt", "ge", "lt", "le":
	default:
		return nil
	}
	e := &expression{op: op, path: strings.Split(path, "/")}
	switch {
	case literal == "":
		return nil
	case literal[0] == '\'':
		e.literal = literal[1:]
	case literal == "true" || literal == "false":
		e.literal = literal == "true"
	case literal == "null":
	default:
		n, err := strconv.ParseFloat(literal, 64)
		if err != nil {
			return nil
		}
		e.literal = n
	}
	return e
}

// holds evaluates the filter for a resource.
func (e *expression) holds(o Object) bool {
	switch e.op {
	case "and":
		return e.left.holds(o) && e.right.holds(o)
	case "or":
		return e.left.holds(o) || e.right.holds(o)
	case "not":
		return !e.left.holds(o)
	}
	order, known := compare(lookUp(o, e.path), e.literal)
	equal := known && order == 0
	more := known && order > 0 && ordered(e.literal)
	less := known && order < 0 && ordered(e.literal)
	return map[string]bool{"eq": equal, "ne": !equal, "ge": equal || more, "gt": more, "le": equal || less, "lt": less}[e.op]
}

// ordered says whether there is less and more for a literal.
func ordered(literal any) bool {
	switch literal.(type) {
	case string, float64:
		return true
	}
	return false
}

// lookUp finds the value at a path, also in what another peer sent.
func lookUp(v any, path []string) any {
	for _, name := range path {
		switch o := v.(type) {
		case Object:
			v, _ = o.Get(name)
		case map[string]any:
			v = o[name]
		default:
			return nil
		}
	}
	return v
}

// compare orders a value and a literal of the same type; booleans and null are only
// equal or not.
func compare(v, literal any) (order int, known bool) {
	switch l := literal.(type) {
	case nil:
		if v == nil {
			return 0, true
		}
		return 1, true
	case bool:
		b, ok := v.(bool)
		if b == l {
			return 0, ok
		}
		return 1, ok
	case string:
		s, ok := v.(string)
		return cmp.Compare(s, l), ok
	case float64:
		n, ok := numeric(v)
		return cmp.Compare(n, l), ok
	}
	return 0, false
}

func numeric(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}
