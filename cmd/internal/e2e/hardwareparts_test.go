package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/e2e/ironiclab"
)

// lan works by IPMI.
func (w works) lan(t *testing.T, n api.Node) {
	t.Run("there is no inspection by IPMI", func(t *testing.T) {
		w := w.in(t)
		w.provision(n, "manage", "manageable", nil)
		w.refused(n, "inspect", "does not support inspect", nil)
	})
	t.Run("boot device and power", func(t *testing.T) {
		w := w.in(t)
		w.bootDevices(n, "pxe", "disk", "cdrom")
		for _, step := range [][2]string{{"power on", "on"}, {"rebooting", "on"}, {"power off", "off"}} {
			w.power(n, step[0], step[1])
		}
	})
	t.Run("console by ipmitool-socat", func(t *testing.T) { w.in(t).socat(t, n) })
}

// socat boots a guest from the network, and talks to it by Ironic's console.
func (w works) socat(t *testing.T, n api.Node) {
	if err := w.ironic.EnableConsole(t.Context(), n.UUID, true); err != nil {
		t.Fatal(err)
	}
	console, err := w.ironic.Console(t.Context(), n.UUID)
	address, isTCP := strings.CutPrefix(console.Info.URL, "tcp://")
	if err != nil || !console.Enabled || console.Info.Type != "socat" || !isTCP {
		t.Fatalf("console: %+v, %v", console, err)
	}
	t.Logf("%s: console: %s %s", n.Name, console.Info.Type, console.Info.URL)
	s := w.dial(address)
	w.wait(30*time.Second, "ipmitool behind socat", func() bool { return strings.Contains(s.text(), "SOL Session operational") })
	if err := w.ironic.SetBootDevice(t.Context(), n.UUID, "pxe", true); err != nil {
		t.Fatal(err)
	}
	w.power(n, "power on", "on")
	w.wait(2*time.Minute, "the guest on Ironic's console", func() bool { return strings.Contains(s.text(), ironiclab.Marker) })
	if !strings.Contains(s.text(), ironiclab.MACMarker+n.Ports[0].MAC) {
		t.Errorf("the console does not show MAC %s:\n%s", n.Ports[0].MAC, s.text())
	}
	if _, err := io.WriteString(s.keys, "typed by Ironic's user\r"); err != nil {
		t.Fatal(err)
	}
	heard := ironiclab.HeardMarker + "typed by Ironic's user"
	w.wait(30*time.Second, "the guest to hear", func() bool { return strings.Contains(s.text(), heard) })
	t.Logf("%s: on the console of Ironic: %s", n.Name, heard)

	// Linux says of an NMI that it knows no reason for it.
	if err := w.ironic.Call(t.Context(), "PUT", "/v1/nodes/"+n.UUID+"/management/inject_nmi", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	w.wait(30*time.Second, "the guest to have an NMI", func() bool { return strings.Contains(s.text(), "NMI received for unknown reason") })
	t.Logf("%s: an NMI by Ironic reached the guest", n.Name)

	// The power button is the guest's to answer.
	w.power(n, "soft power off", "off")
	if !strings.Contains(w.console(n), "TENKS-BUTTON") {
		t.Errorf("%s went off without its guest", n.Name)
	}
	if err := w.ironic.EnableConsole(t.Context(), n.UUID, false); err != nil {
		t.Fatal(err)
	}
	w.wait(30*time.Second, "the console's port to be closed", func() bool {
		_, err := w.try("socat", "-u", "/dev/null", "TCP4:"+address)
		return err != nil
	})
	if out, err := w.ipmi(n, "raw", "0x06", "0x4a", "0x01"); err != nil || strings.TrimSpace(out) != "01 00 00" {
		t.Errorf("SOL after the console was disabled: %s, %v", out, err)
	}
}

// dial connects to a TCP port of the host.
func (w works) dial(address string) *screen {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	cmd := w.Command(ctx, "socat", "-", "TCP4:"+address)
	s := &screen{done: make(chan error, 1)}
	keys, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	s.keys, cmd.Stdout = keys, s
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { s.done <- cmd.Wait() }() // at the latest when it is killed
	w.t.Cleanup(func() { cancel(); <-s.done })
	return s
}

// booted works by Redfish on a node with UEFI.
func (w works) booted(t *testing.T, n api.Node) {
	t.Run("inspection", func(t *testing.T) { w.in(t).inspected(t, n) })
	t.Run("boot device and power", func(t *testing.T) {
		w := w.in(t)
		w.bootDevices(n, "pxe", "disk", "cdrom", "bios")
		for _, step := range [][2]string{{"power on", "on"}, {"rebooting", "on"}, {"power off", "off"}} {
			w.power(n, step[0], step[1])
		}
	})
	t.Run("boot mode and Secure Boot", func(t *testing.T) { w.in(t).secureBoot(t, n) })
	t.Run("a user's ISO by virtual media", func(t *testing.T) { w.in(t).bootISO(t, n) })
}

func (w works) inspected(t *testing.T, n api.Node) {
	w.provision(n, "manage", "manageable", nil)
	w.provision(n, "inspect", "manageable", nil)
	log, err := os.ReadFile(w.ironic.Log)
	if err != nil {
		t.Fatal(err)
	}
	// What Ironic found is in its log: later, the node has again what is declared.
	for _, want := range []string{
		`Node ` + n.UUID + ` moved to provision state "inspecting" from state "manageable"`,
		`Node ` + n.UUID + ` moved to provision state "manageable" from state "inspecting"`,
	} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("Ironic's log does not say %q", want)
		}
	}
	_, found, _ := bytes.Cut(log, []byte("Node properties for "+n.UUID+" are updated as "))
	found, _, _ = bytes.Cut(found, []byte("}"))
	t.Logf("inspected: %s}", found)
	// local_gb is the smallest disk less 1 GiB, by Ironic's rule.
	for _, want := range []string{"'memory_mb': '1024", "'cpus': 2", "'cpu_arch': 'x86_64'", "'local_gb': '4'", "boot_mode:uefi"} {
		if !bytes.Contains(found, []byte(want)) {
			t.Errorf("Ironic did not find %s", want)
		}
	}
	var ports struct {
		Ports []struct {
			Address string `json:"address"`
			PXE     bool   `json:"pxe_enabled"`
		}
	}
	if err := w.ironic.Call(t.Context(), "GET", "/v1/nodes/"+n.UUID+"/ports/detail", nil, &ports); err != nil {
		t.Fatal(err)
	}
	if len(ports.Ports) != 1 || ports.Ports[0].Address != n.Ports[0].MAC || !ports.Ports[0].PXE {
		t.Errorf("ports: %+v, want one with MAC %s", ports.Ports, n.Ports[0].MAC)
	}
	if bytes.Contains(log, []byte("Could not provide a valid storage size")) {
		t.Error("Ironic did not see the disks")
	}
}

