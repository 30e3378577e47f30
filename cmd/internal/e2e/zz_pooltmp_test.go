package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestIntegrationTmpPoolFence(t *testing.T) {
	l, hosts := fakeMesh(t, 3)
	outside := place{t, l.Switch()}
	file := hosts[0].write("demo.yml", strings.Replace(pooledNodes, "count: 2, node_name_prefix: tk", "count: 3, on_host_loss: rebuild, stop_after: 15s, node_name_prefix: tk", 1))
	hosts[0].wait(60*time.Second, "voters", func() bool {
		st, err := hosts[0].api.Status(t.Context())
		return err == nil && len(st.Voters) == 3
	})
	hosts[0].tenks("apply", "-f", file, "--wait=30s")
	t.Logf("%s", hosts[0].tenks("node", "list"))
	var lost *host
	name := ""
	for _, n := range hosts[0].nodes() {
		if n.Hypervisor == "hv3" && strings.HasPrefix(n.Name, "tk") {
			name, lost = n.Name, hosts[2]
		}
	}
	n := hosts[0].node(name)
	t.Logf("%v before: %v", name, lost.poolAddresses())
	if err := lost.Unplug(t.Context()); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	lost.wait(40*time.Second, "the lost host to give up", func() bool {
		for _, a := range lost.poolAddresses() {
			if strings.HasPrefix(a, n.BMC.Address+"/") {
				return false
			}
		}
		return true
	})
	t.Logf("given up after %s: left %v", time.Since(cut), lost.poolAddresses())
	hosts[0].wait(90*time.Second, "the BMC elsewhere", func() bool {
		out, err := outside.power(n)
		return err == nil && strings.HasPrefix(out, "Chassis Power is")
	})
	t.Logf("answers after %s from %s", time.Since(cut), hosts[0].node(name).Hypervisor)
	if err := lost.Plug(t.Context()); err != nil {
		t.Fatal(err)
	}
	hosts[0].wait(30*time.Second, "all ready", func() bool {
		ready := 0
		for _, n := range hosts[0].nodes() {
			if n.Phase == "ready" {
				ready++
			}
		}
		return ready == 4
	})
	t.Logf("%s", hosts[0].tenks("node", "list"))
	t.Logf("lost has %v", lost.poolAddresses())
	if out, err := outside.power(n); err != nil {
		t.Errorf("%s %v", out, err)
	}
	// leave by force: nothing stays
	t.Logf("%s", lost.tenks("leave", "--force"))
	if left := lost.poolAddresses(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	hosts[0].tenks("destroy", "demo", "--yes", "--wait=30s")
	for _, h := range hosts {
		if left := h.poolAddresses(); len(left) > 0 {
			t.Errorf("%s has %v", h.Name(), left)
		}
	}
}
