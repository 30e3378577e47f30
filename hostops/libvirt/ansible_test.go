package libvirt

import "testing"

// A libvirt in a container could not be used: see docs/from-ansible.md. Nothing but its
// socket is needed, and no daemon is installed or started.
func TestB23AnyLibvirtCanBeUsedByItsSocket(t *testing.T) {
	const uri = "qemu:///system?socket=/run/nova_libvirt/libvirt-sock"
	o, err := parseOptions(map[string]string{"uri": uri, "pool_path": "/var/lib/nova_libvirt/tenks"}, false)
	if err != nil || o.uri != uri || o.poolPath != "/var/lib/nova_libvirt/tenks" {
		t.Errorf("%+v, %v", o, err)
	}
}
