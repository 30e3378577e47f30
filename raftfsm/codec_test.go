package raftfsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"tenks/raftfsm/state"
)

var revealed = cmp.AllowUnexported(state.Secret{})

// golden returns a file under testdata/v1 or later. One that is missing is written if UPDATE is
// set; one that is there is never changed.
func golden(t *testing.T, version, name string, made func() []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", version, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, made(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encode(t testing.TB, e state.Envelope) []byte {
	t.Helper()
	b, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEntriesOfEveryVersionDecodeForEver(t *testing.T) {
	for _, v := range versions {
		for kind, want := range v.samples() {
			b := golden(t, v.name, kind+".entry", func() []byte { return encode(t, want) })
			got, err := Decode(b)
			if err != nil {
				t.Errorf("%s %s: %v", v.name, kind, err)
				continue
			}
			if diff := cmp.Diff(want, got, revealed); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", v.name, kind, diff)
			}
		}
	}
}

// samples has the newest sample of each kind.
func samples() map[string]state.Envelope {
	out := map[string]state.Envelope{}
	for _, v := range versions {
		maps.Copy(out, v.samples())
	}
	return out
}

func TestEveryKindHasItsWordAndASample(t *testing.T) {
	samples := samples()
	for kind := range commands {
		sample, ok := samples[kind]
		if !ok {
			t.Errorf("command %q has no sample", kind)
			continue
		}
		got, err := Decode(encode(t, sample))
		if err != nil || state.Kind(got.Command) != kind {
			t.Errorf("command %q decodes to a %T, error %v", kind, got.Command, err)
		}
	}
	if len(samples) != len(commands) {
		t.Errorf("%d samples of %d commands", len(samples), len(commands))
	}
}

// TestSamplesSetEveryField says which field was added without a sample.
func TestSamplesSetEveryField(t *testing.T) {
	for i, v := range versions {
		newer := map[string]bool{}
		for _, later := range versions[i+1:] {
			for _, path := range later.since {
				newer[path] = true
			}
		}
		set := setEveryField(t, v.name, v.samples(), newer)
		for _, path := range v.since {
			if !set[path] {
				t.Errorf("%s: %s came with it, and is in none of its samples", v.name, path)
			}
		}
	}
}

