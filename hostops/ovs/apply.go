package ovs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

const (
	// settleTimeout bounds what a step waits for ovs-vswitchd to carry it out.
	settleTimeout = 5 * time.Second
	// settlePoll is how often it looks.
	settlePoll = 5 * time.Millisecond
)

// Apply carries out one step of a plan, and waits until ovs-vswitchd did. It may be
// repeated, and looks again whether something is ours before it changes it.
func (h *Host) Apply(ctx context.Context, s Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Op == OpConflict {
		return errors.New(s.Reason)
	}
	if err := h.apply(ctx, s); err != nil {
		return fmt.Errorf("Open vSwitch: %s %s: %w", s.Op, s.Subject(), err)
	}
	h.cfg.Log.DebugContext(ctx, "open vswitch changed", "step", s.String(), "node", s.Node)
	return nil
}

func (h *Host) apply(ctx context.Context, step Step) error {
	s, err := h.connected(ctx)
	if err != nil {
		return err
	}
	t, err := s.tables()
	if err != nil {
		return err
	}
	x := &transaction{session: s, tables: t, mesh: h.cfg.Mesh, settle: h.cfg.settle}
	switch step.Op {
	case OpBridge:
		err = x.bridge(step.Bridge)
	case OpPort:
		err = x.port(step.Port)
	case OpClosePort:
		err = x.closePort(step.Port.Name)
	case OpDeletePort:
		err = x.deletePort(step.Port.Name)
	case OpDeleteBridge:
		err = x.deleteBridge(step.Bridge.Name)
	default:
		err = fmt.Errorf("unknown operation %q", step.Op)
	}
	if err != nil || len(x.ops) == 0 {
		return err
	}
	// A patch port is not opened until the other end is there.
	if err := x.commit(ctx); err != nil || step.Op != OpPort || step.Port.Mark.Role == RolePort || step.Port.Peer != "" {
		return err
	}
	return s.opened(step.Port.Name)
}

// opened says why Open vSwitch, which has looked, could not open a port.
func (s *session) opened(port string) error {
	t, err := s.tables()
	if err != nil {
		return err
	}
	if i := t.iface(port); i != nil && i.Error != nil && *i.Error != "" {
		return fmt.Errorf("%s: see that nothing else uses %s, or map another device in agent.yml", *i.Error, port)
	}
	return nil
}

// Probe returns nil once ovs-vswitchd has looked at the configuration, which it is asked for.
func (h *Host) Probe(ctx context.Context) error {
	s, err := h.connected(ctx)
	if err != nil {
		return err
	}
	t, err := s.tables()
	if err != nil {
		return err
	}
	if err := (&transaction{session: s, tables: t, mesh: h.cfg.Mesh, settle: h.cfg.settle}).commit(ctx); err != nil {
		return fmt.Errorf("Open vSwitch: %w", err)
	}
	return nil
}

// transaction collects operations; the database carries out all of them or none.
type transaction struct {
	session *session
	tables  tables
	mesh    string
	settle  time.Duration
	ops     []ovsdb.Operation
}

func (x *transaction) add(ops []ovsdb.Operation, err error) error {
	x.ops = append(x.ops, ops...)
	return err
}

// create adds new rows. Their UUIDs are names, by which others in the transaction refer to them.
func (x *transaction) create(rows ...model.Model) error {
	var errs error
	for _, row := range rows {
		errs = errors.Join(errs, x.add(x.session.client.Create(row)))
	}
	return errs
}

// mutate adds a change of a set, map or number of an existing row.
func (x *transaction) mutate(row model.Model, field any, mutator ovsdb.Mutator, value any) error {
	return x.add(x.session.client.Where(row).Mutate(row, model.Mutation{Field: field, Mutator: mutator, Value: value}))
}

// put sets keys of a map and leaves the others.
func (x *transaction) put(row model.Model, field *map[string]string, values map[string]string) error {
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	return errors.Join(x.mutate(row, field, ovsdb.MutateOperationDelete, keys),
		x.mutate(row, field, ovsdb.MutateOperationInsert, values))
}

// update adds a change of whole columns of an existing row.
func (x *transaction) update(row model.Model, fields ...any) error {
	return x.add(x.session.client.Where(row).Update(row, fields...))
}

