package cloudlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// kept is where the databases and keys of the first start are left for later ones: making the
// schemas takes most of a start. It belongs to the version of Nova that made it.
const kept = "/var/cache/tenks-cloudlab"

func (c *Cloud) data(name string) string { return filepath.Join(c.opts.Dir, "data", name) }

// keptData is the directory of what this version of the packages has left.
func (c *Cloud) keptData(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f=${Version}", "nova-common").Output()
	if err != nil {
		return "", fmt.Errorf("version of nova-common: %w", err)
	}
	return filepath.Join(kept, "nova-"+string(out)), nil
}

// restore takes what an earlier start has left; false: there is none.
func (c *Cloud) restore(ctx context.Context) (bool, error) {
	from, err := c.keptData(ctx)
	if err != nil || !exists(from) {
		return false, err
	}
	return true, c.run(ctx, "cp", "-a", from+"/.", c.data(""))
}

// keep leaves databases and keys for later starts. The database is stopped meanwhile.
func (c *Cloud) keep(ctx context.Context) error {
	to, err := c.keptData(ctx)
	if err != nil {
		return err
	}
	i := c.index("mariadb")
	c.daemons[i].end(time.Minute)
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(kept, "new")
	if err != nil {
		return err
	}
	err = c.run(ctx, "cp", "-a", c.data("")+"/.", temporary)
	if err == nil {
		err = os.Rename(temporary, to)
	}
	if exists(to) {
		err = nil // another test was quicker, if not this one
	}
	err = errors.Join(err, os.RemoveAll(temporary))
	c.daemons = append(c.daemons[:i], c.daemons[i+1:]...)
	return errors.Join(err, c.startDatabase(ctx))
}

func (c *Cloud) index(name string) int {
	for i, d := range c.daemons {
		if d.name == name {
			return i
		}
	}
	return -1
}

func (c *Cloud) socket() string { return filepath.Join(c.opts.Dir, "mysql.sock") }

// startDatabase runs a MariaDB that is quick and need not survive a power failure.
func (c *Cloud) startDatabase(ctx context.Context) error {
	if !exists(c.data("mysql/mysql")) {
		if err := c.run(ctx, "mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+c.data("mysql"),
			"--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
			return err
		}
	}
	d, err := c.startDaemon("mariadb", nil, "mariadbd", "--no-defaults", "--user=root", "--datadir="+c.data("mysql"), "--socket="+c.socket(),
		"--bind-address="+bind, fmt.Sprintf("--port=%d", databasePort), "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
		"--innodb-doublewrite=0", "--innodb-buffer-pool-size=96M", "--innodb-log-file-size=32M", "--max-connections=400",
		"--performance-schema=OFF", "--skip-log-bin", "--character-set-server=utf8mb3", "--tmpdir="+filepath.Join(c.opts.Dir, "tmp"))
	if err != nil {
		return err
	}
	return d.await(ctx, func(ctx context.Context) (bool, error) {
		err := c.sql(ctx, "SELECT 1")
		return err == nil, err
	})
}

func (c *Cloud) sql(ctx context.Context, statement string) error {
	return c.run(ctx, "mariadb", "--no-defaults", "--socket="+c.socket(), "-uroot", "-e", statement)
}

// makeSchemas makes the databases of all services, whichever of them run. They do not depend
// on each other.
func (c *Cloud) makeSchemas(ctx context.Context) error {
	for _, name := range []string{"keystone", "placement", "nova", "nova_api", "nova_cell0", "glance"} {
		if err := c.sql(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb3"); err != nil {
			return err
		}
	}
	if err := c.sql(ctx, "GRANT ALL ON *.* TO 'root'@'%' IDENTIFIED BY '' WITH GRANT OPTION"); err != nil {
		return err
	}
	keystone := func(args ...string) []string {
		return append([]string{"keystone-manage", "--config-file", c.conf("keystone")}, args...)
	}
	nova := func(args ...string) []string {
		return append([]string{"nova-manage", "--config-file", c.conf("nova"), "--log-file", filepath.Join(c.opts.Dir, "log", "nova-manage.log")}, args...)
	}
	for _, dir := range []string{"keystone/fernet", "keystone/credential"} {
		if err := os.MkdirAll(c.data(dir), 0o700); err != nil {
			return err
		}
	}
	v := values{Bind: bind}
	var g errgroup.Group
	for _, commands := range [][][]string{
		{
			keystone("db_sync"),
			keystone("fernet_setup", "--keystone-user", "root", "--keystone-group", "root"),
			keystone("credential_setup", "--keystone-user", "root", "--keystone-group", "root"),
			keystone("bootstrap", "--bootstrap-password", Password, "--bootstrap-admin-url", authURL(), "--bootstrap-internal-url", authURL(),
				"--bootstrap-public-url", authURL(), "--bootstrap-region-id", "RegionOne"),
			{"placement-manage", "--config-file", c.conf("placement"), "db", "sync"},
			{"glance-manage", "--config-file", c.conf("glance"), "db", "sync"},
		}, {
			nova("api_db", "sync"),
			nova("cell_v2", "map_cell0", "--database_connection", v.Database("nova_cell0")),
			nova("db", "sync"),
			nova("cell_v2", "create_cell", "--name", "cell1"),
		},
	} {
		g.Go(func() error {
			for _, command := range commands {
				if err := c.run(ctx, command[0], command[1:]...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
