package ipmi

import (
	"strings"
	"testing"

	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// tool15Cases are runs of ipmitool against one BMC with sessions of IPMI 1.5, in order.
var tool15Cases = []toolCase{
	{args: "-A MD5 -P secret power status", wants: []string{"Chassis Power is off"}},
	{args: "-A MD5 -P secret power on", wants: []string{"Up/On"}},
	{args: "-A PASSWORD -P secret power status", wants: []string{"Chassis Power is on"}},
	{args: "-A PASSWORD -P secret power off", wants: []string{"Down/Off"}},
	{args: "-P secret mc info", wants: []string{"IPMI Version              : 2.0"}},
	{args: "-P secret sdr list", wants: []string{" degrees C "}},
	{args: "-P secret fru print", wants: []string{"Product Name"}},
	{args: "-P secret session info active", wants: []string{"session type                  : IPMIv1.5", "privilege level               : ADMINISTRATOR"}},
	{args: "-P secret channel authcap 1 4", wants: []string{"Channel supports IPMI v1.5 : yes", "Channel supports IPMI v2.0 : yes"}},
	{args: "-P secret lan print 1", wants: []string{"Auth Type Support       : MD5 PASSWORD", "Admin    : MD5 PASSWORD"}},
	{args: "-A MD5 -P wrong power status", wants: []string{"Unable to establish LAN session"}, fails: true},
	{args: "-A PASSWORD -P wrong power status", wants: []string{"Unable to establish LAN session"}, fails: true},
	{args: "-A MD5 -P secret -U nobody power status", wants: []string{"Unable to establish LAN session"}, fails: true},
	{args: "-A MD5 -P secret -L USER power on", wants: []string{"Insufficient privilege level"}, fails: true},
	{args: "-A NONE -P secret power status", wants: []string{"NONE not supported"}, fails: true},
	{args: "-A MD2 -P secret power status", wants: []string{"MD2 not supported"}, fails: true},
	{args: "-I lanplus -C 17 -P secret power status", wants: []string{"Chassis Power is off"}},
}

func TestIntegrationIPMIToolUsesIPMI15(t *testing.T) {
	t.Parallel()
	s := listenWith(t, func(cfg *Config) { cfg.V15 = true })
	for _, tc := range tool15Cases {
		out, err := ipmitool(t, s, append([]string{"-I", "lan", "-R", "1", "-N", "1"}, strings.Fields(tc.args)...)...)
		tc.check(t, "ipmitool", out, err)
	}
}

func TestIntegrationFreeIPMIUsesIPMI15(t *testing.T) {
	t.Parallel()
	chassis := bmctest.NewChassis()
	s := listenWith(t, func(cfg *Config) { cfg.Chassis, cfg.V15 = chassis, true })
	for _, tc := range []toolCase{
		{args: "ipmipower -D LAN --stat", wants: []string{": off"}},
		{args: "ipmipower -D LAN -a MD5 --on", wants: []string{": ok"}},
		{args: "ipmipower -D LAN -l USER --reset", wants: []string{"privilege"}, fails: true},
		{args: "ipmipower -D LAN -a NONE --stat", wants: []string{"authentication type unavailable"}, fails: true},
		{args: "ipmipower -D LAN -a MD2 --stat", wants: []string{"authentication type unavailable"}, fails: true},
		{args: "ipmipower -D LAN -p wrong --session-timeout=2000 --retransmission-timeout=500 --stat", wants: []string{"password"}, fails: true},
		{args: "bmc-info -D LAN", wants: []string{"Device ID             : 32"}},
		{args: "ipmi-chassis -D LAN -a MD5 --get-chassis-status", wants: []string{"System Power                        : on"}},
	} {
		out, err := freeIPMI(t, s, tc.args)
		tc.check(t, "", out, err)
	}
	// It compares the answer's code with what it does not pad.
	full := listenWith(t, func(cfg *Config) { cfg.Account.Password, cfg.V15 = state.NewSecret("sixteen-bytes-16"), true })
	out, err := freeIPMI(t, full, "ipmipower -D LAN -p sixteen-bytes-16 -a STRAIGHT_PASSWORD_KEY --stat")
	toolCase{args: "straight password", wants: []string{": off"}}.check(t, "ipmipower", out, err)
	if got := chassis.Status().Power; got != state.PowerOn {
		t.Errorf("power afterwards: got %v, want on", got)
	}
}
