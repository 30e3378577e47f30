package cloudlab

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed conf
var templates embed.FS

// bind is the address of everything: a network namespace has its own.
const bind = "127.0.0.1"

func authURL() string { return fmt.Sprintf("http://%s:%d/v3", bind, keystonePort) }

// values are what the templates refer to.
type values struct {
	Dir, Bind, AuthURL, Transport, Ironic string
	Nova, Glance, Rabbit                  int
}

// Database is the URL of a database.
func (v values) Database(name string) string {
	return fmt.Sprintf("mysql+pymysql://root@%s:%d/%s?charset=utf8", v.Bind, databasePort, name)
}

// Account is how a service logs in.
func (v values) Account(name string) string {
	return fmt.Sprintf(`auth_type = password
auth_url = %s
username = %s
password = %s
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne`, v.AuthURL, name, Password)
}

// conf is the path of a service's configuration. Each is in a directory of its own, because
// Placement takes one.
func (c *Cloud) conf(name string) string {
	return filepath.Join(c.opts.Dir, "etc", name, name+".conf")
}

func (c *Cloud) configure() error {
	for _, dir := range []string{"log", "tmp", "locks", "nova/instances", "glance/images", "glance/staging", "glance/tasks", "rabbit", "data"} {
		if err := os.MkdirAll(filepath.Join(c.opts.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	v := values{Dir: c.opts.Dir, Bind: bind, AuthURL: authURL(), Transport: fmt.Sprintf("rabbit://guest:guest@%s:%d/", bind, rabbitPort),
		Ironic: c.opts.Ironic, Nova: novaPort, Glance: glancePort, Rabbit: rabbitPort}
	all, err := template.ParseFS(templates, "conf/*")
	if err != nil {
		return err
	}
	for _, t := range all.Templates() {
		var text bytes.Buffer
		if err := t.Execute(&text, v); err != nil {
			return err
		}
		path := c.conf(t.Name()[:len(t.Name())-len(".conf")])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(c.opts.Dir, "rabbit", "enabled_plugins"), []byte("[].\n"), 0o600)
}
