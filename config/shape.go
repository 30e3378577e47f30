package config

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A shape is one rule of a file's grammar in two forms that cannot drift apart:
// how a value is read, and how JSON Schema says the same.
type shape[T any] struct {
	// read returns the value, and whether it is of use: if not, it has added the
	// faults that say why.
	read   func(*reader, *node) (T, bool)
	schema schema
}

// schema is a JSON Schema.
type schema map[string]any

// with returns the schema and more keywords.
func (s schema) with(more schema) schema {
	out := maps.Clone(s)
	maps.Copy(out, more)
	return out
}

// pattern is what a text must look like.
type pattern struct {
	re *regexp.Regexp
	// most is the greatest length, in characters.
	most int
	// want describes the pattern: "want …".
	want string
	// quiet: a URL, whose login or query is not shown.
	quiet bool
}

func (p pattern) schema() schema {
	return schema{"type": "string", "pattern": p.re.String(), "maxLength": p.most}
}

// refuse says what is wrong with a text; "" if nothing is.
func (p pattern) refuse(s string) string {
	switch {
	case utf8.RuneCountInString(s) > p.most:
		return "too long: " + strconv.Itoa(utf8.RuneCountInString(s)) + " characters, at most " + strconv.Itoa(p.most)
	case p.re.MatchString(s):
		return ""
	case p.quiet && strings.ContainsAny(s, "@?"):
		return "want " + p.want
	}
	return "want " + p.want + ", found " + quote(s)
}

func text(p pattern) shape[string] {
	return checked(p.schema(), func(s string) (string, string) { return s, p.refuse(s) }, p.want, ": put it in quotes")
}

// also adds a rule that a pattern cannot express; it returns the fault, or "".
func also(s shape[string], rule func(string) string) shape[string] {
	read := s.read
	s.read = func(r *reader, n *node) (string, bool) {
		v, ok := read(r, n)
		if !ok {
			return "", false
		}
		if fault := rule(v); fault != "" {
			r.fault(n, "%s", fault)
			return "", false
		}
		return v, true
	}
	return s
}

// checked reads a text with a function that returns the value and what is wrong
// with it, or "". What is no text is told what was wanted; a scalar gets the hint.
func checked[T any](s schema, parse func(string) (T, string), want, hint string) shape[T] {
	read := func(r *reader, n *node) (T, bool) {
		var zero T
		if !n.isText() {
			found := n.describe()
			if n.kind == scalar {
				found += hint
			}
			r.fault(n, "want %s, found %s", want, found)
			return zero, false
		}
		v, fault := parse(n.text)
		if fault != "" {
			r.fault(n, "%s", fault)
			return zero, false
		}
		return v, true
	}
	return shape[T]{read, s}
}

// choice is one of some words. Those in later, with what to do instead, are known
// but not supported in this version.
func choice(words []string, later map[string]string) shape[string] {
	want := strings.Join(words, " or ")
	return checked(schema{"type": "string", "enum": words}, func(s string) (string, string) {
		if instead, ok := later[s]; ok {
			return "", quote(s) + " is not supported yet: use " + instead
		}
		if !slices.Contains(words, s) {
			return "", "want " + want + ", found " + quote(s)
		}
		return s, ""
	}, want, "")
}

// anyText takes texts, numbers and booleans, as they are written in the file.
func anyText(p pattern) shape[string] {
	read := func(r *reader, n *node) (string, bool) {
		if n.kind != scalar {
			r.fault(n, "want %s, found %s", p.want, n.describe())
			return "", false
		}
		if fault := p.refuse(n.text); fault != "" {
			r.fault(n, "%s", fault)
			return "", false
		}
		return n.text, true
	}
	return shape[string]{read, p.schema().with(schema{"type": []string{"string", "number", "boolean"}})}
}

