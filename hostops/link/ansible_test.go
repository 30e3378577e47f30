package link

import (
	"fmt"
	"testing"
)

// Names of links were cut off, and then those of two nodes, or ports, were one: see
// docs/from-ansible.md. What stands for a node is unique in the mesh; from that on no two
// names may meet.
func TestB13NoTwoPortsHaveAnInterfaceNameInCommon(t *testing.T) {
	seen := map[string]string{}
	for _, node := range []string{"tk0", "tk1", "tk10", "c-0", "c0", "a1b2c3", "abcde9", "999999"} {
		for port := range 32 {
			for _, name := range []string{TapName(node, port), PeerName(node, port)} {
				who := fmt.Sprintf("port %d of %s", port, node)
				if len(name) > 15 || seen[name] != "" {
					t.Errorf("%s: %q, also of %q", who, name, seen[name])
				}
				seen[name] = who
			}
		}
	}
}
