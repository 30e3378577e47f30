package ipmi

import (
	"context"
	"slices"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/raftfsm/state"
)

// deviceCommands reset the BMC, and are about messages and ACPI (IPMI v2.0 §20.2, §20.3,
// §20.6, §20.7, §22.1–§22.8). What Appendix G allows for the system interface only takes an
// administrator here: there is no such interface.
var deviceCommands = []command{
	{is: types.CommandColdReset, privilege: types.PrivilegeLevelAdministrator, handle: coldReset},
	{is: types.CommandWarmReset, privilege: types.PrivilegeLevelAdministrator, handle: warmReset},
	{is: types.CommandSetACPIPowerState, privilege: types.PrivilegeLevelAdministrator, min: 2, max: 2, handle: setACPIPowerState},
	{is: types.CommandGetACPIPowerState, privilege: types.PrivilegeLevelUser, handle: getACPIPowerState},
	{is: types.CommandSetBMCGlobalEnables, privilege: types.PrivilegeLevelAdministrator, min: 1, max: 1, handle: setGlobalEnables},
	{is: types.CommandGetBMCGlobalEnables, privilege: types.PrivilegeLevelUser, handle: getGlobalEnables},
	{is: types.CommandClearMessageFlags, privilege: types.PrivilegeLevelAdministrator, min: 1, max: 1, handle: clearMessageFlags},
	{is: types.CommandGetMessageFlags, privilege: types.PrivilegeLevelAdministrator, handle: getMessageFlags},
	{is: types.CommandGetMessage, privilege: types.PrivilegeLevelAdministrator, handle: noMessage},
	{is: types.CommandReadEventMessageBuffer, privilege: types.PrivilegeLevelAdministrator, handle: noMessage},
}

const (
	// coldFor and warmFor are how long a BMC that is reset does not answer.
	coldFor = 2 * time.Second
	warmFor = time.Second
)

// coldReset is IPMI v2.0 §20.2: what is not kept is as when the BMC was opened, but for
// the boot options, which a client may have set for the boot that it is about to ask for.
func coldReset(ctx context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	c.watchdog, c.acpi, c.panel, c.enables, c.lanSet, c.infoSet = nil, nil, panel{}, defaultEnables, 0, 0
	c.pefSet, c.postpone, c.watts = 0, postpone{}, powerStatistics{}
	c.mu.Unlock()
	c.traffic.clear()
	c.goAway(ctx, coldFor)
	return nil, nil
}

// warmReset is IPMI v2.0 §20.3: settings stay.
func warmReset(ctx context.Context, c *call) ([]byte, error) {
	c.goAway(ctx, warmFor)
	return nil, nil
}

// goAway ends all sessions, and answers nothing for a while. The session that asked lives
// until that is over: clients want to close it, and wait for the answer.
func (c *call) goAway(ctx context.Context, d time.Duration) {
	c.log.InfoContext(ctx, "bmc: reset", "node", c.uuid, "command", c.row.is.Name, "user", c.session.user, "source", c.from)
	until := c.now.Add(d)
	c.leaving.Store(c.session.id)
	c.quiet.Store(until.UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions.byID {
		if s != c.session {
			c.sessions.remove(s)
		}
	}
	c.session.until = until
}

// ACPI power states (IPMI v2.0 Table 20-6).
const (
	acpiSet, acpiNoChange = 0x80, 0x7f
	acpiUnknown           = 0x2a
	acpiS5, acpiD3        = 0x05, 0x03
)

var (
	acpiSystem = []byte{0, 1, 2, 3, 4, acpiS5, 6, 7, 8, 9, 10, 0x20, 0x21, acpiUnknown, acpiNoChange}
	acpiDevice = []byte{0, 1, 2, acpiD3, acpiUnknown, acpiNoChange}
)

// setACPIPowerState is IPMI v2.0 §20.6. It holds until the power changes.
func setACPIPowerState(_ context.Context, c *call) ([]byte, error) {
	system, device := c.data[0]&^acpiSet, c.data[1]&^acpiSet
	setSystem, setDevice := c.data[0]&acpiSet != 0, c.data[1]&acpiSet != 0
	if setSystem && !slices.Contains(acpiSystem, system) || setDevice && !slices.Contains(acpiDevice, device) {
		return nil, badField
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var set [2]byte
	if c.acpi != nil {
		set = *c.acpi
	}
	if setSystem && system != acpiNoChange {
		set[0] = system
	}
	if setDevice && device != acpiNoChange {
		set[1] = device
	}
	c.acpi = &set
	return nil, nil
}

// getACPIPowerState is IPMI v2.0 §20.7: S0/D0 when on, or what was set, and S5/D3 when
// off.
func getACPIPowerState(_ context.Context, c *call) ([]byte, error) {
	switch c.chassis.Status().Power {
	case state.PowerOn:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.acpi != nil {
			return clone(c.acpi[:]), nil
		}
		return []byte{0, 0}, nil
	case state.PowerOff:
		return []byte{acpiS5, acpiD3}, nil
	}
	return []byte{acpiUnknown, acpiUnknown}, nil
}

const (
	// logEnabled of the global enables has the BMC's own events logged.
	logEnabled      = 0x08
	defaultEnables  = logEnabled
	reservedEnables = 0x10
)

// setGlobalEnables is IPMI v2.0 §22.1.
func setGlobalEnables(_ context.Context, c *call) ([]byte, error) {
	if c.data[0]&reservedEnables != 0 {
		return nil, badField
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enables = c.data[0]
	return nil, nil
}

func getGlobalEnables(_ context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte{c.enables}, nil
}

// Messages queue for the system interface, of which there is none.
func clearMessageFlags(context.Context, *call) ([]byte, error) { return nil, nil }

func getMessageFlags(context.Context, *call) ([]byte, error) { return []byte{0}, nil }

func noMessage(context.Context, *call) ([]byte, error) {
	return nil, refused(types.CodeDataNotAvailable)
}
