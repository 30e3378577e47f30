package config

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// maxJSON bounds a value of any form, in bytes of JSON.
const maxJSON = 64 << 10

// jsonValue reads a value of any form but nothing, as JSON with sorted keys.
func jsonValue() shape[string] {
	read := func(r *reader, n *node) (string, bool) {
		if n.kind == null {
			r.fault(n, "want a value, found nothing")
			return "", false
		}
		v, ok := r.jsonOf(n)
		if !ok {
			return "", false
		}
		out := marshal(v)
		if len(out) > maxJSON {
			r.fault(n, "too long: %d bytes as JSON, at most %d", len(out), maxJSON)
			return "", false
		}
		return out, true
	}
	return shape[string]{read, schema{"type": []string{"string", "number", "boolean", "object", "array"}}}
}

// jsonScalar reads a text, number or boolean, as JSON.
func jsonScalar() shape[string] {
	whole := jsonValue()
	read := func(r *reader, n *node) (string, bool) {
		if n.kind != scalar {
			r.fault(n, "want a text, number or boolean, found %s", n.describe())
			return "", false
		}
		return whole.read(r, n)
	}
	return shape[string]{read, schema{"type": []string{"string", "number", "boolean"}}}
}

// jsonOf returns a value as encoding/json takes it.
func (r *reader) jsonOf(n *node) (any, bool) {
	switch n.kind {
	case null:
		return nil, true
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			v, ok := r.jsonOf(item)
			if !ok {
				return nil, false
			}
			out[i] = v
		}
		return out, true
	case mapping:
		out := map[string]any{}
		for _, item := range n.items {
			v, ok := r.jsonOf(item)
			if !ok {
				return nil, false
			}
			out[item.name] = v
		}
		return out, true
	case scalar:
	}
	return r.jsonScalarOf(n)
}

func (r *reader) jsonScalarOf(n *node) (any, bool) {
	switch {
	case n.isText():
		return n.text, true
	case n.tag == "!!bool":
		v, err := strconv.ParseBool(n.text)
		if err == nil {
			return v, true
		}
	case n.isWhole():
		if v, ok := new(big.Int).SetString(strings.ReplaceAll(n.text, "_", ""), 0); ok {
			return v, true
		}
	case n.tag == "!!float":
		v, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
		if err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v, true
		}
	}
	r.fault(n, "has no form in JSON: %s", n.describe())
	return nil, false
}

// jsonObject makes an object of values that are JSON.
func jsonObject(values map[string]string) string {
	out := make(map[string]json.RawMessage, len(values))
	for key, v := range values {
		out[key] = json.RawMessage(v)
	}
	return marshal(out)
}

func marshal(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("config: marshal: " + err.Error()) // is made of what JSON has
	}
	return strings.TrimSuffix(b.String(), "\n")
}