// setEveryField fails for each field that no sample sets and that is not newer. It returns
// those that are set.
func setEveryField(t *testing.T, version string, samples map[string]state.Envelope, newer map[string]bool) map[string]bool {
	t.Helper()
	set := map[string]bool{}
	var visit func(path string, v reflect.Value)
	visit = func(path string, v reflect.Value) {
		set[path] = true
		switch {
		case newer[path]:
			delete(set, path)
		case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
			if v.IsNil() {
				t.Errorf("%s: %s is not set", version, path)
				return
			}
			visit(path, v.Elem())
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[state.Secret]():
			for i := range v.NumField() {
				visit(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case v.Kind() == reflect.Slice && v.Len() > 0:
			visit(path+"[0]", v.Index(0))
		case v.IsZero():
			t.Errorf("%s: %s is not set", version, path)
		}
	}
	for kind, e := range samples {
		c := reflect.New(reflect.TypeOf(e.Command)).Elem()
		c.Set(reflect.ValueOf(e.Command))
		if a, ok := e.Command.(state.ApplyCluster); ok {
			a.Create[0].Machine.Volumes = a.Create[0].Machine.Volumes[1:] // the one with an image
			a.Change[0].Machine.Volumes = a.Change[0].Machine.Volumes[1:]
		}
		visit(kind, c)
	}
	return set
}

func TestEqualCommandsHaveEqualEntries(t *testing.T) {
	for kind := range samples() {
		a, b := encode(t, samples()[kind]), encode(t, samples()[kind])
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two encodings", kind)
		}
	}
}

func TestSecretsAreInTheLogAndNotInJSON(t *testing.T) {
	e := samplesV1()["apply-cluster"]
	asJSON, err := json.Marshal(e.Command)
	if err != nil {
		t.Fatal(err)
	}
	entry := encode(t, e)
	for _, secret := range []string{"golden-ironic", "golden-bmc", "golden-node", "golden-change", "clouds: {}"} {
		if !bytes.Contains(entry, []byte(secret)) {
			t.Errorf("the entry lacks %q", secret)
		}
		if strings.Contains(string(asJSON), secret) {
			t.Errorf("JSON shows %q", secret)
		}
	}
}

func TestKeysAreInTheLogAndNotInJSON(t *testing.T) {
	e := samplesV2()["put-keys"]
	asJSON, err := json.Marshal(e.Command)
	if err != nil {
		t.Fatal(err)
	}
	entry := encode(t, e)
	key := strings.Repeat("\xfe", 32)
	for _, secret := range []string{"golden-ca-key", key} {
		if !bytes.Contains(entry, []byte(secret)) {
			t.Errorf("the entry lacks %q", secret)
		}
	}
	for _, seen := range []string{string(asJSON), fmt.Sprintf("%+v", e.Command), fmt.Sprintf("%#v", e.Command)} {
		if strings.Contains(seen, "golden-ca-key") || strings.Contains(seen, key) || strings.Count(seen, "(hidden)") != 2 {
			t.Errorf("seen: %s", seen)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	raw := func(v any) []byte {
		b, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{entryFormat}, b...)
	}
	deep := append(append([]byte{entryFormat}, bytes.Repeat([]byte{0x81}, maxNesting+1)...), 0)
	tests := map[string]struct {
		entry []byte
		newer bool
		text  string
	}{
		"nothing":         {nil, false, "empty"},
		"another format":  {[]byte{2, 0xa0}, true, "format 2"},
		"another kind":    {raw(map[string]any{"kind": "fly", "body": map[string]any{}}), true, `"fly"`},
		"no kind":         {raw(map[string]any{}), true, `""`},
		"no CBOR":         {[]byte{entryFormat, 0xff}, false, "decode"},
		"something after": {append(encode(t, samplesV1()["set-mesh"]), 0), false, "extraneous"},
		"cut off":         {encode(t, samplesV1()["set-mesh"])[:20], false, "EOF"},
		"a body of another type": {raw(map[string]any{"kind": "set-mesh", "body": map[string]any{"Mesh": "x"}}),
			false, "set-mesh"},
		"no body":        {raw(map[string]any{"kind": "set-mesh"}), false, "set-mesh"},
		"a key twice":    {append([]byte{entryFormat, 0xa2}, []byte("\x64kind\x61a\x64kind\x61b")...), false, "duplicate"},
		"a tag":          {[]byte{entryFormat, 0xc1, 0x00}, false, "tag"},
		"no length":      {[]byte{entryFormat, 0xbf, 0xff}, false, "indefinite"},
		"too deep":       {deep, false, "nested"},
		"too many":       {[]byte{entryFormat, 0x9a, 0xff, 0xff, 0xff, 0xff}, false, "max"},
		"too many bytes": {make([]byte, maxEntry+1), false, "at most"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(tt.entry)
			if err == nil || !strings.Contains(err.Error(), tt.text) || errors.Is(err, state.ErrNewer) != tt.newer {
				t.Errorf("error %v, want one with %q, newer: %t", err, tt.text, tt.newer)
			}
		})
	}
}

func TestDecodePassesOverFieldsOfNewerVersions(t *testing.T) {
	b, err := cbor.Marshal(map[string]any{"kind": "remove-cluster", "origin": "new",
		"body": map[string]any{"Name": "demo", "Deadline": 5, "name": "not this one"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(append([]byte{entryFormat}, b...))
	if want := (state.RemoveCluster{Name: "demo"}); err != nil || got.Command != state.Command(want) {
		t.Errorf("%+v, error %v, want %+v", got.Command, err, want)
	}
}

func TestEncodeRefusesWhatNoPeerCouldRead(t *testing.T) {
	tests := map[string]state.Command{
		"no command": nil,
		"too large":  state.RemoveCluster{Name: strings.Repeat("x", maxEntry)},
	}
	for name, c := range tests {
		if _, err := Encode(state.Envelope{Command: c}); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func TestALargeClusterIsOneEntry(t *testing.T) {
	c := state.ApplyCluster{Cluster: clusterV1()}
	for range 2000 {
		c.Create = append(c.Create, nodeV1())
	}
	b, err := Encode(state.Envelope{Command: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("2,000 nodes are %d bytes", len(b))
	if len(b) > maxEntry/2 {
		t.Errorf("%d bytes, at most %d are allowed", len(b), maxEntry)
	}
}

func TestTextOfOtherProgramsIsKeptWhateverItsBytes(t *testing.T) {
	c := state.PlaceNodes{Refusals: []state.NodeRefusal{{UUID: "u1", Reason: "qemu said \xff\xfe"}}}
	got, err := Decode(encode(t, state.Envelope{Command: c}))
	if err != nil || cmp.Diff(c, got.Command) != "" {
		t.Errorf("%+v, error %v", got.Command, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range samples() {
		f.Add(encode(f, e))
	}
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(e)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if third := encode(t, back); !bytes.Equal(again, third) {
			t.Fatalf("%x became %x", again, third)
		}
		// Whatever was decoded can be applied, or is refused.
		s := state.New()
		_ = s.Apply(1, samplesV1()["put-hypervisor"])
		_ = s.Apply(2, e)
		snap, _ := s.Snapshot()
		if err := state.New().Load(snap.Dump()); err != nil {
			t.Fatalf("%s", fmt.Sprint(err))
		}
	})
}
