package daemon

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"tenks/bmc/pdu"
	"tenks/bmc/record"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// meshPDU are the mesh's PDUs at this peer. It switches the outlets of the nodes here, and
// has other peers switch those of theirs.
type meshPDU struct {
	a *agent

	// mu guards what follows. Only update changes it.
	mu     sync.Mutex
	server *pdu.Server
	err    error
	// peers says where the nodes with an outlet are, by UUID.
	peers map[string]string
}

// update opens the port once there are PDUs, and closes it when there are none. What
// another peer has to be asked for is asked for once each time.
func (m *meshPDU) update(ctx context.Context, snap *state.Snapshot) error {
	units, peers := unitsOf(snap)
	if len(units) > 0 && !m.a.newest.isWhole() {
		m.complete(ctx, units, peers)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peers = peers
	port := m.a.opt.Config.BMC.SNMPPort
	if len(units) == 0 || port == 0 {
		return m.close()
	}
	if m.server == nil {
		address := net.JoinHostPort(m.a.opt.Config.BMC.Address, strconv.Itoa(port))
		m.server, m.err = pdu.Listen(ctx, address, pdu.Config{Engine: snap.Mesh().ID + " " + m.a.mesh.ID(), Version: m.a.opt.Version,
			States: m.states, Switch: m.turn, Log: m.a.log})
	}
	if m.err != nil {
		return m.err
	}
	m.server.Update(units)
	return nil
}

// stop closes the port. It is called once nothing calls update any longer.
func (m *meshPDU) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.close() // a socket that does not close is the kernel's to mend
}

// close closes the port. The caller holds mu: nothing that the server waits for takes it for
// long.
func (m *meshPDU) close() error {
	server := m.server
	m.server, m.err = nil, nil
	if server == nil {
		return nil
	}
	m.mu.Unlock() // requests under way look where nodes are
	defer m.mu.Lock()
	return server.Close()
}

// unitsOf returns the PDUs that a state knows, by name, and where their nodes are.
func unitsOf(snap *state.Snapshot) (units []pdu.Unit, peers map[string]string) {
	peers = map[string]string{}
	at := map[string]int{}
	add := func(p state.PDU) int {
		i, ok := at[p.Name]
		if !ok {
			i, at[p.Name] = len(units), len(units)
			units = append(units, pdu.Unit{PDU: p})
		}
		return i
	}
	for _, c := range snap.Clusters() {
		for _, p := range c.PDUs {
			add(p)
		}
	}
	for _, n := range snap.Nodes() {
		if n.Outlet == nil {
			continue
		}
		i := add(n.Outlet.PDU)
		units[i].Outlets = append(units[i].Outlets, pdu.Outlet{Number: n.Outlet.Number, Node: n.Name, UUID: n.UUID})
		if n.Placement != nil {
			peers[n.UUID] = n.Placement.Hypervisor
		}
	}
	for i := range units {
		sortOutlets(units[i].Outlets)
	}
	return units, peers
}

func sortOutlets(o []pdu.Outlet) {
	slices.SortFunc(o, func(a, b pdu.Outlet) int { return cmp.Compare(a.Number, b.Number) })
}

// complete adds the outlets that a peer with the whole state knows of: this one knows those
// of its own nodes.
func (m *meshPDU) complete(ctx context.Context, units []pdu.Unit, peers map[string]string) {
	leader := m.a.mesh.LikelyLeader()
	if leader == "" || m.a.peerHTTP == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, powersTime)
	defer cancel()
	all, err := askPeer[[]api.PDU](ctx, m.a, leader, "/v1/pdus")
	if err != nil {
		m.a.log.DebugContext(ctx, "pdu: outlets of other hosts are not known", "err", err)
		return
	}
	for i := range units {
		u := &units[i]
		for _, p := range all {
			if p.Name != u.Name {
				continue
			}
			for _, o := range p.Outlets {
				if slices.ContainsFunc(u.Outlets, func(own pdu.Outlet) bool { return own.Number == o.Number || own.UUID == o.UUID }) {
					continue
				}
				u.Outlets = append(u.Outlets, pdu.Outlet{Number: o.Number, Node: o.Node, UUID: o.UUID})
				if o.Peer != "" {
					peers[o.UUID] = o.Peer
				}
			}
		}
		sortOutlets(u.Outlets)
	}
}

// peerOf returns the peer that has a node; empty: none.
func (m *meshPDU) peerOf(uuid string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peers[uuid]
}

// states implements pdu.Config's States.
func (m *meshPDU) states(ctx context.Context, outlets []pdu.Outlet) map[string]bool {
	uuids := make([]string, len(outlets))
	for i, o := range outlets {
		uuids[i] = o.UUID
	}
	return m.AllOutlets(ctx, uuids)
}

