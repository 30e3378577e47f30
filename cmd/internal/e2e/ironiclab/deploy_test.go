package ironiclab

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tenks/cmd/internal/e2e/ironiclab/gpt"
)

func TestIntegrationImagesAreMadeOnceAndAreWholeDisks(t *testing.T) {
	Require(t)
	began := time.Now()
	first, err := Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("images after %.1f s", time.Since(began).Seconds())
	began = time.Now()
	second, err := Images(t.Context())
	if err != nil || first != second {
		t.Errorf("a second time: %+v, %v, was %+v", second, err, first)
	}
	t.Logf("a second time after %.1f s", time.Since(began).Seconds())
	f, err := os.Open(first.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := gpt.Read(f)
	if err != nil || len(table.Partitions) != 2 || table.Partitions[1].Type != gpt.ESP {
		t.Fatalf("the disk has %+v, %v", table, err)
	}
	for _, name := range []string{first.Agent.Kernel, first.Agent.Initrd, first.Guest.Kernel, first.Guest.Initrd, first.Bootloader} {
		if i, err := os.Stat(name); err != nil || i.Size() == 0 {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
}
