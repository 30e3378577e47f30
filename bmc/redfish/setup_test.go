package redfish

import (
	"context"
	"maps"
	"slices"
	"testing"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// setupChassis makes attributes and a boot order real, as the hosts' does.
type setupChassis struct {
	bmc.Chassis
	declared state.BootMode

	attributes map[string]string
	order      []string
	calls      int
	err        error
}

func (c *setupChassis) Hardware() bmc.Hardware {
	h := c.Chassis.Hardware()
	h.BootMode = c.declared
	if mode := map[string]state.BootMode{"Uefi": state.BootUEFI, "Legacy": state.BootBIOS}[c.attributes[bmc.AttributeBootMode]]; mode != "" {
		h.BootMode = mode
	}
	return h
}

func (c *setupChassis) SetAttributes(_ context.Context, a map[string]string) error {
	if c.err == nil {
		c.attributes = a
		c.calls++
	}
	return c.err
}

func (c *setupChassis) BootOrder() []string { return c.order }

func (c *setupChassis) SetBootOrder(_ context.Context, order []string) error {
	if c.err == nil {
		c.order = order
	}
	return c.err
}

func newSetupChassis(f *fixture) *setupChassis {
	c := &setupChassis{Chassis: f.chassis[first], declared: state.BootUEFI}
	f.replaceChassis(wrapped{c})
	return c
}

func TestRealAttributes(t *testing.T) {
	f := newFixture(t)
	c := newSetupChassis(f)
	settings, reset := bios+"/Settings", sys1+"/Actions/ComputerSystem.Reset"
	for i, step := range []struct {
		exchange
		want map[string]string
	}{
		{exchange{method: patch, path: settings, body: `{"Attributes":{"ProcVirtualization":"Disabled","BootTimeout":7,"NumLock":false}}`, status: 200},
			map[string]string{"ProcVirtualization": "Disabled", "BootTimeout": "7"}},
		{exchange{method: patch, path: settings, body: `{"Attributes":{"BootMode":"Legacy","BootTimeout":0}}`, status: 200, has: map[string]any{"Attributes/BootMode": "Legacy"}},
			map[string]string{"ProcVirtualization": "Disabled", "BootMode": "Legacy"}},
		{exchange{name: "not yet", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootMode": "Uefi", "Attributes/ProcVirtualization": "Enabled"}}, nil},
		{exchange{method: post, path: reset, body: `{"ResetType":"On"}`, status: 204}, nil},
		{exchange{name: "after a start", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootMode": "Legacy", "Attributes/ProcVirtualization": "Disabled"}}, nil},
		{exchange{name: "the override", method: get, path: sys1, status: 200, has: map[string]any{"Boot/BootSourceOverrideMode": "Legacy",
			"Boot/BootSourceOverrideMode@Redfish.AllowableValues/0": "UEFI", "Boot/BootSourceOverrideMode@Redfish.AllowableValues/1": "Legacy"}}, nil},
		{exchange{method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideEnabled":"Once"}}`, status: 400, message: "PropertyValueConflict"}, nil},
		{exchange{method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideMode":"UEFI","BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideEnabled":"Once"}}`, status: 200,
			has: map[string]any{"Boot/BootSourceOverrideMode": "UEFI", "Boot/BootSourceOverrideTarget": "UefiHttp"}},
			map[string]string{"ProcVirtualization": "Disabled", "BootMode": "Uefi"}},
		{exchange{name: "the firmware that runs", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootMode": "Legacy"}}, nil},
		{exchange{method: post, path: bios + "/Actions/Bios.ResetBios", status: 204}, map[string]string{}},
		{exchange{method: post, path: reset, body: `{"ResetType":"ForceRestart"}`, status: 204}, nil},
		{exchange{name: "as declared", method: get, path: bios, status: 200, has: map[string]any{"Attributes/BootMode": "Uefi", "Attributes/ProcVirtualization": "Enabled"}}, nil},
	} {
		calls := c.calls
		run(t, f, []exchange{step.exchange})
		if told := c.calls > calls; told != (step.want != nil) || told && !maps.Equal(c.attributes, step.want) {
			t.Errorf("step %d: the chassis was told (%t) %v, want %v", i, told, c.attributes, step.want)
		}
	}
	c.err = state.ErrBusy
	f.want(503, patch, settings, `{"Attributes":{"ProcVirtualization":"Disabled"}}`)
	if got := f.want(200, get, settings, nil).at("Attributes/ProcVirtualization"); got != "Enabled" {
		t.Errorf("what the chassis did not take is pending: %v", got)
	}
}

func TestBootOrderIsSet(t *testing.T) {
	f := newFixture(t)
	f.withDisks(1<<30, 1<<30)
	c := newSetupChassis(f)
	order := func() (out []string) {
		t.Helper()
		list, _ := f.want(200, get, sys1, nil).at("Boot/BootOrder").([]any)
		for _, v := range list {
			out = append(out, v.(string))
		}
		return out
	}
	// Options: two disks, the drive, NICs.
	if got := order(); !slices.Equal(got[:2], []string{"Boot0000", "Boot0001"}) || got[len(got)-1] != "Boot0002" {
		t.Errorf("the plain order: %q", got)
	}
	run(t, f, []exchange{
		{name: "another", method: patch, path: sys1, body: `{"Boot":{"BootOrder":["Boot0003","Boot0001"]}}`, status: 200, has: map[string]any{"Boot/BootOrder/0": "Boot0003", "Boot/BootOrder/1": "Boot0001",
			"Boot/BootOrder/2": "Boot0000"}},
		{name: "unknown", method: patch, path: sys1, body: `{"Boot":{"BootOrder":["Boot0003","Boot0099"]}}`, status: 400, message: "PropertyValueNotInList"},
		{name: "twice", method: patch, path: sys1, body: `{"Boot":{"BootOrder":["Boot0003","Boot0003"]}}`, status: 400, message: "PropertyValueConflict"},
		{name: "no list", method: patch, path: sys1, body: `{"Boot":{"BootOrder":"Boot0003"}}`, status: 400, message: "PropertyValueTypeError"},
		{name: "an override above it", method: patch, path: sys1, body: `{"Boot":{"BootSourceOverrideTarget":"Cd","BootSourceOverrideEnabled":"Continuous"}}`, status: 200,
			has: map[string]any{"Boot/BootOrder/0": "Boot0003", "Boot/BootSourceOverrideTarget": "Cd"}},
	})
	if !slices.Equal(c.order, []string{"nic0", "disk1"}) {
		t.Errorf("the chassis was told %q", c.order)
	}
	run(t, f, []exchange{{name: "the plain one again", method: patch, path: sys1, body: `{"Boot":{"BootOrder":[]}}`, status: 200, has: map[string]any{"Boot/BootOrder/0": "Boot0000"}}})
}