// secureBoot has Ironic change boot mode and Secure Boot, which the next start has.
func (w works) secureBoot(t *testing.T, n api.Node) {
	ask := func(what string, target any) ironiclab.States {
		t.Helper()
		s, err := w.ironic.Ask(t.Context(), n.UUID, what, map[string]any{"target": target})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var s ironiclab.States
	for _, mode := range []struct{ ironic, redfish, prints string }{{"bios", "Legacy", "SeaBIOS"}, {"uefi", "UEFI", "UEFI"}} {
		if s = ask("boot_mode", mode.ironic); s.BootMode != mode.ironic {
			t.Errorf("%s: boot mode in Ironic: %q, want %s: %s", n.Name, s.BootMode, mode.ironic, s.LastError)
		}
		w.started(n)
		var system struct {
			Boot struct{ BootSourceOverrideMode string }
		}
		w.wait(30*time.Second, n.Name+" to start with "+mode.ironic, func() bool {
			w.redfish(n, "/Systems/"+n.UUID, &system)
			return system.Boot.BootSourceOverrideMode == mode.redfish && strings.Contains(w.console(n), mode.prints)
		})
		w.power(n, "power off", "off")
		t.Logf("%s: boot mode %s: it starts with %s", n.Name, s.BootMode, mode.prints)
	}
	is := func() (b struct {
		SecureBootEnable bool
		Actions          map[string]any
	}) {
		w.redfish(n, "/Systems/"+n.UUID+"/SecureBoot", &b)
		return b
	}
	if s.SecureBoot == nil || *s.SecureBoot || is().SecureBootEnable {
		t.Errorf("%s: Secure Boot is on from the start: %+v", n.Name, s)
	}
	if len(is().Actions) == 0 {
		t.Skip("the driver has no Secure Boot: it stays off")
	}
	for _, want := range []bool{true, false} { // the user's ISO is not signed
		ask("secure_boot", want)
		if got := is().SecureBootEnable; got != want {
			t.Errorf("%s: Secure Boot is %t, want %t", n.Name, got, want)
		}
		w.started(n)
		w.power(n, "power off", "off")
		s, err := w.ironic.States(t.Context(), n.UUID)
		if err != nil {
			t.Fatal(err)
		}
		if got := is().SecureBootEnable; got != want || s.SecureBoot == nil || *s.SecureBoot != want {
			t.Errorf("%s: after a start, Secure Boot is %t, and %+v in Ironic, want %t", n.Name, got, s, want)
		}
		t.Logf("%s: Secure Boot in Ironic and of the node: %t", n.Name, want)
	}
}

// started has Ironic start a node, again while its host is busy with changes of its firmware.
func (w works) started(n api.Node) {
	w.t.Helper()
	w.wait(30*time.Second, "Ironic to start "+n.Name, func() bool {
		err := w.ironic.SetPower(w.t.Context(), n.UUID, "power on")
		if err != nil {
			w.t.Logf("%s: start: %.300s", n.Name, err.Error())
		}
		return err == nil
	})
}

// bootISO has Ironic boot a user's ISO (deploy interface ramdisk), and take it out.
func (w works) bootISO(t *testing.T, n api.Node) {
	w.provision(n, "provide", "available", nil)
	w.patch(n, "/instance_info/boot_iso", w.ironic.FilesURL("user.iso"))
	before := strings.Count(w.console(n), ironiclab.Marker)
	began := time.Now()
	w.provision(n, "active", "active", nil)
	var media struct {
		Image    string
		Inserted bool
	}
	if w.redfish(n, "/Managers/"+n.UUID+"/VirtualMedia/Cd", &media); !media.Inserted || media.Image != w.ironic.FilesURL("user.iso") {
		t.Errorf("virtual media after the deployment: %+v", media)
	}
	w.printed(n, ironiclab.Marker, before+1)
	t.Logf("%s: the ISO's marker %s after the deployment began", n.Name, since(began))
	at := strings.LastIndex(w.console(n), ironiclab.CmdlineMarker)
	line, _, _ := strings.Cut(w.console(n)[max(at, 0):], "\n")
	if t.Logf("%s: console: %s", n.Name, line); !strings.Contains(line, "tenks.iso=user") {
		t.Errorf("%s booted something else: %s", n.Name, line)
	}
	if d, err := w.ironic.BootDevice(t.Context(), n.UUID); err != nil || d != (ironiclab.BootDevice{Device: "cdrom", Persistent: true}) {
		t.Errorf("boot device of the deployed node: %+v, %v", d, err)
	}
	w.power(n, "soft rebooting", "on")
	w.printed(n, ironiclab.Marker, before+2)
	w.power(n, "soft power off", "off")
	w.provision(n, "deleted", "available", nil)
	if w.redfish(n, "/Managers/"+n.UUID+"/VirtualMedia/Cd", &media); media.Inserted {
		t.Errorf("virtual media after the node was undeployed: %+v", media)
	}
}

// cleaned works by Redfish on a node with BIOS, by steps of manual cleaning.
func (w works) cleaned(t *testing.T, n api.Node) {
	bios := map[string]any{"interface": "bios", "step": "apply_configuration", "args": map[string]any{"settings": []map[string]any{
		{"name": "BootTimeout", "value": 1}, {"name": "SystemProfile", "value": "Performance"}, {"name": "QuietBoot", "value": true}}}}
	firmware := map[string]any{"interface": "management", "step": "update_firmware", "args": map[string]any{
		"firmware_images": []map[string]any{{"url": w.ironic.FilesURL("bios-9.1.bin"), "checksum": "sha1"}}}}
	w.patch(n, "/driver_info/deploy_iso", w.ironic.FilesURL("agent.iso"))
	w.provision(n, "manage", "manageable", nil)
	t.Run("no step of Ironic 21.4 does without an agent", func(t *testing.T) {
		w := w.in(t)
		w.refused(n, "clean", "requires booting a ramdisk", map[string]any{"clean_steps": []any{bios}, "disable_ramdisk": true})
		w.provision(n, "manage", "manageable", nil)
		if err := w.ironic.Call(t.Context(), "DELETE", "/v1/nodes/"+n.UUID+"/maintenance", nil, nil); err != nil {
			t.Fatal(err)
		}
	})
	was, err := w.ironic.BIOS(t.Context(), n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	goal := map[string]any{"logical_disks": []map[string]any{{"size_gb": 3, "raid_level": "1"}}}
	if _, err := w.ironic.Ask(t.Context(), n.UUID, "raid", goal); err != nil {
		t.Fatal(err)
	}
	w.provision(n, "clean", "manageable", map[string]any{"clean_steps": []any{firmware, bios,
		map[string]any{"interface": "raid", "step": "delete_configuration"}, map[string]any{"interface": "raid", "step": "create_configuration"}}})
	t.Run("firmware and BIOS settings", func(t *testing.T) { w.in(t).set(t, n, was) })
	t.Run("RAID", func(t *testing.T) { w.in(t).raid(t, n) })
}

// set looks at what Ironic set of the firmware; was is what it had cached before.
func (w works) set(t *testing.T, n api.Node, was map[string]string) {
	is, err := w.ironic.BIOS(t.Context(), n.UUID)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"BootTimeout": "1", "SystemProfile": "Performance", "QuietBoot": "1", "SystemBiosVersion": "9.1"} {
		t.Logf("%s: %s was %q, is %q", n.Name, name, was[name], is[name])
		if was[name] == want || is[name] != want {
			t.Errorf("%s: Ironic has %s %q, want %q", n.Name, name, is[name], want)
		}
	}
	var inventory struct{ Version string }
	if w.redfish(n, "/UpdateService/FirmwareInventory/"+n.UUID+"-BIOS", &inventory); inventory.Version != "9.1" {
		t.Errorf("%s: firmware %+v", n.Name, inventory)
	}
	if xml := w.run("virsh", "dumpxml", n.Name); !strings.Contains(xml, "<bootmenu enable='yes' timeout='1000'/>") {
		t.Errorf("%s has no boot menu:\n%s", n.Name, xml)
	}
}

// raid looks at the volume that Ironic made of both disks.
func (w works) raid(t *testing.T, n api.Node) {
	var is struct {
		RAID map[string]any `json:"raid_config"`
	}
	if err := w.ironic.Call(t.Context(), "GET", "/v1/nodes/"+n.UUID, nil, &is); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: raid_config %v", n.Name, is.RAID)
	disks, _ := is.RAID["logical_disks"].([]any)
	disk := map[string]any{}
	if len(disks) == 1 {
		disk, _ = disks[0].(map[string]any)
	}
	if disk["raid_level"] != "1" || fmt.Sprint(disk["size_gb"]) != "3" {
		t.Errorf("%s: Ironic has %v", n.Name, is.RAID)
	}
	w.power(n, "power on", "on")
	var sizes []string
	for line := range strings.Lines(w.run("virsh", "-q", "domblklist", n.Name)) {
		if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(f[0], "vd") {
			sizes = append(sizes, strings.Fields(w.run("virsh", "domblkinfo", n.Name, f[0]))[1])
		}
	}
	if t.Logf("%s: disks of %s bytes", n.Name, sizes); !slices.Equal(sizes, []string{fmt.Sprint(3 << 30)}) {
		t.Errorf("%s: disks of %s bytes, want one of 3 GiB", n.Name, sizes)
	}
	w.power(n, "power off", "off")
}

// sensors are what Ironic sends to its users, of nodes that run.
func (w works) sensors(t *testing.T) {
	for _, want := range []struct{ node, kind, field, unit string }{
		{"lan0", "Temperature", "Sensor Reading", "degrees C"}, {"lan0", "Fan", "Sensor Reading", "RPM"}, {"lan0", "Voltage", "Sensor Reading", "Volts"},
		{"lan0", "Power", "Sensor Reading", "Watts"},
		{"booted0", "Temperature", "reading_celsius", ""}, {"booted0", "Fan", "reading", ""}, {"booted0", "Power", "last_power_output_watts", ""},
		{"booted0", "Drive", "capacity_bytes", ""},
	} {
		n := w.node(want.node)
		if c, err := w.api.Chassis(t.Context(), n.Name); err != nil || c.Power != "on" {
			w.power(n, "power on", "on")
		}
		var got []string
		w.wait(time.Minute, fmt.Sprintf("Ironic to send %s of %s", want.kind, n.Name), func() bool {
			sent, err := w.ironic.Sensors(n.UUID)
			if got = nil; err != nil {
				return false
			}
			for _, name := range slices.Sorted(maps.Keys(sent[want.kind])) {
				value := sent[want.kind][name][want.field]
				if text := fmt.Sprint(value); value != nil && strings.Contains(text, want.unit) {
					got = append(got, name+" "+text)
				}
			}
			return len(got) > 0
		})
		t.Logf("%s: %s: %s", n.Name, want.kind, strings.Join(got, ", "))
	}
}
