package pdu

import (
	"cmp"
	"slices"
)

// view is a unit as a request sees it.
type view struct {
	unit *Unit
	// version is the firmware's, engine what this agent is.
	version, engine string
	boots, seconds  int
	// ticks is how long the agent runs, in hundredths of a second.
	ticks int64
	// on are the states of outlets that were asked for, by UUID.
	on map[string]bool
}

// object is a scalar, or a column of a table that has a row for each outlet.
type object struct {
	prefix oid
	scalar bool
	// get returns the value; o is the row's outlet.
	get func(v *view, o Outlet) value
	// needs says that get reads the outlet's state.
	needs bool
	// commands are the integers that may be written; nil: it is read-only. An empty Command
	// changes nothing.
	commands map[int64]Command
}

// resolved is one instance of an object.
type resolved struct {
	object *object
	outlet Outlet
}

func (r resolved) name() oid {
	if r.object.scalar {
		return slices.Concat(r.object.prefix, oid{0})
	}
	return slices.Concat(r.object.prefix, oid{uint32(r.outlet.Number)}) //nolint:gosec // numbers of outlets are small
}

func (r resolved) bind(v *view) bind { return bind{r.name(), r.object.get(v, r.outlet)} }

// find returns the instance of a name; if there is none, whether there is such an object.
func (u *Unit) find(name oid) (r resolved, found, known bool) {
	for i := range mib {
		o := &mib[i]
		if len(name) <= len(o.prefix) || !slices.Equal(name[:len(o.prefix)], o.prefix) {
			continue
		}
		index := name[len(o.prefix):]
		switch {
		case len(index) != 1:
			return r, false, true
		case o.scalar:
			return resolved{object: o}, index[0] == 0, true
		}
		at, ok := slices.BinarySearchFunc(u.Outlets, int(index[0]), func(o Outlet, n int) int { return cmp.Compare(o.Number, n) })
		if !ok {
			return r, false, true
		}
		return resolved{o, u.Outlets[at]}, true, true
	}
	// The object itself, without an instance.
	known = slices.ContainsFunc(mib, func(o object) bool { return slices.Equal(o.prefix, name) })
	return r, false, known
}

// next returns the first instance after a name.
func (u *Unit) next(name oid) (resolved, bool) {
	for i := range mib {
		o := &mib[i]
		if o.scalar {
			if r := (resolved{object: o}); slices.Compare(r.name(), name) > 0 {
				return r, true
			}
			continue
		}
		at, _ := slices.BinarySearchFunc(u.Outlets, name, func(outlet Outlet, name oid) int {
			if slices.Compare(resolved{o, outlet}.name(), name) > 0 {
				return 1
			}
			return -1
		})
		if at < len(u.Outlets) {
			return resolved{o, u.Outlets[at]}, true
		}
	}
	return resolved{}, false
}

func integer(n int64) value { return value{tag: tagInteger, number: n} }

func text(s string) value { return value{tag: tagOctetString, text: s} }

var (
	mib2System = oid{1, 3, 6, 1, 2, 1, 1}
	apc        = oid{1, 3, 6, 1, 4, 1, 318, 1, 1}
	snmpEngine = oid{1, 3, 6, 1, 6, 3, 10, 2, 1}
	// rackPDU is masterSwitchrPDU, what sysObjectID says.
	rackPDU = oid{1, 3, 6, 1, 4, 1, 318, 1, 3, 4, 5}
)

func scalarOf(base oid, get func(v *view) value, at ...uint32) object {
	return object{prefix: slices.Concat(base, at), scalar: true, get: func(v *view, _ Outlet) value { return get(v) }}
}

func column(get func(v *view, o Outlet) value, at ...uint32) object {
	return object{prefix: slices.Concat(apc, at), get: get}
}

func fixed(n int64) func(*view, Outlet) value {
	return func(*view, Outlet) value { return integer(n) }
}

func index(_ *view, o Outlet) value { return integer(int64(o.Number)) }

func nodeName(_ *view, o Outlet) value { return text(o.Node) }

// power is a column that says whether an outlet is on, and that switches it where it has
// commands.
func power(on, off, unknown int64, commands map[int64]Command, at ...uint32) object {
	return object{prefix: slices.Concat(apc, at), needs: true, commands: commands, get: func(v *view, o Outlet) value {
		is, known := v.on[o.UUID]
		switch {
		case !known:
			return integer(unknown)
		case is:
			return integer(on)
		}
		return integer(off)
	}}
}

func outlets(v *view) value {
	if n := len(v.unit.Outlets); n > 0 {
		return integer(int64(v.unit.Outlets[n-1].Number))
	}
	return integer(0)
}

