package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"tenks/cluster/transport"
	"tenks/raftfsm/state"
)

// Moves is what a node's files are read by that moves away from here. Errors: those of
// hostops' Outgoing.
type Moves interface {
	// Luggage returns what the node consists of; to is who asks.
	Luggage(ctx context.Context, uuid, to string) (Luggage, error)
	// Chunk returns a part of a file; nil: there is nothing but zeros.
	Chunk(ctx context.Context, uuid, to string, file int, offset, length int64) ([]byte, error)
}

// Luggage is what a node takes along that moves to another host.
type Luggage struct {
	// Start is the log index at which the move began.
	Start uint64        `json:"start"`
	Files []LuggageFile `json:"files"`
	// Notes are the driver's, Chassis those of the node's chassis.
	Notes   []byte `json:"notes,omitempty"`
	Chassis []byte `json:"chassis,omitempty"`
}

// LuggageFile is a file of a node.
type LuggageFile struct {
	Name string `json:"name"`
	// Size is in bytes, Modified in nanoseconds since 1970.
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"`
	// Image is the path of the file that this one is a difference to, and ImageSum that
	// file's SHA-256, in hexadecimal; empty: none.
	Image    string `json:"image,omitempty"`
	ImageSum string `json:"image_sum,omitempty"`
	// Data are the parts that are more than a hole, in order: offset and length, in
	// bytes, in multiples of MoveChunk but for the file's end.
	Data [][2]int64 `json:"data,omitempty"`
}

// MoveChunk is how much of a file is asked for at a time, in bytes.
const MoveChunk = 4 << 20

// SumHeader carries the SHA-256 of a chunk, in hexadecimal.
const SumHeader = "Tenks-SHA256"

func (s *Server) moveRoutes() []route {
	return []route{
		{"GET", "/v1/moves/{uuid}/files", "what a node consists of that moves from this host to the peer that asks", s.luggage},
		{"GET", "/v1/moves/{uuid}/files/{file}", "a part of one of these files, by Range; 204: only zeros", s.moveChunk},
	}
}

// mover returns who asks for a node's files: another peer, whose certificate says who it
// is.
func (s *Server) mover(r *http.Request) (string, error) {
	switch peer := transport.PeerOf(r.Context()); {
	case s.Moves == nil:
		return "", fmt.Errorf("move: %w", state.ErrUnsupported)
	case peer == "":
		return "", fail(http.StatusForbidden, errors.New("only the peer that a node moves to may read its files"))
	default:
		return peer, nil
	}
}

func (s *Server) luggage(w http.ResponseWriter, r *http.Request) error {
	peer, err := s.mover(r)
	if err != nil {
		return err
	}
	l, err := s.Moves.Luggage(r.Context(), r.PathValue("uuid"), peer)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, l)
	return nil
}

func (s *Server) moveChunk(w http.ResponseWriter, r *http.Request) error {
	peer, err := s.mover(r)
	if err != nil {
		return err
	}
	file, err := strconv.Atoi(r.PathValue("file"))
	if err != nil {
		return fail(http.StatusBadRequest, fmt.Errorf("file %q: not a number", r.PathValue("file")))
	}
	offset, length, err := parseRange(r.Header.Get("Range"))
	if err != nil {
		return fail(http.StatusRequestedRangeNotSatisfiable, err)
	}
	b, err := s.Moves.Chunk(r.Context(), r.PathValue("uuid"), peer, file, offset, length)
	if err != nil {
		return err
	}
	if b == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	sum := sha256.Sum256(b)
	w.Header().Set(SumHeader, hex.EncodeToString(sum[:]))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(b) // a peer that has gone cannot be told so
	return nil
}

// Range is the header that asks for a part of a file.
func Range(offset, length int64) string { return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1) }

// parseRange reads what Range wrote.
func parseRange(text string) (offset, length int64, err error) {
	var last int64
	if _, err := fmt.Sscanf(text, "bytes=%d-%d", &offset, &last); err != nil {
		return 0, 0, fmt.Errorf("range %q: want bytes=FIRST-LAST", text)
	}
	if offset < 0 || last < offset || last-offset >= MoveChunk {
		return 0, 0, fmt.Errorf("range %q: want 1 to %d bytes", text, MoveChunk)
	}
	return offset, last - offset + 1, nil
}

// NodeMove is a node's move, or what it waits for to move, in "peer show -o json".
type NodeMove struct {
	Node string `json:"node"`
	// To is empty for a node that waits.
	To     string `json:"to"`
	Done   uint64 `json:"done_bytes"`
	Total  uint64 `json:"total_bytes"`
	Reason string `json:"reason"`
}

// movesOf are the moves of nodes on a hypervisor, by name.
func movesOf(snap *state.Snapshot, hypervisor string) []NodeMove {
	var out []NodeMove
	for _, n := range snap.NodesOn(hypervisor) {
		if n.Move != nil {
			out = append(out, NodeMove{Node: n.Name, To: n.Move.Name, Done: n.Move.Done, Total: n.Move.Total, Reason: n.Move.Error})
		}
	}
	return out
}

// DrainRequest asks for a peer's nodes to move away.
type DrainRequest struct {
	// StopMilli is how long guests get to shut down, in milliseconds; 0: nodes that are
	// on are waited for.
	StopMilli int64 `json:"stop_milli,omitempty"`
	// IgnorePins moves nodes that are pinned to the peer, too, and pins them no longer; without
	// it a drain of a peer that has such is refused.
	IgnorePins bool `json:"ignore_pins,omitempty"`
}
