package ironiclab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bridgeIn makes a network namespace with a bridge and a tap device on it.
func bridgeIn(t *testing.T, tap string) (netns, bridge string) {
	t.Helper()
	netns, bridge = fmt.Sprintf("ironiclab-%d", os.Getpid()), "brtenks0"
	if err := run(t.Context(), "", "ip", "netns", "add", netns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := run(ctx, "", "ip", "netns", "del", netns); err != nil {
			t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0"},
		{"link", "set", bridge, "up"},
		{"tuntap", "add", tap, "mode", "tap"},
		{"link", "set", tap, "master", bridge, "up"},
	} {
		if err := run(t.Context(), netns, "ip", args...); err != nil {
			t.Fatal(err)
		}
	}
	return netns, bridge
}

func TestIntegrationIronicRunsInANetworkNamespace(t *testing.T) {
	Require(t)
	netns, bridge := bridgeIn(t, "tap0")
	if err := run(t.Context(), netns, "ip", "addr", "add", "192.168.78.1/24", "dev", bridge); err != nil {
		t.Fatal(err)
	}
	i := Start(t.Context(), t, Options{Dir: t.TempDir(), Netns: netns, Bind: "192.168.78.1"})
	if i.URL != "http://192.168.78.1:6385" {
		t.Errorf("URL = %s", i.URL)
	}
	if err := i.Call(t.Context(), "POST", "/v1/nodes", map[string]any{"name": "n", "driver": "fake-hardware"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := i.Writes(t.Context()); err != nil || len(got) != 1 || got[0] != "POST /v1/nodes 201" {
		t.Errorf("Writes = %q, %v", got, err)
	}
	if err := i.Call(t.Context(), "GET", "/v1/nodes/none", nil, nil); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("an absent node: %v, want HTTP 404", err)
	}
}

func TestIntegrationGuestsBootFromTheNetworkWithBIOSAndUEFI(t *testing.T) {
	Require(t)
	for _, file := range []string{"/usr/bin/qemu-system-x86_64", "/usr/share/OVMF/OVMF_CODE_4M.fd"} {
		if _, err := os.Stat(file); err != nil {
			t.Skip("no guest to boot: ", err)
		}
	}
	dir := t.TempDir()
	began := time.Now()
	guest, err := Tiny(t.Context(), filepath.Join(dir, "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("tiny guest made in %.1f s", time.Since(began).Seconds())
	netns, bridge := bridgeIn(t, "tap0")
	server := PXE(t.Context(), t, PXEOptions{Dir: filepath.Join(dir, "pxe"), Netns: netns, Bridge: bridge,
		Address: netip.MustParsePrefix("192.168.77.1/24"), Guest: guest, Append: "tenks.test=1"})

	for firmware, mac := range map[string]string{"BIOS": "52:54:00:77:00:01", "UEFI": "52:54:00:77:00:02"} {
		t.Run(firmware, func(t *testing.T) {
			console := filepath.Join(t.TempDir(), "console.log")
			args := []string{"-machine", "q35,accel=tcg", "-cpu", "max", "-m", "512", "-display", "none", "-monitor", "none", "-nodefaults",
				"-boot", "n", "-serial", "file:" + console, "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no",
				"-device", "virtio-net-pci,netdev=n,bootindex=1,mac=" + mac}
			if firmware == "UEFI" {
				args = append(args, uefi(t)...)
			}
			began := time.Now()
			d, err := start(command(context.WithoutCancel(t.Context()), netns, "qemu-system-x86_64", args...), dir, filepath.Join(t.TempDir(), "qemu.log"))
			if err != nil {
				t.Fatal(err)
			}
			defer d.end(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			err = await(ctx, "the marker", func() (bool, error) {
				if err := d.alive(); err != nil {
					return false, fmt.Errorf("%w: %w", errEnded, err)
				}
				return strings.Contains(tail(console, 1<<20), Marker), nil
			})
			out := tail(console, 1<<20)
			if err != nil {
				log, _ := server.Log()
				t.Fatalf("%v\nconsole:\n%s\nserver:\n%s", err, out, log)
			}
			t.Logf("marker %.1f s after power on", time.Since(began).Seconds())
			for line := range strings.Lines(out) {
				if strings.Contains(line, "TENKS-BOOT") {
					t.Logf("console: %s", strings.TrimSpace(line))
				}
			}
			if !strings.Contains(out, MACMarker+mac) || !strings.Contains(out, "tenks.test=1") {
				t.Errorf("console has not the MAC %s or the command line:\n%s", mac, out)
			}
			log, err := server.Log()
			if err != nil || !strings.Contains(log, mac) || !strings.Contains(log, "vmlinuz") {
				t.Errorf("the server's log, %v, does not tell of the boot:\n%s", err, log)
			}
		})
	}
}

// uefi is QEMU's arguments for OVMF with variables of its own.
func uefi(t *testing.T) []string {
	t.Helper()
	vars := filepath.Join(t.TempDir(), "vars.fd")
	b, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err == nil {
		err = os.WriteFile(vars, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,file=" + vars}
}
