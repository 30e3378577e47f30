package config

import (
	"strings"
	"testing"
)

// A documented key of the override file, cmd, had teardown.yml deploy, and physnet_mappings
// there beat those of each host: see docs/from-ansible.md. What is done is a command, and
// what a host has is its own file's.
func TestB2AFileSaysNeitherWhatIsDoneNorWhatHostsHave(t *testing.T) {
	const file = "cluster: demo\nnode_types: {small: {memory_mb: 512, vcpus: 1}}\nspecs: [{type: small, count: 1}]\n"
	if _, err := LoadCluster("demo.yml", []byte(file)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"cmd: deploy", "physnet_mappings: {physnet1: eth1}", "ipmi_port_range_start: 6230"} {
		_, err := LoadCluster("demo.yml", []byte(file+key+"\n"))
		if name, _, _ := strings.Cut(key, ":"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
