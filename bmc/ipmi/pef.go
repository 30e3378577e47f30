package ipmi

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
)

// pefCommands are IPMI v2.0 §30 without alerts, which nothing here sends: there are no
// destinations, policies or strings for them.
var pefCommands = []command{
	{is: types.CommandGetPEFCapabilities, privilege: types.PrivilegeLevelUser, handle: getPEFCapabilities},
	{is: types.CommandArmPEFPostponeTimer, privilege: types.PrivilegeLevelAdministrator, min: 1, max: 1, handle: armPEFPostponeTimer},
	{is: types.CommandSetPEFConfigParam, privilege: types.PrivilegeLevelAdministrator, min: 2, max: 22, handle: setPEFParam, changes: true},
	{is: types.CommandGetPEFConfigParam, privilege: types.PrivilegeLevelOperator, min: 3, max: 3, handle: getPEFParam},
	{is: types.CommandSetLastProcessedEventId, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 3, handle: setLastProcessed, changes: true},
	{is: types.CommandGetLastProcessedEventId, privilege: types.PrivilegeLevelAdministrator, handle: getLastProcessed},
}

// pefKey is where what clients set of PEF is kept.
const pefKey = "ipmi/pef"

const (
	pefVersion, pefRevision = 0x51, 0x11
	// The actions of a filter, in PEF capabilities and in PEF action global control.
	pefPowerDown, pefReset, pefCycle, pefDiag = 0x02, 0x04, 0x08, 0x20
	pefActions                                = pefPowerDown | pefReset | pefCycle | pefDiag
	// maxFilters is how many filters there are, filterLen how long one is behind its number.
	maxFilters, filterLen = 16, 20
	// pefEnable is the one bit of PEF control that is offered.
	pefEnable = 0x01

	// The parameters of Table 30-6.
	pefSetInProgress = 0
	pefControl       = 1
	pefGlobal        = 2
	pefStartDelay    = 3
	pefAlertDelay    = 4
	pefFilterCount   = 5
	pefFilter        = 6
	pefFilterData1   = 7
	pefPolicyCount   = 8
	pefGUID          = 10
	pefStringCount   = 11
	pefStringKey     = 12
	pefString        = 13
	stringBlock      = 16

	// Values of the postpone timer (§30.2).
	postponeOff, postponeForever, postponeTell = 0x00, 0xfe, 0xff
)

// pefSettings are what clients set of PEF.
type pefSettings struct {
	Control byte `json:"control,omitempty"`
	Global  byte `json:"global,omitempty"`
	// Filters are those that were set, by number from 1.
	Filters map[byte][]byte `json:"filters,omitempty"`
	// BySoftware is the last event that software says it has processed.
	BySoftware uint16 `json:"by_software,omitempty"`
}

// filter is the one with a number, as it is read: all zero until it was set.
func (s *pefSettings) filter(n byte) []byte {
	if f := s.Filters[n]; len(f) == filterLen {
		return f
	}
	return make([]byte, filterLen)
}

func (c *call) pef() *pefSettings { return decode[pefSettings](c.chassis.Recall(pefKey)) }

func getPEFCapabilities(context.Context, *call) ([]byte, error) {
	return []byte{pefVersion, pefActions, maxFilters}, nil
}

// postpone is until when PEF does nothing. The zero value is not at all.
type postpone struct {
	until   time.Time
	forever bool
}

func (p postpone) left(now time.Time) byte {
	switch {
	case p.forever:
		return postponeForever
	case now.Before(p.until):
		return byte((p.until.Sub(now) + time.Second - 1) / time.Second)
	}
	return 0
}

// armPEFPostponeTimer is §30.2.
func armPEFPostponeTimer(_ context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := c.data[0]; n {
	case postponeTell:
	case postponeForever:
		c.postpone = postpone{forever: true}
	default:
		c.postpone = postpone{until: c.now.Add(time.Duration(n) * time.Second)}
	}
	return []byte{c.postpone.left(c.now)}, nil
}

// getPEFParam is §30.4. The highest bit asks for the revision alone.
func getPEFParam(_ context.Context, c *call) ([]byte, error) {
	if c.data[0]&0x80 != 0 {
		return []byte{pefRevision}, nil
	}
	data, err := c.pefParam(c.data[0], c.data[1], c.data[2])
	if err != nil {
		return nil, err
	}
	return append([]byte{pefRevision}, data...), nil
}

