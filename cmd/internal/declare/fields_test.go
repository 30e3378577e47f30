package declare

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"tenks/raftfsm/state"
)

// other sets a value to one that is not zero.
func other(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), reflect.New(v.Type().Elem()).Elem())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if e, ok := v.Interface().(*state.Endpoint); ok {
			e.Port = 7
		}
	case reflect.Struct:
		if s, ok := v.Addr().Interface().(*state.Secret); ok {
			*s = state.NewSecret("other")
			return
		}
		other(t, v.Field(0))
	default:
		t.Fatalf("%s: not known here: say how another value of it is made", v.Type())
	}
}

// Whatever a declaration can change of a node is in one of the tables: a change that is
// in none would not be carried out.
func TestEveryFieldOfADeclarationIsInATable(t *testing.T) {
	// not are those that no row is for: how a change is told, and what others follow from.
	// Where a node is pinned to has a name only in the mesh.
	not := []string{"UUID", "Spec", "Restart", "Anew", "AdoptIronic", "Pin", "Machine.Physnets", "Machine.Trunks"}
	base := state.Node{Enrol: &state.Enrolment{}, Placement: &state.Placement{BMC: state.Endpoint{Address: "192.0.2.1", Port: 1}}}
	check := func(name string, of func(*state.NodeChange) reflect.Value) {
		if slices.Contains(not, name) {
			return
		}
		c := state.NodeChange{Enrol: &state.Enrolment{}}
		other(t, of(&c))
		now := declared(&base, &c)
		rows := slices.Concat(compare(hardware, AtPowerOn, nil, &base, now), compare(enrolment, Now, nil, &base, now), compare(placing, Now, nil, &base, now))
		if len(rows) != 1 {
			t.Errorf("%s: differs by the rows %v, want one: add one to hardware, enrolment or placing", name, rows)
		}
		if found := differences(&base, &c); len(found) != 1 {
			t.Errorf("%s: differences %v, want one", name, found)
		}
	}
	each := func(prefix string, typ reflect.Type, of func(*state.NodeChange) reflect.Value) {
		for i := range typ.NumField() {
			check(prefix+typ.Field(i).Name, func(c *state.NodeChange) reflect.Value { return of(c).Field(i) })
		}
	}
	each("Machine.", reflect.TypeFor[state.Machine](), func(c *state.NodeChange) reflect.Value { return reflect.ValueOf(&c.Machine).Elem() })
	each("Enrol.", reflect.TypeFor[state.Enrolment](), func(c *state.NodeChange) reflect.Value { return reflect.ValueOf(c.Enrol).Elem() })
	for _, name := range fieldsOf(reflect.TypeFor[state.NodeChange]()) {
		if name != "Machine" && name != "Enrol" {
			check(name, func(c *state.NodeChange) reflect.Value { return reflect.ValueOf(c).Elem().FieldByName(name) })
		}
	}
}

func fieldsOf(typ reflect.Type) []string {
	var out []string
	for i := range typ.NumField() {
		out = append(out, typ.Field(i).Name)
	}
	return out
}

// A field that no row is for is told by its Go name.
func TestAFieldWithoutARowIsFound(t *testing.T) {
	old, now := &state.Node{Machine: state.Machine{SecureBoot: true}}, &state.Node{}
	got := compare(nil, AtPowerOn, func(n *state.Node) any { return n.Machine }, old, now)
	if len(got) != 1 || got[0].String() != "secure_boot" || got[0].When != AtPowerOn {
		t.Errorf("differences %v, want secure_boot at the next power-on", got)
	}
}

func TestDifferencesInWords(t *testing.T) {
	for _, c := range []struct {
		d    Difference
		want string
	}{
		{Difference{Field: "memory", Old: "512 MiB", New: "1024 MiB"}, "memory 512 → 1024 MiB"},
		{Difference{Field: "stop_after", Old: "0s", New: "30s"}, "stop_after 0s → 30s"},
		{Difference{Field: "bmc"}, "bmc"},
		{Difference{Field: "tpm", Old: words(""), New: words("2.0"), Remark: "so"}, "tpm none → 2.0 (so)"},
		{Difference{Field: "traits", Old: words([]string{"A", "B"}), New: words([]string(nil))}, "traits [A, B] → none"},
		{Difference{Field: "properties", Old: words(map[string]string{"b": "1", "a": "2"}), New: words(map[string]string{})}, "properties [a=2, b=1] → []"},
		{Difference{Field: "secure_boot", Old: words(false), New: words(true)}, "secure_boot false → true"},
	} {
		if got := c.d.String(); got != c.want {
			t.Errorf("%#v: %q, want %q", c.d, got, c.want)
		}
	}
	if got := fmt.Sprint(snake("BootMode"), " ", snake("VCPUs"), " ", snake("TPM")); got != "boot_mode vcpus tpm" {
		t.Errorf("names %s", got)
	}
}
