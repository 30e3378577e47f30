package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/api"
)

// size returns a file's size; 0: none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

const agentYAML = `name: hv1
advertise: 127.0.0.1
physnets: {physnet1: {}, physnet2: {}}
drivers: {libvirt: {}, fake: {}}
`

// demo is a cluster file with count nodes that are quick to make.
func demo(count int) string {
	return fmt.Sprintf(`cluster: demo
node_types:
  small:
    memory_mb: 128
    vcpus: 1
    volumes: [{capacity: 1GiB}]
    physical_networks: [physnet1, physnet2]
    boot_mode: bios
specs:
  - {type: small, count: %d}
`, count)
}

func TestIntegrationHostRebootBringsBackLinksAddressesAndPower(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.init(agentYAML)
	h.tenks("apply", "-f", h.write("demo.yml", demo(3)), "--wait=2m")
	for _, name := range []string{"tk0", "tk2"} {
		h.tenks("node", "power", "on", name)
		h.wait(30*time.Second, name+" to be on", func() bool { return h.node(name).Power == "on" })
	}
	before, links := h.nodes(), ourLinks(h)

	_ = h.agent.Process.Kill() // Reboot ends it in any case; this only takes its exit status
	if err := h.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = h.agent.Wait()
	if h.Libvirtd() == 0 {
		if err := h.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.startAgent()
	diff := ""
	h.wait(60*time.Second, "nodes to be as before", func() bool {
		if now := cmp.Diff(stable(before), stable(h.nodes())); now != diff {
			t.Logf("nodes (-before +now):\n%s", now)
			diff = now
		}
		return diff == ""
	})
	if diff := cmp.Diff(links, ourLinks(h)); diff != "" {
		t.Errorf("links (-before +after):\n%s", diff)
	}
	for _, n := range h.nodes() {
		want := "Chassis Power is " + map[bool]string{true: "on", false: "off"}[n.Name != "tk1"] + "\n"
		h.wait(30*time.Second, n.Name+": "+want, func() bool {
			out, err := h.ipmi(n, "power", "status")
			return err == nil && out == want
		})
	}
}

// stable is what must outlive a reboot.
func stable(nodes []api.Node) []api.Node {
	out := slices.Clone(nodes)
	for i := range out {
		out[i].Reason = ""
	}
	return out
}

// ourLinks returns "name master address" of every link that tenks made.
func ourLinks(h *host) []string {
	h.t.Helper()
	var out []string
	for _, line := range strings.Split(h.run("ip", "-br", "link"), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "brtenks") && !strings.HasPrefix(f[0], "p-") {
			continue
		}
		name, _, _ := strings.Cut(f[0], "@")
		mac := f[2]
		if strings.HasSuffix(name, "-br") {
			mac = "" // the switch side's own address is nobody's business
		}
		out = append(out, name+" "+mac)
	}
	slices.Sort(out)
	return out
}

func TestIntegrationDriftIsMendedAndForeignThingsAreLeftAlone(t *testing.T) {
	h := newHost(t)
	// Foreign things with names that ours would have.
	h.run("ip", "link", "add", "brtenks0", "type", "bridge")
	foreign := h.write("foreign.xml", `<domain type='qemu'><name>tk1</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>`)
	h.run("virsh", "-q", "define", foreign)
	foreignXML := h.run("virsh", "dumpxml", "tk1")

	h.init(agentYAML)
	h.tenks("apply", "-f", h.write("demo.yml", demo(3)))
	h.wait(60*time.Second, "two nodes to be ready and one to be refused", func() bool {
		got := map[string]string{}
		for _, n := range h.nodes() {
			got[n.Name] = n.Phase
		}
		return got["tk0"] == "ready" && got["tk2"] == "ready" && got["tk1"] == "error"
	})
	if reason := h.node("tk1").Reason; !strings.Contains(reason, "tk1") {
		t.Errorf("the reason does not name the foreign domain: %q", reason)
	} else {
		t.Logf("tk1: %s", reason)
	}
	h.tenks("node", "power", "on", "tk0")
	id, links := h.domains()["tk0"], ourLinks(h)
	bridge := h.node("tk0").Ports[0].Bridge

	for _, drift := range [][]string{
		{"ip", "link", "del", "p-tk2-1-tap"},
		{"ip", "link", "set", "p-tk2-0-br", "nomaster"},
		{"ip", "link", "set", "p-tk2-0-tap", "down"},
		{"ip", "link", "del", bridge},
		{"virsh", "-q", "undefine", "tk2"},
		{"virsh", "-q", "undefine", "tk0"},
	} {
		h.run(drift[0], drift[1:]...)
		began := time.Now()
		h.wait(5*time.Second, strings.Join(drift, " ")+" to be mended", func() bool { return h.mended(links) })
		t.Logf("%s: mended after %s", strings.Join(drift, " "), time.Since(began).Round(10*time.Millisecond))
	}
	if got := h.domains()["tk0"]; got != id {
		t.Errorf("the running guest's domain ID %s became %s", id, got)
	}
	h.tenks("destroy", "demo", "--wait=1m")
	if got := h.run("virsh", "dumpxml", "tk1"); got != foreignXML {
		t.Error("the foreign domain was changed")
	}
	if got := h.run("ip", "-o", "link", "show", "brtenks0"); !strings.Contains(got, "brtenks0") {
		t.Errorf("the foreign bridge: %s", got)
	}
}

