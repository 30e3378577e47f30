package gossip

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

var full = Facts{Name: "host1", Zone: "rack-7", Role: "voter", Version: "1.2.3", APIAddress: "10.0.0.1:7740",
	Drivers: []string{"libvirt", "fake"}, Physnets: []string{"physnet1"}, VCPUs: 64, MemoryMB: 262144, DiskGB: 4000,
	FreeEighths: 5, Boot: "9f3a01bc", Generation: 3}

func TestFactsSurviveTheMetadata(t *testing.T) {
	want := edition{Revision: 7, Facts: wireFacts(full), Leaving: true}
	b := encodeMeta(want)
	got, err := decodeMeta(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	t.Logf("%d bytes", len(b))
}

// The bytes are those of a released version: they are read for ever.
func TestTheFirstFormatIsRead(t *testing.T) {
	const golden = "01a3010702ad0165686f73743102667261636b2d370365766f7465720465312e322e33056d31302e302e302e313a373734300682676c6962766972746466616b65078168706879736e6574310818400" +
		"91a00040000" + "0a190fa0" + "0b05" + "0c683966336130316263" + "0d03" + "03f5"
	b, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := edition{Revision: 7, Facts: wireFacts(full), Leaving: true}
	if got, err := decodeMeta(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := hex.EncodeToString(encodeMeta(want)); got != golden {
		t.Errorf("written now:\n%s", got)
	}
}

func TestFieldsOfLaterVersionsAreIgnored(t *testing.T) {
	later := encode(map[int]any{1: 9, 2: map[int]any{1: "host1", 99: []string{"new"}}, 77: "new"})
	got, err := decodeMeta(append([]byte{format}, later...))
	if err != nil || got.Revision != 9 || got.Facts.Name != "host1" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMetadataThatIsNotReadIsAnError(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":         {},
		"a later format":  {2, 0xa0},
		"no CBOR":         {format, 0xff},
		"a text":          append([]byte{format}, encode("text")...),
		"too much":        make([]byte, maxMeta+1),
		"more behind it":  append(encodeMeta(edition{}), 0),
		"negative counts": append([]byte{format}, encode(map[int]int{1: -1})...),
	} {
		if e, err := decodeMeta(b); err == nil {
			t.Errorf("%s: got %+v, no error", name, e)
		}
	}
}

func TestListsAreDroppedBeforeNamesAreCut(t *testing.T) {
	f := full
	f.Physnets = slices.Repeat([]string{"a-physnet-of-some-length"}, 30)
	got := edition{Facts: wireFacts(f)}.fit(maxMeta - 1).Facts
	if !got.Truncated || got.Drivers != nil || got.Physnets != nil || got.Name != full.Name || got.DiskGB != full.DiskGB {
		t.Errorf("got %+v", got)
	}
	f.Name = strings.Repeat("ä", 600)
	got = edition{Facts: wireFacts(f)}.fit(maxMeta - 1).Facts
	if want := strings.Repeat("ä", 32); got.Name != want || got.Zone != full.Zone || got.APIAddress != full.APIAddress {
		t.Errorf("got %+v", got)
	}
	f.APIAddress = strings.Repeat("x", 300) + ":7740"
	if got = (edition{Facts: wireFacts(f)}).fit(maxMeta - 1).Facts; got.APIAddress != "" {
		t.Errorf("half an address: %q", got.APIAddress)
	}
}

// anyFacts draws facts, some of which are absurd.
func anyFacts(t *rapid.T) Facts {
	text := rapid.OneOf(rapid.StringN(0, 20, -1), rapid.StringN(200, 2000, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 600), func(b []byte) string { return string(b) }))
	list := rapid.SliceOfN(text, 0, 30)
	return Facts{Name: text.Draw(t, "name"), Zone: text.Draw(t, "zone"), Role: text.Draw(t, "role"),
		Version: text.Draw(t, "version"), APIAddress: text.Draw(t, "address"), Boot: text.Draw(t, "boot"),
		Drivers: list.Draw(t, "drivers"), Physnets: list.Draw(t, "physnets"), VCPUs: rapid.Int().Draw(t, "vcpus"),
		MemoryMB: rapid.Uint64().Draw(t, "memory"), DiskGB: rapid.Uint64().Draw(t, "disk"),
		FreeEighths: rapid.Byte().Draw(t, "free"), Generation: rapid.Uint64().Draw(t, "generation")}
}

func TestAnyFactsFitAndAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t).clone()
		e := edition{Revision: rapid.Uint64().Draw(t, "revision"), Facts: wireFacts(f), Leaving: true}
		b := encodeMeta(e)
		if len(b) > maxMeta {
			t.Fatalf("%d bytes of metadata", len(b))
		}
		got, err := decodeMeta(b)
		if err != nil || got.Revision != e.Revision || !got.Leaving || got.Facts.Generation != f.Generation {
			t.Fatalf("got %+v, %v", got, err)
		}
		if !got.Facts.Truncated && !Facts(got.Facts).same(f) {
			t.Fatalf("got %+v, want %+v", got.Facts, f)
		}
		if !utf8.ValidString(got.Facts.Name) {
			t.Fatalf("name %q", got.Facts.Name)
		}
		records, err := decodeState(encodeState([]record{{"id", e}}))
		if err != nil || len(records) != 1 || records[0].Edition.Revision != e.Revision {
			t.Fatalf("got %+v, %v", records, err)
		}
	})
}