// turn implements pdu.Config's Switch.
func (m *meshPDU) turn(ctx context.Context, o pdu.Outlet, c pdu.Command) error {
	switch peer := m.peerOf(o.UUID); peer {
	case m.a.mesh.ID():
		return m.TurnOutlet(ctx, o.UUID, string(c))
	case "":
		return fmt.Errorf("node %s is not placed: %w", o.Node, state.ErrBusy)
	default:
		return m.send(ctx, peer, o.UUID, c)
	}
}

// send has another peer switch an outlet.
func (m *meshPDU) send(ctx context.Context, peer, uuid string, c pdu.Command) error {
	if m.a.peerHTTP == nil {
		return errNoPeers
	}
	body, err := json.Marshal(api.OutletRequest{Command: string(c)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+peer+"/v1/nodes/"+url.PathEscape(uuid)+"/outlet", bytes.NewReader(body))
	if err != nil {
		return err
	}
	api.Forward(req.Header, m.a.mesh.ID())
	resp, err := m.a.peerHTTP.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w: peer %s: %w", state.ErrBusy, peer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var why api.ErrorBody
	_ = json.NewDecoder(resp.Body).Decode(&why) // without one, the status is what there is to say
	err = errors.New(cmp.Or(why.Error, resp.Status))
	if resp.StatusCode == http.StatusServiceUnavailable {
		return fmt.Errorf("%w: %w", state.ErrBusy, err)
	}
	return err
}

// plug returns the plug of a node here.
func (m *meshPDU) plug(n *state.Node) (pdu.Plug, bool) {
	c, ok := m.a.Chassis(n.UUID)
	return pdu.Plug{Chassis: c, Bare: n.Machine.IronicDriver == state.ProtocolSNMP}, ok
}

// Outlets implements api.PDUs.
func (m *meshPDU) Outlets() map[string]bool {
	out := map[string]bool{}
	snap, _ := m.a.source.Snapshot()
	for _, n := range snap.NodesOn(m.a.mesh.ID()) {
		if n.Outlet == nil {
			continue
		}
		if p, ok := m.plug(n); ok {
			out[n.UUID] = p.IsOn()
		}
	}
	return out
}

// AllOutlets implements api.PDUs.
func (m *meshPDU) AllOutlets(ctx context.Context, uuids []string) map[string]bool {
	own, others := false, map[string]bool{}
	for _, uuid := range uuids {
		switch peer := m.peerOf(uuid); peer {
		case m.a.mesh.ID():
			own = true
		case "":
		default:
			others[peer] = true
		}
	}
	out := map[string]bool{}
	if own {
		out = m.Outlets()
	}
	if len(others) > 0 {
		for _, states := range askPeers[map[string]bool](ctx, m.a, slices.Collect(maps.Keys(others)), "/v1/outlets") {
			maps.Copy(out, states)
		}
	}
	return out
}

// TurnOutlet implements api.PDUs.
func (m *meshPDU) TurnOutlet(ctx context.Context, uuid, command string) error {
	snap, _ := m.a.source.Snapshot()
	n, ok := snap.Node(uuid)
	if !ok || n.Outlet == nil {
		return fmt.Errorf("node %s: %w", uuid, state.ErrNotFound)
	}
	p, ok := m.plug(n)
	if !ok {
		return fmt.Errorf("node %s: no chassis yet: %w", n.Name, state.ErrBusy)
	}
	begun := time.Now()
	err := p.Turn(ctx, pdu.Command(command))
	m.a.bmcs.Note(uuid, record.Call{At: time.Now(), Took: time.Since(begun), Protocol: "snmp", Method: "outlet " + command, Result: resultOf(err),
		User: n.Outlet.PDU.Name})
	return err
}

// resultOf is an error in the words of the record.
func resultOf(err error) string {
	switch {
	case err == nil:
		return record.OK
	case errors.Is(err, state.ErrBusy):
		return "busy"
	}
	return "failed"
}

// ready says why a node that has only an outlet cannot be reached here, or nil.
func (m *meshPDU) ready(n *state.Node) error {
	if n.Machine.IronicDriver != state.ProtocolSNMP {
		return nil
	}
	if m.a.opt.Config.BMC.SNMPPort == 0 {
		return errors.New("this host has no PDUs: bmc.snmp_port is 0 in its agent.yml")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil:
		return fmt.Errorf("this host's PDUs do not listen: %w", m.err)
	case m.server == nil:
		return errors.New("its PDU is not open yet")
	}
	return nil
}

// check is doctor's finding.
func (m *meshPDU) check() api.Check {
	c := m.a.opt.Config.BMC
	out := api.Check{Name: "pdu", State: "ok", Detail: "udp " + net.JoinHostPort(c.Address, strconv.Itoa(c.SNMPPort))}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case c.SNMPPort == 0:
		out.Detail = "off: bmc.snmp_port is 0"
	case m.err != nil:
		out.State, out.Detail = "warning", m.err.Error()
		out.Fix = "it is retried; another port: bmc.snmp_port in agent.yml, then restart the agent"
	case m.server == nil:
		out.Detail = "closed: no cluster that this host knows of has a PDU"
	}
	return out
}
