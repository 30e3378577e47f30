package daemon

import (
	"os"
	"sync"
	"testing"
)

// look has several ask for the agent of a directory until do returns, and checks
// that none of them gets a wrong answer.
func look(t *testing.T, dir string, wrong int, do func()) {
	t.Helper()
	stop := make(chan struct{})
	var lookers sync.WaitGroup
	for range 4 {
		lookers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if pid := PID(dir); pid == wrong {
					t.Errorf("PID is %d", pid)
					return
				}
			}
		})
	}
	do()
	close(stop)
	lookers.Wait()
}

func TestThoseWhoLookDoNotTakeEachOtherForAnAgent(t *testing.T) {
	dir := t.TempDir()
	// What an agent leaves that was killed.
	if err := os.WriteFile(PathsOf(dir).Lock, []byte("4194304999"), 0o600); err != nil {
		t.Fatal(err)
	}
	look(t, dir, 4194304999, func() {
		for range 2000 {
			if pid := PID(dir); pid != 0 {
				t.Errorf("PID is %d", pid)
				return
			}
		}
	})
}

func TestAnAgentStartsWhileOthersLook(t *testing.T) {
	dir := t.TempDir()
	look(t, dir, -1, func() {
		for range 100 {
			lock, err := acquire(PathsOf(dir).Lock)
			if err != nil {
				t.Error(err)
				return
			}
			if err := lock.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