// The commands. Delayed ones are as the immediate ones, because the delays are 0.
var (
	masterCommands = map[int64]Command{1: On, 2: Off, 3: Reboot, 5: On, 6: Off, 7: Reboot}
	plusCommands   = map[int64]Command{1: On, 3: Off}
	rackCommands   = map[int64]Command{1: On, 2: Off, 3: Reboot, 4: On, 5: Off, 6: Reboot, 7: ""}
	allCommands    = map[int64]Command{1: "", 2: On, 3: Off, 4: Reboot, 5: On, 6: Off, 7: Reboot}
)

// rebootDuration is how long a reboot keeps an outlet off, in seconds: not at all.
const rebootDuration = 0

// mib has all objects in the order of their identifiers.
var mib = sorted([]object{
	scalarOf(mib2System, func(v *view) value { return text("Tenks virtual rack PDU (APC PowerNet-MIB), version " + v.version) }, 1),
	scalarOf(mib2System, func(*view) value { return value{tag: tagOID, oid: rackPDU} }, 2),
	scalarOf(mib2System, func(v *view) value { return value{tag: tagTimeTicks, number: v.ticks} }, 3),
	scalarOf(mib2System, func(*view) value { return text("") }, 4),
	scalarOf(mib2System, func(v *view) value { return text(v.unit.Name) }, 5),
	scalarOf(mib2System, func(*view) value { return text("") }, 6),
	scalarOf(mib2System, func(*view) value { return integer(72) }, 7),

	// sPDUOutletControlTableSize and sPDUOutletControlTable: what Ironic calls apc_masterswitch.
	scalarOf(apc, outlets, 4, 4, 1),
	column(index, 4, 4, 2, 1, 1),
	column(fixed(2), 4, 4, 2, 1, 2), // no command pending
	power(1, 2, 4, masterCommands, 4, 4, 2, 1, 3),
	column(nodeName, 4, 4, 2, 1, 4),

	// sPDUOutletControlMSPOutletCommand, with the index that Ironic's apc_masterswitchplus has.
	power(1, 3, 8, plusCommands, 6, 5, 1, 1, 5),

	// rPDUIdent.
	scalarOf(apc, func(v *view) value { return text(v.unit.Name) }, 12, 1, 1),
	scalarOf(apc, func(*view) value { return text("1") }, 12, 1, 2),
	scalarOf(apc, func(v *view) value { return text(v.version) }, 12, 1, 3),
	scalarOf(apc, func(*view) value { return text("Tenks rPDU") }, 12, 1, 5),
	scalarOf(apc, func(v *view) value { return text(v.unit.Name) }, 12, 1, 6),
	scalarOf(apc, outlets, 12, 1, 8),

	// rPDUOutletDev: a command to all outlets, and how many there are.
	{prefix: slices.Concat(apc, oid{12, 3, 1, 1}), scalar: true, commands: allCommands, get: fixed(1)},
	scalarOf(apc, outlets, 12, 3, 1, 3),
	scalarOf(apc, outlets, 12, 3, 1, 4),

	// rPDUOutletControlTable: what Ironic calls apc_rackpdu.
	column(index, 12, 3, 3, 1, 1, 1),
	column(nodeName, 12, 3, 3, 1, 1, 2),
	column(fixed(1), 12, 3, 3, 1, 1, 3),
	power(1, 2, 8, rackCommands, 12, 3, 3, 1, 1, 4),
	column(fixed(1), 12, 3, 3, 1, 1, 5),

	// rPDUOutletConfigTable.
	column(index, 12, 3, 4, 1, 1, 1),
	column(nodeName, 12, 3, 4, 1, 1, 2),
	column(fixed(1), 12, 3, 4, 1, 1, 3),
	column(fixed(0), 12, 3, 4, 1, 1, 4), // on and off at once
	column(fixed(0), 12, 3, 4, 1, 1, 5),
	column(fixed(rebootDuration), 12, 3, 4, 1, 1, 6),
	column(fixed(1), 12, 3, 4, 1, 1, 7),

	// rPDUOutletStatusTable.
	column(index, 12, 3, 5, 1, 1, 1),
	column(nodeName, 12, 3, 5, 1, 1, 2),
	column(fixed(1), 12, 3, 5, 1, 1, 3),
	power(1, 2, 3, nil, 12, 3, 5, 1, 1, 4),
	column(fixed(2), 12, 3, 5, 1, 1, 5), // no command pending
	column(fixed(1), 12, 3, 5, 1, 1, 6),

	// snmpEngine (RFC 3411 §5).
	scalarOf(snmpEngine, func(v *view) value { return text(v.engine) }, 1),
	scalarOf(snmpEngine, func(v *view) value { return integer(int64(v.boots)) }, 2),
	scalarOf(snmpEngine, func(v *view) value { return integer(int64(v.seconds)) }, 3),
	scalarOf(snmpEngine, func(*view) value { return integer(maxMessage) }, 4),
})

func sorted(objects []object) []object {
	slices.SortFunc(objects, func(a, b object) int { return slices.Compare(a.prefix, b.prefix) })
	return objects
}
