package redfish

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Object is a JSON object that keeps the order of its properties. Values are Object,
// []Object, string, []string, bool, integers, float64, nil (null), Omit, or anything
// that encoding/json can encode.
type Object []Property

// Property is one member of an Object.
type Property struct {
	Key   string
	Value any
}

// omit is the type of Omit.
type omit struct{}

// Omit is the value of a property that is left out.
var Omit = omit{}

// optional returns s, or Omit for an empty one: Redfish has no empty strings where
// nothing is known.
func optional(s string) any {
	if s == "" {
		return Omit
	}
	return s
}

// link returns a reference to a resource (DSP0266 §8.5).
func link(path string) Object { return Object{{"@odata.id", path}} }

// links returns references to resources.
func links(paths ...string) []Object {
	out := make([]Object, len(paths))
	for i, path := range paths {
		out[i] = link(path)
	}
	return out
}

// Get returns the value of a property.
func (o Object) Get(key string) (any, bool) {
	for _, p := range o {
		if p.Key == key && p.Value != Omit {
			return p.Value, true
		}
	}
	return nil, false
}

// Object returns the value of a property that is an object, or nil.
func (o Object) Object(key string) Object {
	v, _ := o.Get(key)
	out, _ := v.(Object)
	return out
}

// with returns the object with a property set.
func (o Object) with(key string, value any) Object {
	for i, p := range o {
		if p.Key == key {
			out := slices.Clone(o)
			out[i].Value = value
			return out
		}
	}
	return append(o[:len(o):len(o)], Property{key, value})
}

// without returns the object without some properties.
func (o Object) without(keys ...string) Object {
	out := make(Object, 0, len(o))
	for _, p := range o {
		if !slices.Contains(keys, p.Key) {
			out = append(out, p)
		}
	}
	return out
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return appendObject(nil, o) }

func appendObject(b []byte, o Object) ([]byte, error) {
	b = append(b, '{')
	first := true
	for _, p := range o {
		if p.Value == Omit {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, p.Key)
		b = append(b, ':')
		var err error
		if b, err = appendValue(b, p.Value); err != nil {
			return nil, fmt.Errorf("property %q: %w", p.Key, err)
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case Object:
		return appendObject(b, v)
	case []Object:
		return appendList(b, v, appendObject)
	case []string:
		return appendList(b, v, func(b []byte, s string) ([]byte, error) { return appendString(b, s), nil })
	case []any:
		return appendList(b, v, appendValue)
	case string:
		return appendString(b, v), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case uint64:
		return strconv.AppendUint(b, v, 10), nil
	}
	other, err := json.Marshal(v)
	return append(b, other...), err
}

func appendList[T any](b []byte, list []T, one func([]byte, T) ([]byte, error)) ([]byte, error) {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = one(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (out [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		out[c] = !strings.ContainsRune(`"\<>&`, rune(c))
	}
	return out
}()

// appendString quotes s; what is not plain goes through encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			quoted, _ := json.Marshal(s) // a string never fails
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