// mended reports whether links and domains are as they should be.
func (h *host) mended(links []string) bool {
	out := h.run("virsh", "-q", "list", "--all", "--persistent", "--name")
	defined := strings.Fields(out)
	if !cmp.Equal(links, ourLinks(h)) || !slices.Contains(defined, "tk0") || !slices.Contains(defined, "tk2") {
		return false
	}
	// Every switch side is up, and in its bridge.
	for _, name := range []string{"p-tk2-0-br", "p-tk2-1-br", "p-tk0-0-br", "p-tk0-1-br"} {
		line := h.run("ip", "-o", "link", "show", name)
		if !strings.Contains(line, "master brtenks") || !strings.Contains(line, ",UP") && !strings.Contains(line, "UP,") {
			return false
		}
	}
	return strings.Contains(h.run("ip", "-o", "link", "show", "p-tk2-0-tap"), "UP")
}

func TestIntegrationLibvirtFaultsCostNoAnswerOfABMC(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.init(agentYAML)
	h.tenks("apply", "-f", h.write("demo.yml", demo(2)), "--wait=2m")
	h.tenks("node", "power", "on", "tk0")
	id := h.domains()["tk0"]
	tk0, tk1 := h.node("tk0"), h.node("tk1")

	status := func(n api.Node) {
		t.Helper()
		began := time.Now()
		out, err := h.ipmi(n, "power", "status")
		if err != nil || !strings.HasPrefix(out, "Chassis Power is ") || time.Since(began) > 3*time.Second {
			t.Errorf("%s: power status after %s: %q, %v", n.Name, time.Since(began), out, err)
		}
	}
	works := func(what string) {
		t.Helper()
		h.wait(30*time.Second, "power to work after "+what, func() bool {
			_, err := h.ipmi(tk1, "power", "on")
			return err == nil && h.node("tk1").Power == "on"
		})
		if _, err := h.ipmi(tk1, "power", "off"); err != nil {
			t.Errorf("power off after %s: %v", what, err)
		}
		h.wait(20*time.Second, "power off after "+what, func() bool { return h.domains()["tk1"] == "-" && h.node("tk1").Power == "off" })
		if got := h.domains()["tk0"]; got != id {
			t.Errorf("after %s the running guest's domain ID %s became %s", what, id, got)
		}
	}
	works("nothing")
	image := h.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 64<<10)) })) + "/x.iso"

	t.Run("libvirtd hung for 30 s", func(t *testing.T) {
		if err := h.SignalLibvirtd(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(30 * time.Second)
		h.askAll(t, "libvirtd hangs", tk1, image, false)
		h.readAll(t, "libvirtd hangs", tk1)
		busy := ""
		for time.Now().Before(until) {
			status(tk0)
			if out, err := h.ipmi(tk1, "power", "on"); err != nil {
				busy = out
			}
			pause(t.Context(), 500*time.Millisecond)
		}
		if err := h.SignalLibvirtd(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		t.Logf("power on while libvirtd hung: %s", strings.TrimSpace(busy))
		if !strings.Contains(busy, "Node busy") {
			t.Errorf("power on while libvirtd hung: %q, want Node busy", busy)
		}
		works("a hang")
	})
	t.Run("libvirtd restarted", func(t *testing.T) {
		if err := h.StopLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
		status(tk0)
		if err := h.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
		works("a restart of libvirtd")
	})
	t.Run("driver process killed", func(t *testing.T) {
		for range 3 {
			h.killProgram(filepath.Join(bin, "tenks-libvirt"))
			h.askAll(t, "the driver was killed", tk1, image, false)
			status(tk0)
			works("a kill of the driver")
		}
	})
	h.waitReady(2, 30*time.Second)
}
