package consensus

import (
	"errors"
	"strings"
	"testing"
)

// A second transfer that Raft is asked for while it still has the first one's question to
// a peer would leave this peer unable to work when it leads again.
func TestATransferThatFailedIsNotRepeatedAtOnce(t *testing.T) {
	m := threeVoters(t)
	lead := m.leader(t)
	others := m.others(lead)
	if err := m.logs[lead].Transfer(t.Context(), "nobody"); err == nil || errors.Is(err, ErrNotLeader) {
		t.Errorf("to nobody: %v", err)
	}
	m.cut(lead, others[0])
	if err := m.logs[lead].Transfer(t.Context(), others[0]); err == nil || errors.Is(err, ErrNotLeader) {
		t.Errorf("to a peer that is cut off: %v", err)
	}
	for _, to := range append(others, "") {
		if err := m.logs[lead].Transfer(t.Context(), to); err == nil || !strings.Contains(err.Error(), "try again in 3") {
			t.Errorf("once more, to %q: %v", to, err)
		}
	}
	m.mend(lead, others[0])
	// Another term is another matter.
	m.cutOff(lead)
	next := m.leader(t, lead)
	m.rejoin(lead)
	m.write(t, "by the next leader")
	m.everywhere(t, "by the next leader", m.ids...)
	eventually(t, "back to the old leader", func() bool {
		return m.logs[lead].IsLeader() || m.logs[next].Transfer(t.Context(), lead) == nil
	})
	eventually(t, "it leads", m.logs[lead].IsLeader)
	m.write(t, "by the old leader")
	if err := m.logs[lead].Transfer(t.Context(), others[1]); err != nil {
		t.Errorf("in another term: %v", err)
	}
}
