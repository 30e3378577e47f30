package histories

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"
)

// The environment's say: how many seeds are run, or which one.
const (
	seedsEnv = "TENKS_SEEDS"
	seedEnv  = "TENKS_SEED"
	// usual is how many are run if nothing is said.
	usual = 6
	// atOnce is how many run at a time.
	atOnce = 2
	// checking bounds the check of one history.
	checking = 2 * time.Minute
)

// memberlist's last probe ends an interval after its list: nobody can wait for it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"))
}

// seeds are those that are asked for.
func seeds(t *testing.T) []uint64 {
	number := func(name string, otherwise uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s: %v", name, text, err)
		}
		return n
	}
	if one := number(seedEnv, 0); one > 0 {
		return []uint64{one}
	}
	var out []uint64
	for i := range number(seedsEnv, usual) {
		out = append(out, i+1)
	}
	return out
}

func TestWhatWasAcknowledgedIsThereOnceAndReadsAreLinearizable(t *testing.T) {
	turns := make(chan struct{}, atOnce)
	var sum totals
	t.Cleanup(func() { t.Log(sum.String()) })
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			one(t, seed, &sum)
		})
	}
}

// memory is a file system in memory: a process that ends loses nothing that it did not
// sync, so that waiting for a disk would test nothing more.
const memory = "/dev/shm"

// directory is where hosts keep their files.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory, "histories-") //nolint:usetesting // t.TempDir may be on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// one runs one seed and checks it.
func one(t *testing.T, seed uint64, sum *totals) {
	dir := directory(t)
	said, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	p := newPlan(seed, unrest)
	var w *world
	begun := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, p, dir, slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelInfo})))
		defer w.close()
		w.make()
		w.unrest()
		w.heal()
	})
	for _, f := range w.watch.check(w.history) {
		t.Error(f)
	}
	result, info := porcupine.CheckOperationsVerbose(registers, w.history.all(), checking)
	if result != porcupine.Ok {
		t.Errorf("the history is not linearizable: %s", result)
	}
	sum.add(w, time.Since(begun))
	t.Log(w.summary(time.Since(begun)))
	for _, text := range slices.Sorted(maps.Keys(w.strange)) {
		t.Logf("%d × %s", w.strange[text], text)
	}
	if t.Failed() {
		keep(t, w, info, said.Name())
	}
}

// keep writes down what is needed to look into a failure.
func keep(t *testing.T, w *world, info porcupine.LinearizationInfo, said string) {
	dir, err := os.MkdirTemp("", "histories-seed-") //nolint:usetesting // it is to be there after the test
	if err != nil {
		t.Fatal(err)
	}
	picture := filepath.Join(dir, "history.html")
	if err := porcupine.VisualizePath(registers, info, picture); err != nil {
		t.Error(err)
	}
	if err := copyFile(filepath.Join(dir, "log"), said); err != nil {
		t.Error(err)
	}
	t.Logf("%v\nThe history is in %s, what the peers said beside it. Again: %s=%d go test -run %s ./cmd/internal/histories",
		w.plan, picture, seedEnv, w.plan.seed, "TestWhatWasAcknowledged")
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
