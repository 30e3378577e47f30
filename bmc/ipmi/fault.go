package ipmi

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/fault"
)

// maxLate is how many packets one BMC holds back at a time; more are lost.
const maxLate = 64

// hit asks what becomes of a request.
func (e *engine) hit(c fault.Call) fault.Effect {
	if e.faults == nil {
		return fault.Effect{}
	}
	c.Protocol, c.Node = fault.IPMI, e.uuid
	return e.faults(c)
}

// hitOutside asks what becomes of a packet outside of sessions. A login that is to fail is
// changed so that it does: a reserved bit of the role, which every code of RAKP is made
// over (IPMI v2.0 §13.31), makes the console's codes differ from ours, as another password
// would.
func (e *engine) hitOutside(p *packet) fault.Effect {
	if e.faults == nil || p.session != 0 {
		return fault.Effect{} // see hitInSession and activate15
	}
	c := fault.Call{Login: true, Open: true}
	switch p.kind {
	case types.PayloadTypeRmcpOpenSessionRequest:
		c.Command = "Open Session"
	case types.PayloadTypeRAKPMessage1:
		c.Command, c.Password = "RAKP 1", true
	case types.PayloadTypeRAKPMessage3:
		c.Command = "RAKP 3"
	default:
		c.Login = false
		if q, ok := parseRequest(p.payload); ok {
			row := e.lookUpOutside(p, q)
			c.Command, c.Login = row.is.Name, row == &challengeCommand
		}
	}
	effect := e.hit(c)
	if effect.WrongPassword && len(p.payload) >= rakp1Len {
		p.payload = clone(p.payload)
		p.payload[24] ^= 0x80
	}
	return effect
}

// hitInSession asks what becomes of an authentic packet of a session, given what it holds.
func (e *engine) hitInSession(p packet, plain []byte) fault.Effect {
	if e.faults == nil {
		return fault.Effect{}
	}
	c := fault.Call{}
	if q, ok := parseRequest(plain); ok && p.kind == types.PayloadTypeIPMI {
		c.Command = lookUp(q).is.Name
		c.Power = q.netFn == byte(types.CommandChassisControl.NetFn) && q.cmd == types.CommandChassisControl.ID
	}
	return e.hit(c)
}

// late makes what answers a packet come later: a packet, or a job.
func late(effect fault.Effect, answer []byte, j *job) ([]byte, *job) {
	switch {
	case effect.Delay <= 0 || answer == nil && j == nil:
		return answer, j
	case j == nil:
		j = &job{answer: answer}
	}
	j.after = effect.Delay
	return nil, j
}

// later starts a job once it is its time.
func (s *Server) later(ctx context.Context, from client, j *job) {
	if s.late.Add(1) > maxLate {
		s.late.Add(-1)
		return // as if the network had lost it
	}
	s.wg.Go(func() {
		defer s.late.Add(-1)
		pause(ctx, j.after)
		switch {
		case ctx.Err() != nil:
		case j.call == nil:
			s.send(from, j.answer)
		default:
			s.start(ctx, from, j)
		}
	})
}
