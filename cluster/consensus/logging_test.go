package consensus

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheSameComplaintIsLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := leveled(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func(want int, when string) {
			t.Helper()
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Errorf("%s: %d lines, want %d:\n%s", when, got, want, out.String())
			}
		}
		for range 10 {
			l.Error("failed to heartbeat to", "peer", "a", "error", "refused")
		}
		lines(1, "ten times the same")
		l.Error("failed to heartbeat to", "peer", "b", "error", "refused")
		lines(2, "another peer")
		l.Error("failed to appendEntries to", "peer", "b", "error", "refused")
		lines(3, "another complaint")
		<-time.After(sayAgain)
		l.Error("failed to heartbeat to", "peer", "a", "error", "refused")
		lines(4, "later")
	})
}