func (x *transaction) bridge(b Bridge) error {
	ids := Mark{Role: RoleBridge, Physnet: b.Physnet}.externalIDs(x.mesh)
	have := x.tables.bridge(b.Name)
	own := &interfaceRow{UUID: "own_interface", Name: b.Name, Type: kindInternal, MTURequest: &b.MTU}
	ownPort := &portRow{UUID: "own_port", Name: b.Name, Interfaces: []string{own.UUID}}
	if have == nil {
		row := &bridgeRow{UUID: "bridge", Name: b.Name, Ports: []string{ownPort.UUID}, DatapathType: b.Datapath,
			OtherConfig: map[string]string{configHWAddress: b.MAC}, ExternalIDs: ids}
		root := &rootRow{UUID: x.tables.root.UUID}
		return errors.Join(x.create(own, ownPort, row),
			x.mutate(root, &root.Bridges, ovsdb.MutateOperationInsert, []string{row.UUID}))
	}
	if parseMark(x.mesh, have.ExternalIDs).Role == "" && (!b.Adopt || have.ExternalIDs[keyMesh] != "") {
		return errors.New("it exists and is not ours")
	}
	row := &bridgeRow{UUID: have.UUID, DatapathType: b.Datapath}
	err := errors.Join(x.update(row, &row.DatapathType), x.put(row, &row.ExternalIDs, ids),
		x.put(row, &row.OtherConfig, map[string]string{configHWAddress: b.MAC}))
	if i := x.tables.iface(b.Name); i != nil {
		mtu := &interfaceRow{UUID: i.UUID, MTURequest: &b.MTU}
		return errors.Join(err, x.update(mtu, &mtu.MTURequest))
	}
	return errors.Join(err, x.create(own, ownPort), x.mutate(row, &row.Ports, ovsdb.MutateOperationInsert, []string{ownPort.UUID}))
}

func (x *transaction) port(p Port) error {
	bridge := x.tables.bridge(p.Bridge)
	if bridge == nil {
		return fmt.Errorf("there is no bridge %s", p.Bridge)
	}
	ids := p.Mark.externalIDs(x.mesh)
	want := &interfaceRow{UUID: "interface", Name: p.Name}
	if p.Peer != "" {
		want.Type, want.Options = kindPatch, map[string]string{optionPeer: p.Peer}
	}
	into := &bridgeRow{UUID: bridge.UUID}
	have := x.tables.port(p.Name)
	if have == nil {
		row := &portRow{UUID: "port", Name: p.Name, Interfaces: []string{want.UUID}, Tag: p.tag(), Trunks: p.Mark.trunks(), ExternalIDs: ids}
		return errors.Join(x.create(want, row), x.mutate(into, &into.Ports, ovsdb.MutateOperationInsert, []string{row.UUID}))
	}
	was := parseMark(x.mesh, have.ExternalIDs)
	if was.Role == "" && (!p.Adopt || have.ExternalIDs[keyMesh] != "") {
		return errors.New("it exists and is not ours")
	}
	row := &portRow{UUID: have.UUID, Tag: p.tag(), Trunks: p.Mark.trunks()}
	if was.Trunk != "" && p.Mark.Trunk == "" {
		ids[keyTrunk] = ""
	}
	err := x.put(row, &row.ExternalIDs, ids)
	if was.Trunk != p.Mark.Trunk {
		err = errors.Join(err, x.update(row, &row.Trunks))
	}
	if p.Tag != 0 || p.Mark.Role == RoleUplink {
		err = errors.Join(err, x.update(row, &row.Tag))
	}
	if in := x.tables.holder(have.UUID); in != nil && in.UUID != bridge.UUID {
		from := &bridgeRow{UUID: in.UUID}
		err = errors.Join(err, x.mutate(from, &from.Ports, ovsdb.MutateOperationDelete, []string{have.UUID}),
			x.mutate(into, &into.Ports, ovsdb.MutateOperationInsert, []string{have.UUID}))
	}
	return errors.Join(err, x.portInterface(have, want))
}

