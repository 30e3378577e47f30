package pdu

import (
	"context"
	"errors"
	"sync"

	"tenks/raftfsm/state"
)

// maxRows bounds what a GetBulk returns, in variables; the size of messages does, too.
const maxRows = 64

// switchesAtOnce bounds how many outlets a command to all of them switches at a time.
const switchesAtOnce = 16

// serve carries out a request. The answer is as SNMPv2 has it; see downgrade.
func (c *Config) serve(ctx context.Context, v *view, op operation) operation {
	switch op.tag {
	case tagSet:
		return c.set(ctx, v, op)
	case tagGetBulk:
		return c.bulk(ctx, v, op)
	}
	var cells []cell
	for _, b := range op.binds {
		if op.tag == tagGetNext {
			cells = append(cells, nextCell(v.unit, b.name))
			continue
		}
		cells = append(cells, getCell(v.unit, b.name))
	}
	return c.answer(ctx, v, op, cells)
}

// cell is a variable of an answer: an instance, or why there is none.
type cell struct {
	resolved
	name   oid
	absent byte
}

func getCell(u *Unit, name oid) cell {
	r, found, known := u.find(name)
	switch {
	case found:
		return cell{resolved: r}
	case known:
		return cell{name: name, absent: tagNoSuchInstance}
	}
	return cell{name: name, absent: tagNoSuchObject}
}

func nextCell(u *Unit, name oid) cell {
	if r, ok := u.next(name); ok {
		return cell{resolved: r}
	}
	return cell{name: name, absent: tagEndOfMibView}
}

// bulk is a GetBulkRequest (RFC 3416 §4.2.3).
func (c *Config) bulk(ctx context.Context, v *view, op operation) operation {
	alone := min(max(op.status, 0), len(op.binds))
	var cells []cell
	for _, b := range op.binds[:alone] {
		cells = append(cells, nextCell(v.unit, b.name))
	}
	var at []oid
	for _, b := range op.binds[alone:] {
		at = append(at, b.name)
	}
	for range max(op.index, 0) {
		ended := true
		for i := range at {
			n := nextCell(v.unit, at[i])
			if n.absent == 0 {
				at[i], ended = n.resolved.name(), false
			}
			cells = append(cells, n)
		}
		if ended || len(cells) >= maxRows {
			break
		}
	}
	return c.answer(ctx, v, op, cells[:min(len(cells), max(maxRows, alone))])
}

// answer reads the values of cells, states of outlets all at once.
func (c *Config) answer(ctx context.Context, v *view, op operation, cells []cell) operation {
	var ask []Outlet
	for _, one := range cells {
		if one.absent == 0 && one.object.needs {
			ask = append(ask, one.outlet)
		}
	}
	if len(ask) > 0 {
		v.on = c.States(ctx, ask)
	}
	out := operation{tag: tagResponse, id: op.id}
	for _, one := range cells {
		if one.absent != 0 {
			out.binds = append(out.binds, bind{one.name, value{tag: one.absent}})
			continue
		}
		out.binds = append(out.binds, one.bind(v))
	}
	return out
}

// set checks all variables before it changes anything (RFC 3416 §4.2.5).
func (c *Config) set(ctx context.Context, v *view, op operation) operation {
	out := operation{tag: tagResponse, id: op.id, binds: op.binds}
	refuse := func(why errorStatus, i int) operation {
		out.status, out.index = int(why), i+1
		return out
	}
	var cells []resolved
	for i, b := range op.binds {
		r, why := settable(v.unit, b)
		if why != noError {
			return refuse(why, i)
		}
		cells = append(cells, r)
	}
	for i, r := range cells {
		err := c.carryOut(ctx, v.unit, r, op.binds[i].value.number)
		switch {
		case err == nil:
			continue
		case i > 0: // what was done is not undone
			out.status = int(undoFailed)
			return out
		case errors.Is(err, state.ErrBusy):
			return refuse(resourceUnavailable, i)
		}
		return refuse(commitFailed, i)
	}
	return out
}

// settable says what a variable is written to, or why it cannot be.
func settable(u *Unit, b bind) (resolved, errorStatus) {
	r, found, known := u.find(b.name)
	if !found {
		if known {
			return r, noCreation
		}
		return r, notWritable
	}
	if r.object.commands == nil {
		return r, notWritable
	}
	if b.value.tag != tagInteger {
		return r, wrongType
	}
	if _, ok := r.object.commands[b.value.number]; !ok {
		return r, wrongValue
	}
	return r, noError
}

// carryOut has an outlet, or all of them, follow a command.
func (c *Config) carryOut(ctx context.Context, u *Unit, r resolved, number int64) error {
	command := r.object.commands[number]
	if command == "" {
		return nil
	}
	if !r.object.scalar {
		return c.turn(ctx, u, r.outlet, command)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(u.Outlets))
	turns := make(chan struct{}, switchesAtOnce)
	for i, o := range u.Outlets {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			errs[i] = c.turn(ctx, u, o, command)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Config) turn(ctx context.Context, u *Unit, o Outlet, command Command) error {
	err := c.Switch(ctx, o, command)
	if err != nil {
		c.Log.WarnContext(ctx, "pdu: outlet not switched", "pdu", u.Name, "outlet", o.Number, "node", o.Node, "command", string(command), "err", err)
		return err
	}
	c.Log.InfoContext(ctx, "pdu: outlet switched", "pdu", u.Name, "outlet", o.Number, "node", o.Node, "command", string(command))
	return nil
}

// downgrade makes an answer one of SNMPv1, which has no exceptions and fewer errors (RFC
// 3584 §4.2.2.2 and §4.4). An answer with an error has the variables of the request.
func downgrade(op, request operation) operation {
	if op.status == int(noError) {
		for i, b := range op.binds {
			switch b.value.tag {
			case tagNoSuchObject, tagNoSuchInstance, tagEndOfMibView:
				return operation{tag: tagResponse, id: op.id, status: int(noSuchName), index: i + 1, binds: request.binds}
			}
		}
		return op
	}
	switch errorStatus(op.status) {
	case wrongType, wrongValue:
		op.status = int(badValue)
	case noAccess, noCreation, notWritable:
		op.status = int(noSuchName)
	case resourceUnavailable, commitFailed, undoFailed:
		op.status = int(genErr)
	default:
	}
	op.binds = request.binds
	return op
}

// fit makes an answer small enough for whoever asked: bytes says how it is sent. A GetBulk
// loses variables at its end (RFC 3416 §4.2.3), another one is too big (§4.2.1).
func fit(op, request operation, most int, bytes func(operation) []byte) []byte {
	out := bytes(op)
	for len(out) > most && request.tag == tagGetBulk && len(op.binds) > 0 {
		op.binds = op.binds[:len(op.binds)-1]
		out = bytes(op)
	}
	if len(out) <= most {
		return out
	}
	op = operation{tag: tagResponse, id: op.id, status: int(tooBig)}
	if out = bytes(op); len(out) <= most {
		return out
	}
	return nil
}