func TestAStateIsBounded(t *testing.T) {
	var records []record
	for i := range 6000 {
		records = append(records, record{fmt.Sprint("peer", i), edition{Facts: wireFacts(full)}})
	}
	b := encodeState(records)
	got, err := decodeState(b)
	if err != nil || len(b) > maxState || len(got) != maxRecords || got[0].ID != "peer0" {
		t.Errorf("%d bytes, %d records, %v", len(b), len(got), err)
	}
	big := full
	big.Physnets = slices.Repeat([]string{strings.Repeat("x", 60)}, 200)
	for i := range records {
		records[i].Edition.Facts = wireFacts(big)
	}
	b = encodeState(records)
	if got, err = decodeState(b); err != nil || len(b) > maxState || len(got) < 50 || len(got[0].Edition.Facts.Physnets) != 200 {
		t.Errorf("%d bytes, %d records, %v", len(b), len(got), err)
	}
}

func TestRecordsThatMakeNoSenseAreLeftOut(t *testing.T) {
	good := encode(record{"good", edition{Revision: 1}})
	state := func(parts ...cbor.RawMessage) []byte { return append([]byte{format}, encode(parts)...) }
	for name, part := range map[string]cbor.RawMessage{
		"a number":    encode(5),
		"no ID":       encode(record{}),
		"a long ID":   encode(record{ID: strings.Repeat("x", maxID+1)}),
		"a large one": encode(record{"big", edition{Facts: wireFacts{Name: strings.Repeat("x", maxRecord)}}}),
	} {
		if got, err := decodeState(state(part, good)); err != nil || len(got) != 1 || got[0].ID != "good" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing":           {},
		"a later format":    {9, 0x80},
		"a map":             append([]byte{format}, encode(map[int]int{})...),
		"an absurd promise": {format, 0x9a, 0xff, 0xff, 0xff, 0xff},
		"too much":          make([]byte, maxState+1),
	} {
		if got, err := decodeState(b); err == nil {
			t.Errorf("%s: got %+v, no error", name, got)
		}
	}
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeMeta(edition{Revision: 1, Facts: wireFacts(full)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeMeta(b)
		if err != nil {
			return
		}
		if again, err := decodeMeta(encodeMeta(e)); err != nil || again.Revision != e.Revision {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeState([]record{{"a", edition{Revision: 1, Facts: wireFacts(full)}}, {"b", edition{Leaving: true}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := decodeState(b)
		if err != nil {
			return
		}
		table := newTable("a")
		table.alive("b", "10.0.0.2:1", edition{})
		table.merge(records)
		if len(table.peers()) != 1 || len(records) > maxRecords {
			t.Errorf("%d peers of %d records", len(table.peers()), len(records))
		}
		if b := encodeState(table.records()); len(b) > maxState {
			t.Errorf("passed on: %d bytes", len(b))
		}
	})
}