func (c *call) pefParam(parameter, set, block byte) ([]byte, error) {
	s := c.pef()
	switch parameter {
	case pefSetInProgress:
		c.mu.Lock()
		defer c.mu.Unlock()
		return []byte{c.progress(&c.pefSet)}, nil
	case pefControl:
		return []byte{s.Control}, nil
	case pefGlobal:
		return []byte{s.Global}, nil
	case pefFilterCount:
		return []byte{maxFilters}, nil
	case pefFilter, pefFilterData1:
		if set < 1 || set > maxFilters {
			return nil, outOfRange
		}
		b := append([]byte{set}, s.filter(set)...)
		if parameter == pefFilterData1 {
			b = b[:2]
		}
		return b, nil
	case pefStartDelay, pefAlertDelay, pefPolicyCount, pefStringCount:
		return []byte{0}, nil
	case pefGUID:
		return append([]byte{0}, c.guid[:]...), nil // no alert has it
	case pefStringKey, pefString:
		// There is always string 0, which is empty here.
		switch {
		case set != 0:
			return nil, outOfRange
		case parameter == pefString:
			return append([]byte{set, block}, make([]byte, stringBlock)...), nil
		}
		return []byte{set, 0, 0}, nil
	}
	return nil, paramNotSupported
}

// setPEFParam is §30.3.
func setPEFParam(ctx context.Context, c *call) ([]byte, error) {
	parameter, data := c.data[0], c.data[1:]
	want := map[byte]int{pefSetInProgress: 1, pefControl: 1, pefGlobal: 1, pefFilter: 1 + filterLen, pefFilterData1: 2}[parameter]
	if want == 0 {
		if _, err := c.pefParam(parameter, 0, 0); err != nil {
			return nil, err
		}
		return nil, paramReadOnly
	}
	if len(data) != want {
		return nil, refused(types.CodeRequestDataLengthInvalid)
	}
	if parameter == pefSetInProgress {
		c.mu.Lock()
		defer c.mu.Unlock()
		return nil, c.setProgress(&c.pefSet, data[0]&3)
	}
	return nil, change(ctx, c.engine, pefKey, func(s *pefSettings) error { return s.set(parameter, data) })
}

func (s *pefSettings) set(parameter byte, data []byte) error {
	switch parameter {
	case pefControl:
		if data[0]&^pefEnable != 0 {
			return badField // no start-up delays, and no events of PEF itself
		}
		s.Control = data[0]
		return nil
	case pefGlobal:
		if data[0]&^pefActions != 0 {
			return badField
		}
		s.Global = data[0]
		return nil
	}
	n := data[0]
	if n < 1 || n > maxFilters {
		return outOfRange
	}
	f := clone(s.filter(n))
	copy(f, data[1:])
	if f[1]&^pefActions != 0 {
		return badField // an action that there is not
	}
	if s.Filters == nil {
		s.Filters = map[byte][]byte{}
	}
	s.Filters[n] = f
	return nil
}

// setLastProcessed is §30.5: software's own note. What the BMC has processed follows from
// the log.
func setLastProcessed(ctx context.Context, c *call) ([]byte, error) {
	const byBMC = 0x01
	if c.data[0]&byBMC != 0 {
		return nil, badField
	}
	return nil, change(ctx, c.engine, pefKey, func(s *pefSettings) error {
		s.BySoftware = c.uint16At(1)
		return nil
	})
}

// getLastProcessed is §30.6: events are filtered as they come, so that the BMC has
// processed the newest one.
func getLastProcessed(_ context.Context, c *call) ([]byte, error) {
	log, s := c.readSEL(), c.pef()
	newest := uint16(0xffff)
	if n := log.count(); n > 0 {
		newest = log.id(n - 1)
	}
	processed := newest
	if s.Control&pefEnable == 0 {
		processed = 0
	}
	b := binary.LittleEndian.AppendUint32(nil, log.added)
	for _, id := range []uint16{newest, s.BySoftware, processed} {
		b = binary.LittleEndian.AppendUint16(b, id)
	}
	return b, nil
}
