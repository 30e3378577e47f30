package ipmi

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// chassisCommands are IPMI v2.0 §28 without the boot options, which are in boot.go.
var chassisCommands = []command{
	{is: types.CommandGetChassisCapabilities, privilege: types.PrivilegeLevelUser, handle: getChassisCapabilities},
	{is: types.CommandGetChassisStatus, privilege: types.PrivilegeLevelUser, handle: getChassisStatus},
	{is: types.CommandChassisControl, privilege: types.PrivilegeLevelOperator, min: 1, max: 1, handle: chassisControl, changes: true},
	{is: types.CommandSetPowerRestorePolicy, privilege: types.PrivilegeLevelOperator, min: 1, max: 1, handle: setPowerRestorePolicy, changes: true},
	{is: types.CommandChassisIdentify, privilege: types.PrivilegeLevelOperator, max: 2, handle: chassisIdentify},
	{is: types.CommandSetFrontPanelEnables, privilege: types.PrivilegeLevelAdministrator, min: 1, max: 1, handle: setFrontPanelEnables},
	{is: types.CommandGetSystemRestartCause, privilege: types.PrivilegeLevelUser, handle: getSystemRestartCause},
	{is: types.CommandGetPOHCounter, privilege: types.PrivilegeLevelUser, handle: getPOHCounter},
}

// Capabilities: no intrusion sensor, no power interlock.
const (
	frontPanelLockout   = 0x02
	diagnosticInterrupt = 0x04
)

// getChassisCapabilities is IPMI v2.0 §28.1: every device is the BMC itself.
func getChassisCapabilities(context.Context, *call) ([]byte, error) {
	return []byte{diagnosticInterrupt | frontPanelLockout, bmcAddress, bmcAddress, bmcAddress, bmcAddress, bmcAddress}, nil
}

// restorePolicies are the values of IPMI v2.0 §28.8 in both directions.
var restorePolicies = map[state.RestorePolicy]chassis.PowerRestorePolicy{
	state.RestoreOff:      chassis.PowerRestorePolicyAlwaysOff,
	state.RestorePrevious: chassis.PowerRestorePolicyPrevious,
	state.RestoreOn:       chassis.PowerRestorePolicyAlwaysOn,
}

// unknownPolicy is what a chassis without a policy reports.
const unknownPolicy chassis.PowerRestorePolicy = 3

// getChassisStatus is IPMI v2.0 §28.2. While the power state is not known the node
// is busy: "off" would be a lie that Ironic acts upon.
func getChassisStatus(_ context.Context, c *call) ([]byte, error) {
	s := c.chassis.Status()
	if s.Power != state.PowerOn && s.Power != state.PowerOff {
		return nil, state.ErrBusy
	}
	policy, ok := restorePolicies[s.Policy]
	if !ok {
		policy = unknownPolicy
	}
	a := chassis.GetChassisStatusResponse{PowerRestorePolicy: policy, PowerIsOn: s.Power == state.PowerOn, LastPowerOnByCommand: s.LastOnByCommand}
	b := a.Pack()[:4]
	c.mu.Lock()
	defer c.mu.Unlock()
	b[2] |= c.panel.identifyBits(c.now)
	b[3] = allButtonsMayBeDisabled | c.panel.disabled
	return b, nil
}

// powerActions maps Chassis Control (IPMI v2.0 §28.3).
var powerActions = map[chassis.ChassisControl]state.PowerAction{
	chassis.ChassisControlPowerDown:           state.ActionOff,
	chassis.ChassisControlPowerUp:             state.ActionOn,
	chassis.ChassisControlPowerCycle:          state.ActionCycle,
	chassis.ChassisControlHardReset:           state.ActionReset,
	chassis.ChassisControlDiagnosticInterrupt: state.ActionDiag,
	chassis.ChassisControlSoftShutdown:        state.ActionSoft,
}

func chassisControl(ctx context.Context, c *call) ([]byte, error) {
	action, ok := powerActions[chassis.ChassisControl(c.data[0])]
	if !ok {
		return nil, badField
	}
	if bmc.StartsAnew(action, c.chassis.Status().Power) && bmc.AwaitsMedia(c.chassis) {
		return nil, state.ErrBusy // the drive that it is to start from has no image yet
	}
	c.mu.Lock()
	c.boot.postpone(c.now)
	c.mu.Unlock()
	if err := c.chassis.Power(ctx, action); err != nil {
		return nil, err
	}
	c.log.InfoContext(ctx, "bmc: power", "node", c.uuid, "action", action, "source", c.session.from)
	return nil, nil
}

const (
	// queryPolicies changes nothing and asks what is supported: all three.
	queryPolicies     = 3
	supportedPolicies = 0x07
)

// setPowerRestorePolicy is IPMI v2.0 §28.8.
func setPowerRestorePolicy(ctx context.Context, c *call) ([]byte, error) {
	value := c.data[0]
	if value == queryPolicies {
		return []byte{supportedPolicies}, nil
	}
	for policy, v := range restorePolicies {
		if byte(v) == value {
			return []byte{supportedPolicies}, c.chassis.SetRestorePolicy(ctx, policy)
		}
	}
	return nil, badField
}
