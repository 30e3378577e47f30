package main

import (
	"testing"

	"tenks/cmd/internal/api"
)

func TestALineToTryABMC(t *testing.T) {
	for want, n := range map[string]api.Node{
		"ipmitool -I lanplus -H 192.0.2.1 -p 6230 -U admin -P secret power status": {
			BMC: api.BMC{Protocol: "ipmi", Address: "192.0.2.1", Port: 6230, Username: "admin", Password: "secret"}},
		"curl -k -u admin:secret https://192.0.2.1:8000/redfish/v1/Systems/ab": {UUID: "AB",
			BMC: api.BMC{Protocol: "redfish", Address: "192.0.2.1", Port: 8000, Username: "admin", Password: "secret", RedfishURL: "https://192.0.2.1:8000"}},
		`curl -k -u 'a b:it'\''s $5' https://[2001:db8::1]:8000/redfish/v1/Systems/ab`: {UUID: "ab",
			BMC: api.BMC{Protocol: "redfish", Username: "a b", Password: "it's $5", RedfishURL: "https://[2001:db8::1]:8000"}},
	} {
		if got := bmcLine(n, "status"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
