package cloudlab

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
)

// rabbitServer is RabbitMQ itself: what is in the path changes to the user rabbitmq.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// startRabbit runs a RabbitMQ, and the epmd that it would leave behind otherwise.
func (c *Cloud) startRabbit(ctx context.Context) error {
	dir := filepath.Join(c.opts.Dir, "rabbit")
	if _, err := c.startDaemon("epmd", nil, "epmd", "-port", strconv.Itoa(epmdPort), "-address", bind); err != nil {
		return err
	}
	d, err := c.startDaemon("rabbit", []string{
		"HOME=" + dir, fmt.Sprintf("ERL_EPMD_PORT=%d", epmdPort), "ERL_EPMD_ADDRESS=" + bind, "RABBITMQ_NODENAME=rabbit@localhost",
		"RABBITMQ_MNESIA_BASE=" + dir + "/mnesia", "RABBITMQ_LOG_BASE=" + filepath.Join(c.opts.Dir, "log"), fmt.Sprintf("RABBITMQ_DIST_PORT=%d", erlangPort),
		"RABBITMQ_CONFIG_FILE=" + c.conf("rabbitmq"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + dir + "/enabled_plugins", "RABBITMQ_PID_FILE=" + dir + "/pid",
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
	}, rabbitServer)
	if err != nil {
		return err
	}
	return d.await(ctx, func(ctx context.Context) (bool, error) {
		err := c.run(ctx, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", bind, rabbitPort))
		return err == nil, err
	})
}

// startWSGI serves an API by uWSGI and waits until it answers. "Connection: close" is because
// uWSGI closes connections that it has not said so of.
func (c *Cloud) startWSGI(ctx context.Context, name string, port int, file string, env ...string) error {
	d, err := c.startDaemon(name, env, "uwsgi_python3", "--http-socket", net.JoinHostPort(bind, strconv.Itoa(port)), "--wsgi-file", file,
		"--master", "--processes", "1", "--threads", "4", "--enable-threads", "--thunder-lock", "--buffer-size", "65535", "--need-app",
		"--die-on-term", "--lazy-apps", "--add-header", "Connection: close", "--post-buffering", "65536", "--socket-timeout", "60", "--disable-logging")
	if err != nil {
		return err
	}
	return d.await(ctx, c.answering(port))
}

// startPython runs a service whose main function is in a module: the distribution's program of
// that name is in a package that brings a service of the system.
func (c *Cloud) startPython(name, module string, args ...string) (*daemon, error) {
	script := fmt.Sprintf("import sys; sys.argv[0] = %q; from %s import main; sys.exit(main())", name, module)
	all := append([]string{"-c", script}, args...)
	if name != "glance" { // its log is in its configuration
		all = append(all, "--log-file", filepath.Join(c.opts.Dir, "log", name+".log"))
	}
	return c.startDaemon(name, nil, "python3", all...)
}

// answers waits for a service that was started.
func (c *Cloud) answers(ctx context.Context, name string, port int) error {
	if err := c.daemons[c.index(name)].await(ctx, c.answering(port)); err != nil {
		return fmt.Errorf("%w\n%s", err, c.logs(name))
	}
	return nil
}

func (c *Cloud) answering(port int) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := c.run(ctx, "curl", "-sS", "-o", "/dev/null", "--max-time", "10", fmt.Sprintf("http://%s:%d/", bind, port))
		return err == nil, err
	}
}