// whole is a whole number from least to most.
func whole[T int | uint64](least, most int64) shape[T] {
	read := func(r *reader, n *node) (T, bool) {
		if !n.isWhole() {
			r.fault(n, "want a whole number, found %s", n.describe())
			return 0, false
		}
		v, err := strconv.ParseInt(n.text, 0, 64)
		if err != nil && strings.HasPrefix(n.text, "-") {
			v = math.MinInt64
		} else if err != nil {
			v = math.MaxInt64
		}
		if v < least || v > most {
			r.fault(n, "want %d to %d, found %s", least, most, showText(n.text))
			return 0, false
		}
		return T(v), true
	}
	return shape[T]{read, schema{"type": "integer", "minimum": least, "maximum": most}}
}

// flag is true or false.
func flag() shape[bool] {
	read := func(r *reader, n *node) (value, ok bool) {
		v, err := strconv.ParseBool(n.text)
		if n.kind != scalar || n.tag != "!!bool" || err != nil {
			r.fault(n, "want true or false, found %s", n.describe())
			return false, false
		}
		return v, true
	}
	return shape[bool]{read, schema{"type": "boolean"}}
}

// number is a number from least to most.
func number(least, most float64) shape[float64] {
	read := func(r *reader, n *node) (float64, bool) {
		if n.kind != scalar || n.tag != "!!int" && n.tag != "!!float" {
			r.fault(n, "want a number, found %s", n.describe())
			return 0, false
		}
		v, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
		if err != nil || !(v >= least && v <= most) {
			r.fault(n, "want %v to %v, found %s", least, most, showText(n.text))
			return 0, false
		}
		return v, true
	}
	return shape[float64]{read, schema{"type": "number", "minimum": least, "maximum": most}}
}

// listOf is a list of at most some items. What is read of a faulty list has the
// same length and order, with zero values for the items that are useless.
func listOf[T any](most int, item shape[T]) shape[[]T] {
	read := func(r *reader, n *node) ([]T, bool) {
		if n.kind != list {
			r.fault(n, "want a list, found %s", n.describe())
			return nil, false
		}
		if len(n.items) > most {
			r.fault(n, "%d items: at most %d", len(n.items), most)
			return nil, false
		}
		out := make([]T, len(n.items))
		for i, at := range n.items {
			out[i], _ = item.read(r, at)
		}
		return out, true
	}
	return shape[[]T]{read, schema{"type": "array", "maxItems": most, "items": item.schema}}
}

// distinct refuses items that occur twice.
func distinct(s shape[[]string]) shape[[]string] {
	read := func(r *reader, n *node) ([]string, bool) {
		v, ok := s.read(r, n)
		for i, item := range v {
			if first := slices.Index(v, item); item != "" && first < i {
				r.fault(n.items[i], "%s is in the list already: line %d", quote(item), n.items[first].line)
			}
		}
		return v, ok
	}
	return shape[[]string]{read, s.schema.with(schema{"uniqueItems": true})}
}

// mapOf is a mapping of at most some keys of the reader's own choice. A faulty
// value is left as the zero value, so that the key is known all the same.
func mapOf[T any](most int, key pattern, value shape[T]) shape[map[string]T] {
	read := func(r *reader, n *node) (map[string]T, bool) {
		if n.kind != mapping {
			r.fault(n, "want a mapping, found %s", n.describe())
			return nil, false
		}
		if len(n.items) > most {
			r.fault(n, "%d keys: at most %d", len(n.items), most)
			return nil, false
		}
		out := make(map[string]T, len(n.items))
		for _, item := range n.items {
			if fault := key.refuse(item.name); fault != "" {
				r.fault(item, "the key: %s", fault)
			}
			out[item.name], _ = value.read(r, item)
		}
		return out, true
	}
	names := schema{"pattern": key.re.String(), "maxLength": key.most}
	return shape[map[string]T]{read, schema{
		"type": "object", "maxProperties": most, "propertyNames": names, "additionalProperties": value.schema,
	}}
}

// saying adds keywords to the schema, for rules that are checked elsewhere.
func (s shape[T]) saying(more schema) shape[T] {
	s.schema = s.schema.with(more)
	return s
}
