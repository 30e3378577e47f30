package config

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func seed(f *testing.F, glob string) {
	f.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		f.Fatalf("%s: %d files, error %v", glob, len(files), err)
	}
	for _, path := range files {
		f.Add(withoutWants(readFile(f, path)))
	}
}

// checkFaults wants an error to be Faults that each stand on one line, which exists.
func checkFaults(t *testing.T, data []byte, err error) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error %v, want Faults", err)
	}
	lines := 1
	for _, c := range bytes.Runes(data) {
		if strings.ContainsRune("\n\r\u0085\u2028\u2029", c) {
			lines++
		}
	}
	for i, f := range faults {
		switch {
		case f.File != "f" || f.Message == "":
			t.Errorf("fault %+v lacks file or message", f)
		case f.Line < 1 || f.Line > lines:
			t.Errorf("fault %q: line %d of %d", f, f.Line, lines)
		case strings.ContainsAny(f.String(), "\n\r"):
			t.Errorf("fault %q is not one line", f)
		case i > 0 && f.Line < faults[i-1].Line:
			t.Errorf("fault %q comes after %q", f, faults[i-1])
		}
	}
}

func FuzzLoadCluster(f *testing.F) {
	seed(f, "testdata/cluster.*.yml")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := LoadCluster("f", data)
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		if c.Name == "" {
			t.Errorf("cluster without a name: %+v", c)
		}
		for _, s := range c.Specs {
			if _, ok := c.NodeTypes[s.Type]; !ok {
				t.Errorf("spec of unknown type %q", s.Type)
			}
		}
		for name, nt := range c.NodeTypes {
			var disk Size
			for _, v := range nt.Volumes {
				disk += v.Capacity
			}
			if name == "" || nt.MemoryMB < 16 || nt.VCPUs < 1 || nt.BootMode == "" || nt.Driver == "" || disk >= 1<<63 {
				t.Errorf("node type %q: %+v", name, nt)
			}
		}
	})
}

func FuzzLoadAgent(f *testing.F) {
	seed(f, "testdata/agent.*.yml")
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := LoadAgent("f", data)
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		if a.DataDir == "" || a.Drivers == nil || a.Overcommit.Memory <= 0 || a.BMC.IPMIPorts.First < 1 || a.BMC.RedfishPort < 0 {
			t.Errorf("agent lacks a default: %+v", a)
		}
	})
}
