package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// longPoll is how long a request with ?after= waits for a newer state.
const longPoll = 20 * time.Second

func (s *Server) nodes(w http.ResponseWriter, r *http.Request) error {
	snap, err := s.newer(r)
	if err != nil {
		return err
	}
	rows := snap.Nodes()
	if cluster := r.URL.Query().Get("cluster"); cluster != "" {
		rows = snap.NodesOf(cluster)
	}
	powers := s.allPowers(r, rows)
	out := []Node{}
	for _, n := range rows {
		out = append(out, s.view(snap, n, powers, r))
	}
	slices.SortStableFunc(out, compareNodes)
	writeIndexed(w, snap, out)
	return nil
}

// compareNodes orders tk2 before tk10.
func compareNodes(a, b Node) int {
	if a.Cluster != b.Cluster {
		if a.Cluster < b.Cluster {
			return -1
		}
		return 1
	}
	if len(a.Name) != len(b.Name) {
		return len(a.Name) - len(b.Name)
	}
	if a.Name < b.Name {
		return -1
	}
	return 1
}

// newer returns the newest snapshot; with ?after=INDEX it waits a while for one
// that is newer.
func (s *Server) newer(r *http.Request) (*state.Snapshot, error) {
	snap, changed := s.Source.Snapshot()
	text := r.URL.Query().Get("after")
	if text == "" {
		return snap, nil
	}
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, fail(http.StatusBadRequest, fmt.Errorf("after %q: not a log index", text))
	}
	timeout := time.NewTimer(longPoll)
	defer timeout.Stop()
	for snap.Index() <= after {
		select {
		case <-changed:
			snap, changed = s.Source.Snapshot()
		case <-timeout.C:
			return snap, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return snap, nil
}

func (s *Server) view(snap *state.Snapshot, n *state.Node, powers map[string]state.Power, r *http.Request) Node {
	power, ok := powers[n.UUID]
	if !ok {
		power = state.PowerUnknown
	}
	secrets := HideSecrets
	if r.URL.Query().Get("secrets") == "true" {
		secrets = ShowSecrets
	}
	host := ""
	if n.Placement != nil {
		host = hypervisorName(snap, n.Placement.Hypervisor)
	}
	at, _ := snap.BMC(n)
	return NodeView(n, host, at, power, secrets)
}

func (s *Server) findNode(r *http.Request) (*state.Snapshot, *state.Node, error) {
	snap, _ := s.Source.Snapshot()
	name := r.PathValue("name")
	n, ok := snap.NodeByName(name)
	if !ok {
		n, ok = snap.Node(name)
	}
	if !ok {
		return nil, nil, fail(http.StatusNotFound, fmt.Errorf("node %q: not found; see tenks node list", name))
	}
	return snap, n, nil
}

func (s *Server) node(w http.ResponseWriter, r *http.Request) error {
	snap, n, err := s.findNode(r)
	if err != nil {
		return err
	}
	writeIndexed(w, snap, s.view(snap, n, s.allPowers(r, []*state.Node{n}), r))
	return nil
}

func (s *Server) removeNode(w http.ResponseWriter, r *http.Request) error {
	var req DestroyRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	_, n, err := s.findNode(r)
	if err != nil {
		return err
	}
	if !req.Forget {
		if err := s.refuseUsed(r.Context(), []*state.Node{n}, req.Force); err != nil {
			return err
		}
	}
	index, err := s.Propose(r.Context(), "", state.RemoveNodes{Nodes: []state.NodeRemoval{
		{UUID: n.UUID, Force: req.Force, Forget: req.Forget}}})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, map[string]uint64{"index": index})
	return nil
}

func (s *Server) findChassis(r *http.Request) (*state.Node, bmc.Chassis, error) {
	snap, n, err := s.findNode(r)
	if err != nil {
		return nil, nil, err
	}
	c, ok := s.Host.Chassis(n.UUID)
	if ok {
		return n, c, nil
	}
	if n.Placement == nil {
		return nil, nil, fail(http.StatusConflict, fmt.Errorf("node %s is not placed yet: %s", n.Name, n.Unplaced))
	}
	return nil, nil, fail(http.StatusConflict, fmt.Errorf("node %s is not there yet on %s", n.Name,
		hypervisorName(snap, n.Placement.Hypervisor)))
}

func (s *Server) chassis(w http.ResponseWriter, r *http.Request) error {
	_, c, err := s.findChassis(r)
	if err != nil {
		return err
	}
	st := c.Status()
	writeJSON(w, http.StatusOK, Chassis{Power: string(st.Power), BootDevice: string(st.Boot.Device),
		Persistent: st.Boot.Persistent, EFI: st.Boot.EFI, RestorePolicy: string(st.Policy)})
	return nil
}

// actions are the words of the API; nmi is what people call a diagnostic
// interrupt.
var actions = map[string]state.PowerAction{
	"on": state.ActionOn, "off": state.ActionOff, "soft": state.ActionSoft,
	"cycle": state.ActionCycle, "reset": state.ActionReset, "nmi": state.ActionDiag,
}

func (s *Server) power(w http.ResponseWriter, r *http.Request) error {
	var req PowerRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	action, ok := actions[req.Action]
	if !ok {
		return fail(http.StatusBadRequest, fmt.Errorf("power action %q: not one of on, off, soft, cycle, reset, nmi", req.Action))
	}
	n, c, err := s.findChassis(r)
	if err != nil {
		return err
	}
	if err := c.Power(r.Context(), action); err != nil {
		return fmt.Errorf("node %s: power %s: %w", n.Name, req.Action, err)
	}
	return s.chassis(w, r)
}

// bootDevices are the words of the API.
var bootDevices = map[string]state.BootDevice{
	"none": state.BootNone, "": state.BootNone, "pxe": state.BootPXE, "disk": state.BootDisk,
	"cdrom": state.BootCDROM, "usb": state.BootUSB, "bios": state.BootSetup,
}

func (s *Server) boot(w http.ResponseWriter, r *http.Request) error {
	var req BootRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	device, ok := bootDevices[req.Device]
	if !ok {
		return fail(http.StatusBadRequest, fmt.Errorf("boot device %q: not one of none, pxe, disk, cdrom, usb, bios", req.Device))
	}
	n, c, err := s.findChassis(r)
	if err != nil {
		return err
	}
	if err := c.SetBoot(r.Context(), state.Boot{Device: device, Persistent: req.Persistent, EFI: req.EFI}); err != nil {
		return fmt.Errorf("node %s: boot %s: %w", n.Name, req.Device, err)
	}
	return s.chassis(w, r)
}

// ConsoleProtocol is the word in the Upgrade header of a console request.
const ConsoleProtocol = "tenks-console"

func (s *Server) console(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Upgrade") != ConsoleProtocol {
		return fail(http.StatusUpgradeRequired, errors.New("console: the request must carry Upgrade: "+ConsoleProtocol))
	}
	if done, err := s.atHost(w, r); done || err != nil {
		return err
	}
	_, n, err := s.findNode(r)
	if err != nil {
		return err
	}
	console, err := s.Host.Console(r.Context(), n.UUID)
	if err != nil {
		return fmt.Errorf("node %s: console: %w", n.Name, err)
	}
	defer console.Close()
	return bridge(r.Context(), w, console)
}
