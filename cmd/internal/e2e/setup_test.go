package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tenks/cmd/internal/api"
)

// redfish is a client of one system.
type redfish struct {
	*host
	system, login string
}

// ask makes a request below the system, and returns the status and the body.
func (r redfish) ask(method, path, body string) (status string, answer map[string]any) {
	r.t.Helper()
	args := []string{"-sk", "-u", r.login, "-X", method, "-w", "\n%{http_code}", "https://127.0.0.1:8000" + r.system + path}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	out := r.run("curl", args...)
	i := strings.LastIndex(out, "\n")
	_ = json.Unmarshal([]byte(out[:i]), &answer) // many have none
	return strings.TrimSpace(out[i:]), answer
}

// want fails the test unless a request has a status.
func (r redfish) want(status, method, path, body string) map[string]any {
	r.t.Helper()
	got, answer := r.ask(method, path, body)
	if got != status {
		r.t.Fatalf("%s %s %s: status %s, want %s: %v", method, path, body, got, status, answer)
	}
	return answer
}

// blocks are the names of the files of a domain's disks.
func (h *host) blocks(n api.Node, args ...string) string {
	h.t.Helper()
	var out []string
	for line := range strings.Lines(h.run("virsh", append([]string{"-q", "domblklist", n.Name}, args...)...)) {
		if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(f[1], "/") {
			out = append(out, f[0]+"="+f[1][strings.LastIndex(f[1], "/")+1+len(n.Name):])
		}
	}
	return strings.Join(out, " ")
}

func TestIntegrationRedfishChangesHardwareOfTheGuest(t *testing.T) {
	besideOthers(t)
	h := newHost(t)
	h.init(agentYAML)
	h.tenks("apply", "-f", h.write("demo.yml", strings.Replace(demo(1), "[{capacity: 1GiB}]", "[{capacity: 1GiB}, {capacity: 1GiB}, {capacity: 2GiB}]", 1)), "--wait=2m")
	n, err := h.api.Node(t.Context(), "tk0", api.ShowSecrets)
	if err != nil {
		t.Fatal(err)
	}
	r := redfish{h, "/redfish/v1/Systems/" + n.UUID, fmt.Sprintf("%s:%s", n.BMC.Username, n.BMC.Password)}
	disks := func(want string, args ...string) {
		t.Helper()
		h.wait(30*time.Second, "disks "+want, func() bool { return h.blocks(n, args...) == want })
	}
	disks("vda=vol0 vdb=vol1 vdc=vol2")

	// Off, a change is made at once, and there with the start that comes right after it.
	const volumes = "/Storage/1/Volumes"
	r.want("204", "DELETE", volumes+"/1", "")
	r.want("204", "DELETE", volumes+"/2", "")
	made := r.want("201", "POST", volumes, `{"RAIDType":"RAID1","Links":{"Drives":[{"@odata.id":"`+r.system+`/Storage/1/Drives/Disk1"},{"@odata.id":"`+r.system+`/Storage/1/Drives/Disk2"}]}}`)
	r.want("200", "PATCH", "/Bios/Settings", `{"Attributes":{"ProcVirtualization":"Disabled","BootTimeout":1}}`)
	r.want("200", "PATCH", "", `{"Boot":{"BootOrder":["Boot0001","Boot0002"]}}`)
	r.want("204", "POST", "/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`)
	h.wait(30*time.Second, "the node to be on", func() bool { return strings.TrimSpace(h.run("virsh", "domstate", n.Name)) == "running" })
	disks("vda=raid1 vdb=vol2")
	identifiers, _ := made["Identifiers"].([]any)
	uuid, _ := identifiers[0].(map[string]any)["DurableName"].(string)
	text := h.run("virsh", "dumpxml", n.Name)
	for _, want := range []string{"<serial>" + strings.ReplaceAll(uuid, "-", "")[:20] + "</serial>", "<feature policy='disable' name='vmx'/>", "timeout='1000'"} {
		if !strings.Contains(text, want) {
			t.Errorf("the guest lacks %s:\n%s", want, text)
		}
	}
	if _, after, _ := strings.Cut(text, "dev='vdb'"); !strings.Contains(strings.SplitN(after, "</disk>", 2)[0], "<boot order='1'/>") {
		t.Errorf("the second disk is not the first to be started from:\n%s", text)
	}

	// On, it waits for a reset.
	id, _ := made["Id"].(string)
	r.want("400", "DELETE", volumes+"/"+id, `{"@Redfish.OperationApplyTime":"Immediate"}`)
	r.want("202", "DELETE", volumes+"/"+id, `{"@Redfish.OperationApplyTime":"OnReset"}`)
	r.want("200", "PATCH", "", `{"Boot":{"BootSourceOverrideMode":"UEFI"}}`)
	disks("vda=vol0 vdb=vol1 vdc=vol2", "--inactive")
	disks("vda=raid1 vdb=vol2")
	r.want("204", "POST", "/Actions/ComputerSystem.Reset", `{"ResetType":"ForceRestart"}`)
	disks("vda=vol0 vdb=vol1 vdc=vol2")
	if text := h.run("virsh", "dumpxml", n.Name); !strings.Contains(text, "OVMF") {
		t.Errorf("the guest has no UEFI:\n%s", text)
	}
	h.wait(30*time.Second, "one volume", func() bool { return r.want("200", "GET", volumes, "")["Members@odata.count"] == 1.0 })
	r.want("204", "POST", "/Actions/ComputerSystem.Reset", `{"ResetType":"ForceOff"}`)
	h.waitReady(1, 30*time.Second)
}
