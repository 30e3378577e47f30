package api

import (
	"errors"
	"net/http"

	"tenks/raftfsm"
)

// backup answers with the whole state as a file: everything that was acknowledged
// before, or, with ?stale=true, what this peer has.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("stale") != "true" {
		if err := s.Mesh.Current(r.Context()); err != nil {
			return err
		}
	}
	if !s.Mesh.Whole() {
		return fail(http.StatusServiceUnavailable, errors.New("this peer has only its part of the state: ask one that follows the log, see tenks raft list"))
	}
	snap, _ := s.Source.Snapshot()
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := raftfsm.WriteSnapshot(w, snap); err != nil && r.Context().Err() == nil {
		// What was sent ends without its checksum, and so is no backup.
		s.Log.WarnContext(r.Context(), "backup not sent", "err", err)
	}
	return nil
}
