package config

import (
	"reflect"
	"slices"
	"strings"
)

// A field is a key of an object.
type field[T any] struct {
	key, doc string
	required bool
	read     func(r *reader, n *node, into *T)
	// show returns the field's value in a T, for the schema's default.
	show   func(T) any
	schema schema
}

// opt is a key that may be absent, with the place of its value in T.
func opt[T, F any](key, doc string, at func(*T) *F, s shape[F]) field[T] {
	read := func(r *reader, n *node, into *T) {
		if v, ok := s.read(r, n); ok {
			*at(into) = v
		}
	}
	return field[T]{key: key, doc: doc, read: read, schema: s.schema, show: func(t T) any { return *at(&t) }}
}

// req is a key that must be there.
func req[T, F any](key, doc string, at func(*T) *F, s shape[F]) field[T] {
	f := opt(key, doc, at, s)
	f.required = true
	return f
}

// entry is a key whose value goes under the same or another name into a map.
func entry[V any](key, name, doc string, s shape[V]) field[map[string]V] {
	read := func(r *reader, n *node, into *map[string]V) {
		if v, ok := s.read(r, n); ok {
			(*into)[name] = v
		}
	}
	return field[map[string]V]{key: key, doc: doc, read: read, schema: s.schema}
}

// later is a key that this version knows and refuses.
func later[T any](key string) field[T] {
	return field[T]{
		key: key, doc: "Not supported yet.", schema: schema{"not": schema{}},
		read: func(r *reader, n *node, _ *T) { r.fault(n, "is not supported yet") },
	}
}

// object is a mapping with these keys and no others, read over base(). It is of use
// even when some of its keys are not.
func object[T any](base func() T, fields ...field[T]) shape[T] {
	read := func(r *reader, n *node) (T, bool) {
		out := base()
		if n.kind != mapping {
			r.fault(n, "want a mapping, found %s", n.describe())
			return out, false
		}
		for _, item := range n.items {
			if len(r.faults) > maxFaults {
				break
			}
			i := slices.IndexFunc(fields, func(f field[T]) bool { return f.key == item.name })
			if i < 0 {
				r.fault(item, "unknown key: %s", known(item.name, fields))
				continue
			}
			fields[i].read(r, item, &out)
		}
		for _, f := range fields {
			if _, ok := n.get(f.key); f.required && !ok {
				r.fault(&node{up: n, name: f.key, line: n.line}, "missing")
			}
		}
		return out, true
	}
	return shape[T]{read, objectSchema(base(), fields)}
}

func objectSchema[T any](base T, fields []field[T]) schema {
	props, required := schema{}, []string{}
	for _, f := range fields {
		p := f.schema.with(schema{"description": f.doc})
		if f.show != nil {
			if v := f.show(base); !reflect.ValueOf(v).IsZero() {
				p["default"] = v
			}
		}
		props[f.key] = p
		if f.required {
			required = append(required, f.key)
		}
	}
	s := schema{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// pointer makes the difference between absent (nil) and given.
func pointer[T any](s shape[T]) shape[*T] {
	return shape[*T]{schema: s.schema, read: func(r *reader, n *node) (*T, bool) {
		v, ok := s.read(r, n)
		return &v, ok
	}}
}

// orNothing lets "key:" without a value stand for an empty mapping.
func orNothing[T any](s shape[T]) shape[T] {
	return shape[T]{schema: s.schema.with(schema{"type": []string{"object", "null"}}), read: func(r *reader, n *node) (T, bool) {
		if n.kind == null {
			return s.read(r, &node{up: n.up, name: n.name, line: n.line, kind: mapping})
		}
		return s.read(r, n)
	}}
}

// known helps with an unknown key: the one that was probably meant, or all.
func known[T any](key string, fields []field[T]) string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
		if nearly(key, f.key) {
			return "did you mean " + f.key + "?"
		}
	}
	return "want one of " + strings.Join(keys, ", ")
}

// nearly reports whether a key is the start of a known one, or differs from it in
// one letter, or two of a long one.
func nearly(key, known string) bool {
	if len(key) > 64 {
		return false
	}
	allowed := 1
	if len(known) >= 8 {
		allowed = 2
	}
	return len(key) >= 4 && strings.HasPrefix(known, key) || distance(key, known) <= allowed
}

// distance is the number of letters to add, drop or change to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
