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
	for version, samples := range map[string]map[string]state.Envelope{"v1": samplesV1(), "v2": samplesV2(), "v3": samplesV3(), "v4": samplesV4(), "v5": samplesV5(), "v6": samplesV6(), "v7": samplesV7(), "v9": samplesV9()} {
		for kind, want := range samples {
			b := golden(t, version, kind+".entry", func() []byte { return encode(t, want) })
			got, err := Decode(b)
			if err != nil {
				t.Errorf("%s %s: %v", version, kind, err)
				continue
			}
			if diff := cmp.Diff(want, got, revealed); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", version, kind, diff)
			}
		}
	}
}

// samples has the newest sample of each kind.
func samples() map[string]state.Envelope {
	out := samplesV1()
	maps.Copy(out, samplesV2())
	maps.Copy(out, samplesV3())
	maps.Copy(out, samplesV4())
	maps.Copy(out, samplesV5())
	maps.Copy(out, samplesV6())
	maps.Copy(out, samplesV7())
	maps.Copy(out, samplesV9())
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

// TestSamplesOfVersion1SetEveryField says which field was added without a sample.
func TestSamplesOfVersion1SetEveryField(t *testing.T) {
	// Fields newer than version 1 go here, with where their golden file is.
	newer := map[string]string{
		"apply-cluster.Cluster.PDUs":                           "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].PDU":                   "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Change[0].Outlet":                       "v9/apply-cluster.entry",
		"put-hypervisor.Hypervisor.SNMP":                       "v9/put-hypervisor.entry",
		"put-hypervisor.Hypervisor.Redfish":                    "v7/put-hypervisor.entry",
		"apply-cluster.Cluster.Specs[0].Enrol.RedfishVerifyCA": "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Change[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"put-hypervisor.Hypervisor.Reserved":                   "v2/put-hypervisor.entry",
		"apply-cluster.Create[0].LastPlacement":                "v2/apply-cluster.entry",
		"apply-cluster.Create[0].Past":                         "v2/apply-cluster.entry",
		"apply-cluster.Create[0].Lost":                         "v2/apply-cluster.entry",
		"apply-cluster.Create[0].LostReason":                   "v2/apply-cluster.entry",
		"apply-cluster.Create[0].Discard":                      "v3/apply-cluster.entry",
		"apply-cluster.Create[0].Move":                         "v3/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].StopAfterMilli":        "v5/apply-cluster.entry",
		"apply-cluster.Create[0].StopAfterMilli":               "v5/apply-cluster.entry",
		"apply-cluster.Create[0].Host.StopAfterMilli":          "v5/apply-cluster.entry",
		"apply-cluster.Change[0].StopAfterMilli":               "v5/apply-cluster.entry",
		"report-host.Nodes[0].Status.StopAfterMilli":           "v5/report-host.entry",
		"apply-cluster.Create[0].Audit":                        "v6/apply-cluster.entry",
	}
	setEveryField(t, samplesV1(), newer)
}

func TestSamplesOfVersion2SetEveryField(t *testing.T) {
	setEveryField(t, samplesV2(), map[string]string{
		"apply-cluster.Cluster.PDUs":                           "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].PDU":                   "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Change[0].Outlet":                       "v9/apply-cluster.entry",
		"put-hypervisor.Hypervisor.SNMP":                       "v9/put-hypervisor.entry",
		"put-hypervisor.Hypervisor.Redfish":                    "v7/put-hypervisor.entry",
		"apply-cluster.Cluster.Specs[0].Enrol.RedfishVerifyCA": "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Change[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Audit":                        "v6/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].StopAfterMilli":        "v5/apply-cluster.entry",
		"apply-cluster.Create[0].StopAfterMilli":               "v5/apply-cluster.entry",
		"apply-cluster.Create[0].Host.StopAfterMilli":          "v5/apply-cluster.entry",
		"apply-cluster.Change[0].StopAfterMilli":               "v5/apply-cluster.entry",
		"unplace-nodes.Nodes[0].LostIndex":                     "v5/unplace-nodes.entry",
		"apply-cluster.Create[0].Discard":                      "v3/apply-cluster.entry",
		"apply-cluster.Create[0].Move":                         "v3/apply-cluster.entry",
		"admit-peer.Peer.StopMilli":                            "v3/admit-peer.entry",
		"put-peer.Peer.StopMilli":                              "v3/put-peer.entry",
		"drain-peer.StopMilli":                                 "v3/drain-peer.entry",

		"put-keys.Keys.Authorities[0].AddedMilli":   "v4/put-keys.entry",
		"put-keys.Keys.Authorities[0].RetiredMilli": "v4/put-keys.entry",
		"put-keys.Keys.Authorities[0].Forced":       "v4/put-keys.entry",
		"put-keys.Keys.Gossip[0].Since":             "v4/put-keys.entry",
		"put-keys.Keys.Gossip[0].AddedMilli":        "v4/put-keys.entry",
		"put-keys.Keys.Gossip[0].Retired":           "v4/put-keys.entry",
		"put-keys.Keys.Gossip[0].Forced":            "v4/put-keys.entry",
	})
}

func TestSamplesOfVersion3SetEveryField(t *testing.T) {
	setEveryField(t, samplesV3(), map[string]string{
		"apply-cluster.Cluster.PDUs":                           "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].PDU":                   "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Change[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].Enrol.RedfishVerifyCA": "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Change[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Audit":                        "v6/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].StopAfterMilli":        "v5/apply-cluster.entry",
		"apply-cluster.Create[0].StopAfterMilli":               "v5/apply-cluster.entry",
		"apply-cluster.Create[0].Host.StopAfterMilli":          "v5/apply-cluster.entry",
		"apply-cluster.Change[0].StopAfterMilli":               "v5/apply-cluster.entry",
	})
}

func TestSamplesOfVersion4SetEveryField(t *testing.T) {
	setEveryField(t, samplesV4(), map[string]string{})
}

func TestSamplesOfVersion5SetEveryField(t *testing.T) {
	setEveryField(t, samplesV5(), map[string]string{
		"apply-cluster.Cluster.PDUs":                           "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].PDU":                   "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Change[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Audit":                        "v6/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].Enrol.RedfishVerifyCA": "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Change[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
	})
}

func TestSamplesOfVersion6SetEveryField(t *testing.T) {
	setEveryField(t, samplesV6(), map[string]string{
		"apply-cluster.Cluster.PDUs":                           "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].PDU":                   "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Change[0].Outlet":                       "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].Enrol.RedfishVerifyCA": "v7/apply-cluster.entry",
		"apply-cluster.Create[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
		"apply-cluster.Change[0].Enrol.RedfishVerifyCA":        "v7/apply-cluster.entry",
	})
}

func TestSamplesOfVersion7SetEveryField(t *testing.T) {
	setEveryField(t, samplesV7(), map[string]string{
		"apply-cluster.Cluster.PDUs":         "v9/apply-cluster.entry",
		"apply-cluster.Cluster.Specs[0].PDU": "v9/apply-cluster.entry",
		"apply-cluster.Create[0].Outlet":     "v9/apply-cluster.entry",
		"apply-cluster.Change[0].Outlet":     "v9/apply-cluster.entry",
		"put-hypervisor.Hypervisor.SNMP":     "v9/put-hypervisor.entry",
	})
}

func TestSamplesOfVersion9SetEveryField(t *testing.T) {
	setEveryField(t, samplesV9(), map[string]string{})
}

// setEveryField fails for each field that no sample sets and that is not newer.
func setEveryField(t *testing.T, samples map[string]state.Envelope, newer map[string]string) {
	t.Helper()
	var visit func(path string, v reflect.Value)
	visit = func(path string, v reflect.Value) {
		switch {
		case newer[path] != "":
		case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
			if v.IsNil() {
				t.Errorf("%s is not set", path)
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
			t.Errorf("%s is not set", path)
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
