// Command agent is a small deploy agent for Ironic, the program of the ramdisk that tests deploy
// nodes with. It speaks the protocol that ironic-python-agent does (look-up, heartbeats, commands
// on port 9999) and can what a deployment of a whole-disk image and the cleaning of metadata need.
//
// It reads /proc/cmdline, works on the machine's disks, logs to standard error, and runs until the
// machine goes off.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// port is where the conductor's commands come to.
const port = "9999"

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	if err := run(context.Background(), log); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger) error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	p := parameters(string(cmdline))
	api := strings.TrimRight(p["ipa-api-url"], "/")
	if api == "" {
		return fmt.Errorf("no ipa-api-url on the kernel's command line: %s", cmdline) //nolint:err113 // for people
	}
	m := machine{sys: "/sys", dev: "/dev", power: reboot, reread: reread}
	a := newAgent(api, p["ipa-agent-token"], m, log)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+port)
	if err != nil {
		return err
	}
	a.lookUp(ctx)
	a.callback, err = callback(ctx, api)
	if err != nil {
		return err
	}
	// Whoever waits for this line knows that commands are taken.
	log.InfoContext(ctx, "TENKS-AGENT", "node", a.node, "callback", a.callback)
	go a.beat(ctx) // until the machine goes off
	s := http.Server{Handler: a.handler(), ReadHeaderTimeout: time.Minute}
	return s.Serve(l)
}

// parameters are those of a kernel's command line.
func parameters(cmdline string) map[string]string {
	out := map[string]string{}
	for _, field := range strings.Fields(cmdline) {
		key, value, _ := strings.Cut(field, "=")
		out[key] = value
	}
	return out
}

// callback is where the conductor reaches this machine: at the address that it is seen from.
func callback(ctx context.Context, api string) (string, error) {
	_, host, _ := strings.Cut(api, "://")
	host, _, _ = strings.Cut(host, "/")
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "80")
	}
	c, err := new(net.Dialer).DialContext(ctx, "udp", host) // sends nothing
	if err != nil {
		return "", err
	}
	defer c.Close()
	ip, _, err := net.SplitHostPort(c.LocalAddr().String())
	return "http://" + net.JoinHostPort(ip, port), err
}