// portInterface sees to it that a port of ours has one interface, as wanted.
func (x *transaction) portInterface(port *portRow, want *interfaceRow) error {
	i := x.tables.iface(want.Name)
	if i == nil || len(port.Interfaces) != 1 || port.Interfaces[0] != i.UUID {
		row := &portRow{UUID: port.UUID, Interfaces: []string{want.UUID}}
		return errors.Join(x.create(want), x.update(row, &row.Interfaces))
	}
	row := &interfaceRow{UUID: i.UUID, Type: want.Type}
	var err error
	if i.Type != want.Type && (i.Type != "system" || want.Type != "") {
		err = x.update(row, &row.Type)
	}
	if want.Options[optionPeer] != i.Options[optionPeer] {
		err = errors.Join(err, x.mutate(row, &row.Options, ovsdb.MutateOperationDelete, []string{optionPeer}))
		if len(want.Options) > 0 {
			err = errors.Join(err, x.mutate(row, &row.Options, ovsdb.MutateOperationInsert, want.Options))
		}
	}
	return err
}

// tag is the port's VLAN as the column has it.
func (p Port) tag() *int {
	if p.Tag == 0 {
		return nil
	}
	return &p.Tag
}

// closePort makes of the port's interface one that Open vSwitch cannot open. Should the
// agent end then, the next plan sees an interface of another type than it should be.
func (x *transaction) closePort(name string) error {
	p := x.tables.port(name)
	if p == nil {
		return nil
	}
	if parseMark(x.mesh, p.ExternalIDs).Role == "" {
		return errors.New("it is not ours")
	}
	i := x.tables.iface(name)
	if i == nil {
		return nil
	}
	row := &interfaceRow{UUID: i.UUID, Type: kindPatch}
	return x.update(row, &row.Type)
}

func (x *transaction) deletePort(name string) error {
	p := x.tables.port(name)
	if p == nil {
		return nil
	}
	if parseMark(x.mesh, p.ExternalIDs).Role == "" {
		return errors.New("it is not ours")
	}
	in := x.tables.holder(p.UUID)
	if in == nil {
		return nil
	}
	from := &bridgeRow{UUID: in.UUID}
	return x.mutate(from, &from.Ports, ovsdb.MutateOperationDelete, []string{p.UUID})
}

func (x *transaction) deleteBridge(name string) error {
	b := x.tables.bridge(name)
	if b == nil {
		return nil
	}
	if parseMark(x.mesh, b.ExternalIDs).Role == "" {
		return errors.New("it is not ours")
	}
	for _, uuid := range b.Ports { // looked at again: somebody may have come since
		if p := x.tables.ports[uuid]; p != nil && p.Name != name && parseMark(x.mesh, p.ExternalIDs).Role == "" {
			return fmt.Errorf("port %s in it is not ours", p.Name)
		}
	}
	root := &rootRow{UUID: x.tables.root.UUID}
	return x.mutate(root, &root.Bridges, ovsdb.MutateOperationDelete, []string{b.UUID})
}

// commit sends the operations, and waits until ovs-vswitchd has the configuration that
// they led to, as ovs-vsctl(8) does: it counts them.
func (x *transaction) commit(ctx context.Context) error {
	root := &rootRow{UUID: x.tables.root.UUID}
	if err := x.mutate(root, &root.NextCfg, ovsdb.MutateOperationAdd, 1); err != nil {
		return err
	}
	x.ops = append(x.ops, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: tableRoot, Columns: []string{"next_cfg"}})
	bounded, cancel := context.WithTimeout(ctx, x.settle)
	defer cancel()
	results, err := x.session.client.Transact(bounded, x.ops...)
	if err != nil {
		return err
	}
	if failed, err := ovsdb.CheckOperationResults(results, x.ops); err != nil {
		return errors.Join(err, joined(failed))
	}
	rows := results[len(results)-1].Rows
	if len(rows) != 1 {
		return errors.New("the database has no configuration any longer")
	}
	number, ok := rows[0]["next_cfg"].(float64)
	if !ok {
		return fmt.Errorf("the database counts configurations with a %T", rows[0]["next_cfg"])
	}
	return x.session.settled(bounded, int(number))
}

func joined(failed []ovsdb.OperationError) error {
	errs := make([]error, 0, len(failed))
	for _, f := range failed {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// settled waits until ovs-vswitchd has a configuration.
func (s *session) settled(ctx context.Context, number int) error {
	ticker := time.NewTicker(settlePoll)
	defer ticker.Stop()
	for {
		t, err := s.tables()
		if err != nil {
			return err
		}
		if t.root.CurCfg >= number {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("ovs-vswitchd does not carry it out: look whether it runs")
		case <-ticker.C:
		}
	}
}
