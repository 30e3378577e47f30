// Package cloudlab brings up a small real OpenStack for tests: Keystone, Placement, Nova (API,
// conductor, scheduler, and a compute service that has the nodes of an Ironic) and, if asked for,
// Glance, on a MariaDB and a RabbitMQ of their own.
//
// Everything works in one directory and, if asked to, in one network namespace; each process is
// ended by its number when the test ends, and no service of the system is touched. ../install.sh puts
// what is needed on the machine; Require skips a test where that was not done.
package cloudlab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startTimeout bounds a start: without what an earlier one has left, on a loaded machine.
const startTimeout = 8 * time.Minute

// The ports, which are those of each service's documentation.
const (
	keystonePort  = 5000
	placementPort = 8778
	novaPort      = 8774
	glancePort    = 9292
	databasePort  = 3306
	rabbitPort    = 5672
	epmdPort      = 4369
	erlangPort    = 25672
)

// Password is that of every account. The one that tests use is "admin".
const Password = "cloudlab-password"

// Require skips a test, with the reason, on a machine that lacks what ../install.sh installs.
func Require(t testing.TB) {
	t.Helper()
	if reason := Missing(); reason != "" {
		t.Skip("no OpenStack for tests: " + reason)
	}
}

// Missing says what this machine lacks; empty: nothing.
func Missing() string {
	if os.Geteuid() != 0 {
		return "needs root"
	}
	const hint = " (./setup.sh cloud installs it)"
	for _, name := range []string{"mariadbd", "mariadb-install-db", "mariadb", "uwsgi_python3", "epmd", "keystone-manage", "placement-manage", "nova-manage", "glance-manage"} {
		if _, err := exec.LookPath(program(name)); err != nil {
			return "no " + name + hint
		}
	}
	for _, file := range []string{rabbitServer, "/usr/bin/keystone-wsgi-public", "/usr/bin/placement-api", "/usr/share/nova-common/api-paste.ini"} {
		if _, err := os.Stat(file); err != nil {
			return "no " + file + hint
		}
	}
	return ""
}

// Options say where a cloud runs and of what it consists.
type Options struct {
	// Dir gets configuration, data and logs. Its path is short, because there is a socket in
	// it (unix(7)). Required.
	Dir string
	// Netns is the network namespace, by its ip-netns(8) name; empty: the caller's.
	Netns string
	// Ironic is the URL of an Ironic that takes any token. It is in the catalogue, and its nodes
	// are Nova's; it runs already.
	Ironic string
	// Images has Glance run, too.
	Images bool
}

// Cloud is a running OpenStack.
type Cloud struct {
	opts    Options
	daemons []*daemon
	token   string
}

// Start runs a cloud until the test ends. It returns once the APIs answer and nova-compute is
// there.
func Start(ctx context.Context, t testing.TB, o Options) *Cloud {
	t.Helper()
	c, err := Run(ctx, o)
	if err != nil {
		t.Fatalf("cloud: %v", err)
	}
	t.Cleanup(c.Stop)
	return c
}

// Run is Start for a caller that calls Stop itself.
func Run(ctx context.Context, o Options) (*Cloud, error) {
	c := &Cloud{opts: o}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// Dir is where everything of the cloud is.
func (c *Cloud) Dir() string { return c.opts.Dir }

// Stop ends all of it, in the opposite order. It may be repeated.
func (c *Cloud) Stop() {
	for len(c.daemons) > 0 {
		last := c.daemons[len(c.daemons)-1]
		last.end(5 * time.Second)
		c.daemons = c.daemons[:len(c.daemons)-1]
	}
}

func (c *Cloud) start(ctx context.Context) error {
	if err := c.configure(); err != nil {
		return err
	}
	restored, err := c.restore(ctx)
	if err != nil {
		return err
	}
	if err := c.startDatabase(ctx); err != nil {
		return err
	}
	if !restored {
		if err := c.makeSchemas(ctx); err != nil {
			return err
		}
	}
	if err := c.startRabbit(ctx); err != nil {
		return err
	}
	if err := c.startWSGI(ctx, "keystone", keystonePort, "/usr/bin/keystone-wsgi-public", "OS_KEYSTONE_CONFIG_FILES="+c.conf("keystone")); err != nil {
		return err
	}
	if err := c.login(ctx); err != nil {
		return err
	}
	if !restored {
		if err := c.makeAccounts(ctx); err != nil {
			return err
		}
		if err := c.keep(ctx); err != nil {
			return err
		}
	}
	return c.startServices(ctx)
}

func (c *Cloud) startServices(ctx context.Context) error {
	if err := c.startWSGI(ctx, "placement", placementPort, "/usr/bin/placement-api", "OS_PLACEMENT_CONFIG_DIR="+filepath.Dir(c.conf("placement"))); err != nil {
		return err
	}
	nova := []string{"--config-file", c.conf("nova")}
	for _, name := range []string{"conductor", "scheduler", "api"} {
		if _, err := c.startPython("nova-"+name, "nova.cmd."+name, nova...); err != nil {
			return err
		}
	}
	if c.opts.Images {
		if _, err := c.startPython("glance", "glance.cmd.api", "--config-file", c.conf("glance")); err != nil {
			return err
		}
		if err := c.answers(ctx, "glance", glancePort); err != nil {
			return err
		}
	}
	if err := c.answers(ctx, "nova-api", novaPort); err != nil {
		return err
	}
	if c.opts.Ironic == "" {
		return nil
	}
	// In place of "control", which is the other services' host.
	compute, err := c.startPython("nova-compute", "nova.cmd.compute", append(nova, "--config-file", c.conf("compute"))...)
	if err != nil {
		return err
	}
	return compute.await(ctx, func(ctx context.Context) (bool, error) {
		var body struct {
			Services []struct{ Host, State string } `json:"services"`
		}
		err := c.Call(ctx, "GET", c.NovaURL()+"/os-services?binary=nova-compute", nil, &body)
		return err == nil && len(body.Services) == 1 && body.Services[0].State == "up", err
	})
}

// NovaURL is Nova's endpoint, as the others as seen in the network namespace.
func (c *Cloud) NovaURL() string { return fmt.Sprintf("http://%s:%d/v2.1", bind, novaPort) }

// PlacementURL is Placement's endpoint.
func (c *Cloud) PlacementURL() string { return fmt.Sprintf("http://%s:%d", bind, placementPort) }

// GlanceURL is Glance's endpoint.
func (c *Cloud) GlanceURL() string { return fmt.Sprintf("http://%s:%d", bind, glancePort) }

// CloudsYAML is a clouds.yaml with an entry "lab" for the administrator.
func (c *Cloud) CloudsYAML() string {
	return fmt.Sprintf(`clouds:
  lab:
    region_name: RegionOne
    auth: {auth_url: %q, username: admin, password: %s, project_name: admin, user_domain_name: Default, project_domain_name: Default}
`, authURL(), Password)
}

// logs are the ends of all logs, for errors.
func (c *Cloud) logs(names ...string) string {
	var out []string
	for _, name := range names {
		for _, suffix := range []string{".log", ".out"} {
			if text := tail(filepath.Join(c.opts.Dir, "log", name+suffix), 2000); text != "" {
				out = append(out, name+suffix+":", text)
			}
		}
	}
	return strings.Join(out, "\n")
}
