package redfish

import (
	"net/http"
	"strings"
	"testing"
)

func TestAtItsOwnAddressASystemIsTheOnlyOne(t *testing.T) {
	f := newFixture(t)
	login := map[string]string{"UserName": f.user, "Password": f.password}
	everywhere := f.want(http.StatusCreated, post, sessionsPath, login).Header().Get("X-Auth-Token")
	f.only = strings.ToUpper(first)
	if a := f.want(http.StatusOK, get, systemsPath, nil); a.at("Members@odata.count") != 1.0 || a.at("Members/0/@odata.id") != sys1 {
		t.Errorf("systems: %s", a.Body)
	}
	f.want(http.StatusOK, get, sys1, nil)
	f.want(http.StatusNotFound, get, systemsPath+"/"+second, nil)
	if a := f.want(http.StatusOK, get, "/redfish/v1/?$expand=.($levels=2)", nil); strings.Contains(a.Body.String(), second) || !strings.Contains(a.Body.String(), first) {
		t.Errorf("expanded: %s", a.Body)
	}
	f.want(http.StatusNoContent, post, sys1+"/Actions/ComputerSystem.Reset", map[string]string{"ResetType": "On"})

	here := f.want(http.StatusCreated, post, sessionsPath, login).Header().Get("X-Auth-Token")
	for name, token := range map[string]string{"one from here": here, "one from elsewhere": everywhere} {
		f.token = token
		f.want(http.StatusOK, get, sys1, nil)
		if a := f.do(get, systemsPath+"/"+second, nil); a.Code != http.StatusNotFound {
			t.Errorf("%s: %d", name, a.Code)
		}
	}
	f.only, f.token = "", here
	f.want(http.StatusOK, get, systemsPath+"/"+second, nil)

	f.only, f.token = other, here // whose system it is not
	f.want(http.StatusUnauthorized, get, "/redfish/v1/Systems", nil)
	f.token = ""
	f.want(http.StatusUnauthorized, get, "/redfish/v1/Systems", nil)
	f.user, f.password = "", ""
	f.want(http.StatusUnauthorized, post, sessionsPath, login)
	f.want(http.StatusOK, get, "/redfish/v1/", nil)
}
