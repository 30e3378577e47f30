package raftfsm

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"tenks/raftfsm/state"
)

// entryFormat is the first byte of a log entry: 1 means CBOR of an entry.
const entryFormat = 1

// entry is a state.Envelope in the log. Its keys never change; new ones may be
// added, and are ignored by older versions.
type entry struct {
	Request   string          `cbor:"request,omitempty"`
	UnixMilli int64           `cbor:"time,omitempty"`
	Kind      string          `cbor:"kind"`
	Body      cbor.RawMessage `cbor:"body"`
}

// Limits of what is encoded and decoded: an entry comes from a peer of ours, but a
// damaged one must not take the memory that it claims to need.
const (
	maxNesting  = 32
	maxElements = 1 << 20
	// maxEntry bounds an entry, in bytes. A row is made of a few entries at most, so
	// that this bounds rows too: see maxRecord. 2,000 new nodes take about 2 MB.
	maxEntry = 8 << 20
)

var encoder, decoder = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	// Core deterministic encoding (RFC 8949 §4.2.1): equal values give equal bytes,
	// which the digests of states rely on.
	e, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	d, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: maxNesting,
		MaxArrayElements: maxElements, MaxMapPairs: maxElements, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		// The text of an error may be another program's output: any bytes.
		UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		panic(err)
	}
	return e, d
}

// Encode returns the log entry of a command. It refuses what Decode would not
// understand: that, once in the log, would stop every peer.
func Encode(e state.Envelope) ([]byte, error) {
	kind := state.Kind(e.Command)
	if _, ok := commands[kind]; !ok {
		return nil, fmt.Errorf("command %q: encode: not a kind that the log knows", kind)
	}
	body, err := encoder.Marshal(e.Command)
	if err != nil {
		return nil, fmt.Errorf("command %s: encode: %w", kind, err)
	}
	b, err := encoder.Marshal(entry{Request: e.Request, UnixMilli: e.UnixMilli, Kind: kind, Body: body})
	if err != nil {
		return nil, fmt.Errorf("command %s: encode: %w", kind, err)
	}
	b = append([]byte{entryFormat}, b...)
	if _, err := Decode(b); err != nil {
		return nil, fmt.Errorf("command %s: encode: it could not be read: %w", kind, err)
	}
	return b, nil
}

// Decode reads a log entry. Errors: state.ErrNewer for a format or kind that this
// version does not know.
func Decode(b []byte) (state.Envelope, error) {
	switch {
	case len(b) == 0:
		return state.Envelope{}, errors.New("empty")
	case len(b) > maxEntry:
		return state.Envelope{}, fmt.Errorf("%d bytes, at most %d are allowed: make the change in parts", len(b), maxEntry)
	case b[0] != entryFormat:
		return state.Envelope{}, fmt.Errorf("format %d: %w", b[0], state.ErrNewer)
	}
	var e entry
	if err := decoder.Unmarshal(b[1:], &e); err != nil {
		return state.Envelope{}, fmt.Errorf("decode: %w", err)
	}
	read, ok := commands[e.Kind]
	if !ok {
		return state.Envelope{}, fmt.Errorf("command %q: %w", e.Kind, state.ErrNewer)
	}
	c, err := read(e.Body)
	if err != nil {
		return state.Envelope{}, fmt.Errorf("command %s: decode: %w", e.Kind, err)
	}
	return state.Envelope{Request: e.Request, UnixMilli: e.UnixMilli, Command: c}, nil
}

// commands reads the body of each kind of command. A kind stays here for ever,
// under the word that is in the log, whatever its type is called.
var commands = map[string]func([]byte) (state.Command, error){
	"set-mesh":       body[state.SetMesh],
	"put-hypervisor": body[state.PutHypervisor],
	"apply-cluster":  body[state.ApplyCluster],
	"remove-cluster": body[state.RemoveCluster],
	"remove-nodes":   body[state.RemoveNodes],
	"place-nodes":    body[state.PlaceNodes],
	"report-host":    body[state.ReportHost],
	"report-ironic":  body[state.ReportIronic],
	"report-flavors": body[state.ReportFlavors],

	"put-keys":        body[state.PutKeys],
	"put-token":       body[state.PutToken],
	"revoke-token":    body[state.RevokeToken],
	"admit-peer":      body[state.AdmitPeer],
	"put-peer":        body[state.PutPeer],
	"set-roles":       body[state.SetRoles],
	"mark-peers":      body[state.MarkPeers],
	"declare-lost":    body[state.DeclareLost],
	"drain-peer":      body[state.DrainPeer],
	"leave-peer":      body[state.LeavePeer],
	"remove-peer":     body[state.RemovePeer],
	"unplace-nodes":   body[state.UnplaceNodes],
	"bump-generation": body[state.BumpGeneration],
	"drop-tokens":     body[state.DropTokens],

	"start-moves":      body[state.StartMoves],
	"report-moves":     body[state.ReportMoves],
	"finish-move":      body[state.FinishMove],
	"cancel-moves":     body[state.CancelMoves],
	"report-discarded": body[state.ReportDiscarded],

	"add-fault":  body[state.AddFault],
	"end-faults": body[state.EndFaults],
	"set-audit":  body[state.SetAudit],
	"set-quota":  body[state.SetQuota],

	"recover-nodes": body[state.RecoverNodes],
	"raise-level":   raiseLevel,
}

func body[C state.Command](b []byte) (state.Command, error) {
	var c C
	err := decoder.Unmarshal(b, &c)
	return c, err
}
