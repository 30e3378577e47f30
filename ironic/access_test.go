package ironic

import (
	"fmt"
	"strings"
	"testing"

	"tenks/ironic/ironictest"
	"tenks/raftfsm/state"
)

const (
	ironicUser     = "operator"
	ironicPassword = "planted-ironic-password"
)

func cloudYAML(authURL, password string) state.Secret {
	return state.NewSecret(fmt.Sprintf(`clouds:
  lab:
    region_name: RegionOne
    auth:
      auth_url: %s
      username: %s
      password: %s
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
`, authURL, ironicUser, password))
}

func TestEveryWayOfAuthenticationEnrols(t *testing.T) {
	basic := ironictest.Options{Username: ironicUser, Password: ironicPassword}
	keystone := basic
	keystone.Token = "planted-token"
	for name, c := range map[string]struct {
		opts   ironictest.Options
		access func(url string) state.IronicAccess
	}{
		"none":                 {ironictest.Options{}, func(u string) state.IronicAccess { return state.IronicAccess{Auth: "none", Endpoint: u} }},
		"none, version in URL": {ironictest.Options{}, func(u string) state.IronicAccess { return state.IronicAccess{Auth: "none", Endpoint: u + "/v1/"} }},
		"http_basic": {basic, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "http_basic", Endpoint: u, Username: ironicUser, Password: state.NewSecret(ironicPassword)}
		}},
		"clouds.yaml with Keystone": {keystone, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: cloudYAML(u+"/identity/v3", ironicPassword)}
		}},
		"clouds.yaml without Keystone": {ironictest.Options{}, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: state.NewSecret("clouds: {lab: {auth_type: none, auth: {endpoint: '" + u + "'}}}")}
		}},
		"clouds.yaml with http_basic": {basic, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: state.NewSecret(fmt.Sprintf(
				"clouds: {lab: {auth_type: http_basic, auth: {endpoint: '%s', username: %s, password: %s}}}", u, ironicUser, ironicPassword))}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			// What is in the environment of an agent must not matter.
			t.Setenv("OS_REGION_NAME", "elsewhere")
			t.Setenv("OS_INTERFACE", "internal")
			w := newWorld(t, 2, c.opts)
			w.access = c.access(w.ironic.URL())
			w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex()})
			w.until(w.enroller(), "enrolled", w.enrolled)
			for _, secret := range []string{ironicPassword, "planted-token"} {
				if strings.Contains(w.logs.String(), secret) {
					t.Errorf("%q in the log:\n%s", secret, w.logs.String())
				}
			}
		})
	}
}

func TestWrongCredentialsAreNamedWithoutBeingShown(t *testing.T) {
	const wrong = "planted-wrong-password"
	opts := ironictest.Options{Username: ironicUser, Password: ironicPassword}
	keystone := opts
	keystone.Token = "planted-token"
	for name, c := range map[string]struct {
		opts   ironictest.Options
		access func(url string) state.IronicAccess
		want   string
	}{
		"http_basic": {opts, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "http_basic", Endpoint: u, Username: ironicUser, Password: state.NewSecret(wrong)}
		}, "Incorrect username or password (HTTP 401); will retry"},
		"keystone": {keystone, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: cloudYAML(u+"/identity/v3", wrong)}
		}, "ironic cloud lab: The request you have made requires authentication (HTTP 401); will retry"},
		"no such entry": {keystone, func(u string) state.IronicAccess {
			return state.IronicAccess{Auth: "cloud", Cloud: "other", CloudYAML: cloudYAML(u+"/identity/v3", wrong)}
		}, "ironic cloud other: clouds.yaml: has no such entry; will retry"},
		"broken document": {keystone, func(string) state.IronicAccess {
			return state.IronicAccess{Auth: "cloud", Cloud: "lab", CloudYAML: state.NewSecret("clouds: [" + wrong)}
		}, "ironic cloud lab: clouds.yaml: is not what it should be; will retry"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, c.opts)
			w.access = c.access(w.ironic.URL())
			w.apply(state.ApplyCluster{Cluster: state.Cluster{Name: "demo", Ironic: &w.access}, Expect: w.clusterIndex()})
			e := w.enroller()
			w.until(e, "the reason is reported", func() bool { return w.node(0).Ironic.Error != "" })
			if got := w.node(0).Ironic.Error; !strings.HasSuffix(got, c.want) || strings.Contains(got+w.logs.String(), wrong) {
				t.Errorf("reason = %q, want …%q; log:\n%s", got, c.want, w.logs.String())
			}
		})
	}
}
