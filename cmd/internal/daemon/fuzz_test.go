package daemon

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

// FuzzLuggage reads what another host says that a node consists of: it names files here.
func FuzzLuggage(f *testing.F) {
	add := func(l api.Luggage) {
		b, err := json.Marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(api.Luggage{Start: 7, Notes: []byte("<domain/>"), Files: []api.LuggageFile{{Name: "disk0.qcow2", Size: 5 << 20, Data: [][2]int64{{0, 5 << 20}}}}})
	add(api.Luggage{Files: []api.LuggageFile{{Name: "../../etc/passwd", Size: 1}}})
	add(api.Luggage{Files: []api.LuggageFile{{Name: "a", Size: 1<<63 - 1, Data: [][2]int64{{1<<63 - api.MoveChunk, api.MoveChunk - 1}}}}})
	add(api.Luggage{Files: []api.LuggageFile{{Name: "a", Size: 1 << 62, Data: [][2]int64{{0, 1 << 62}}}}})
	add(api.Luggage{Files: []api.LuggageFile{{Name: "a", Size: 7, Data: [][2]int64{{0, 1}}}}})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l api.Luggage
		if json.Unmarshal(b, &l) != nil || checkLuggage(l) != nil {
			return
		}
		data := int64(0)
		for _, file := range l.Files {
			if strings.ContainsAny(file.Name, "/\x00") && filepath.Base(file.Name) != file.Name || file.Name == ".." {
				t.Errorf("file %q is accepted", file.Name)
			}
			for _, d := range file.Data {
				data += d[1]
			}
		}
		if data < 0 || data > maxData {
			t.Fatalf("%d bytes are accepted", data)
		}
		if data > 1<<36 {
			return // it only takes time
		}
		p := &progress{luggage: l, sums: map[chunk]string{}}
		if p.count(); p.total > uint64(data) { //nolint:gosec // not negative
			t.Errorf("%d bytes to come of %d", p.total, data)
		}
	})
}

// FuzzProgress reads what a crash may have cut short.
func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"luggage":{"start":1,"files":[{"name":"a","size":1}]}}` + "\n" + `{"chunk":{"f":0,"o":0},"sum":"x"}` + "\n" + `{"verified":tr`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &progress{sums: map[chunk]string{}}
		if whole, err := p.load(bytes.NewReader(b)); err == nil && (whole < 0 || whole > int64(len(b))) {
			t.Errorf("%d of %d bytes are whole", whole, len(b))
		}
	})
}
