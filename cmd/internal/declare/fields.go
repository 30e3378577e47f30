package declare

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"tenks/raftfsm/state"
)

// When says when a change reaches a node. The words are part of the API.
type When string

// The times at which changes take effect.
const (
	// Now: at once, whatever power the node has.
	Now When = "now"
	// AtPlacement: it counts for nodes that are placed from now on.
	AtPlacement When = "placement"
	// AtPowerOn: a node that is off has it at once, a running one at its next
	// power-on, or now if --restart asks for a power cycle.
	AtPowerOn When = "power-on"
	// ByRestart: now, by the power cycle that --restart asked for.
	ByRestart When = "restart"
)

// times are in the order of when they come.
var times = []When{Now, ByRestart, AtPowerOn, AtPlacement}

// Difference is one thing about a node that is to be another.
type Difference struct {
	// Field is its name, as in the cluster file where that has one.
	Field string
	// Old and New are the values in words; both empty where they are not for showing.
	Old, New string
	When     When
	// Remark is what else is to be said; empty: nothing.
	Remark string
	// Loss says that data is lost by it, and Anew that the node is made anew for it.
	Loss, Anew bool
}

// String says what differs, as in "memory 512 → 1024 MiB".
func (d Difference) String() string {
	var remarks []string
	if d.Remark != "" {
		remarks = append(remarks, d.Remark)
	}
	if d.Anew {
		remarks = append(remarks, "the node is made anew")
	}
	if d.Loss {
		remarks = append(remarks, "DATA IS LOST")
	}
	end := ""
	if len(remarks) > 0 {
		end = " (" + strings.Join(remarks, ": ") + ")"
	}
	if d.Old == d.New {
		return d.Field + end
	}
	old := d.Old
	if number, unit, ok := strings.Cut(d.Old, " "); ok && strings.HasSuffix(d.New, " "+unit) && strings.Count(d.Old+d.New, " ") == 2 {
		old = number // the unit is said once
	}
	return fmt.Sprintf("%s %s → %s%s", d.Field, old, d.New, end)
}

// A field is a row of the tables that say what can differ about a node. A new key of
// the cluster file that reaches nodes is one more row.
type field struct {
	name string
	when When
	// of returns what is compared; nothing and empty are the same.
	of func(n *state.Node) any
	// text says the value in words; nil: by fmt, "none" for nothing.
	text func(n *state.Node) string
	// unless leaves a difference out that another row says better; nil: never.
	unless func(old, now *state.Node) bool
	// secret values are not shown.
	secret bool
	remark string
	// differ says what differs in more than one line; nil: by text.
	differ func(old, now *state.Node) []Difference
	// anew says that a node is taken apart, disks and all, and made anew for it.
	anew bool
}

func (f field) say(n *state.Node) string {
	switch {
	case f.secret:
		return ""
	case f.text != nil:
		return f.text(n)
	}
	return words(f.of(n))
}

// compare returns what differs by a table. What a table has no row for is found by
// its Go name, so that a change is never lost: rest returns the struct to look at.
func compare(table []field, when When, rest func(*state.Node) any, old, now *state.Node) []Difference {
	var out []Difference
	for _, f := range table {
		if alike(reflect.ValueOf(f.of(old)), reflect.ValueOf(f.of(now))) || f.unless != nil && f.unless(old, now) {
			continue
		}
		if f.differ != nil {
			out = append(out, f.differ(old, now)...)
			continue
		}
		out = append(out, Difference{Field: f.name, Old: f.say(old), New: f.say(now), When: f.when, Remark: f.remark,
			Anew: f.anew, Loss: f.anew && len(old.Machine.Volumes) > 0})
	}
	if len(out) > 0 || rest == nil {
		return out
	}
	a, b := reflect.ValueOf(rest(old)), reflect.ValueOf(rest(now))
	for i := range a.NumField() {
		if !alike(a.Field(i), b.Field(i)) {
			out = append(out, Difference{Field: snake(a.Type().Field(i).Name), When: when})
		}
	}
	return out
}

// alike is reflect.DeepEqual, to which nothing and empty are the same.
func alike(a, b reflect.Value) bool {
	if a.IsValid() && b.IsValid() && a.Kind() == b.Kind() {
		switch a.Kind() {
		case reflect.Map, reflect.Slice:
			if a.Len() == 0 && b.Len() == 0 {
				return true
			}
		}
	}
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// words shows a value: lists and maps in one order, "none" for nothing.
func words(v any) string {
	r := reflect.ValueOf(v)
	var parts []string
	switch {
	case !r.IsValid() || r.IsZero() && r.Kind() != reflect.Bool && !r.CanInt() && !r.CanUint():
		return "none"
	case r.Kind() == reflect.Map:
		for _, k := range r.MapKeys() {
			parts = append(parts, fmt.Sprintf("%v=%v", k, r.MapIndex(k)))
		}
		slices.Sort(parts)
	case r.Kind() == reflect.Slice:
		for i := range r.Len() {
			parts = append(parts, fmt.Sprint(r.Index(i)))
		}
	default:
		return fmt.Sprint(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// snake is a Go name as the cluster file would spell it.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
