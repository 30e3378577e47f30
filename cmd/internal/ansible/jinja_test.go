package ansible

import (
	"strings"
	"testing"
	"time"
)

func TestExpressionsThatFilesUse(t *testing.T) {
	vars := scopeOf{
		"n": {kind: scalar, tag: "!!int", text: "4"}, "s": textValue("Text"), "m": textValue("{{ s }}"),
		"d": {kind: mapping, items: []*value{{name: "key", kind: scalar, text: "inner"}, {name: "l", kind: list, items: []*value{textValue("first")}}}},
	}
	for text, want := range map[string]string{
		"{{ n }}": "4", "a{{ n }}b{{ s }}": "a4bText", "{{ m | lower }}": "text", "{{s|upper}}": "TEXT", "{{ 'x' }}": "x",
		"{{ no | default('y') }}": "y", "{{ no | default(n) }}": "4", "{{ '' | default('z', true) }}": "z", "{{ d.key }}": "inner",
		"{{ d['key'] }}": "inner", "{{ d.l[0] }}": "first", "{{ no.a.b | default(7) }}": "7", "{{ '8' | int }}": "8", "{{ 'yes' | bool }}": "true",
	} {
		v, err := render(textValue(text), vars)
		if err != nil || v.text != want {
			t.Errorf("%s: %+v, error %v, want %q", text, v, err, want)
		}
	}
	for _, text := range []string{"{{ n + 1 }}", "{{ no }}", "{{ lookup('env', 'HOME') }}", "{% set a = 1 %}", "{{ d }}x", "{{ hostvars[h].x }}", "{{ n | random }}", "{{ n", "{{ }}"} {
		if v, err := render(textValue(text), vars); err == nil {
			t.Errorf("%s: %+v, want an error", text, v)
		}
	}
}

// TestVariablesThatMultiplyEndSoon: ten levels, each of ten of the one below.
func TestVariablesThatMultiplyEndSoon(t *testing.T) {
	vars := scopeOf{"a9": textValue("x")}
	for i := range 9 {
		vars["a"+string(rune('0'+i))] = textValue(strings.Repeat("{{ a"+string(rune('1'+i))+" }}", 10))
	}
	begin := time.Now()
	if _, err := render(textValue("{{ a0 }}"), vars); err == nil {
		t.Error("ten to the ninth expressions are taken")
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}
