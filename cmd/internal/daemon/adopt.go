package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tenks/cmd/internal/api"
	"tenks/cmd/internal/declare"
	"tenks/ironic"
	"tenks/raftfsm/state"
)

// Foreign implements api.Adopter.
func (a *agent) Foreign(ctx context.Context, peer string, names []string, ports []int) (api.Foreign, error) {
	if peer != a.mesh.ID() {
		q := url.Values{"node": names}
		for _, p := range ports {
			q.Add("port", strconv.Itoa(p))
		}
		if a.mesh.Transport() == nil {
			return api.Foreign{}, errNoPeers
		}
		return askPeer[api.Foreign](ctx, a, peer, "/v1/foreign?"+q.Encode())
	}
	all, err := a.host.Foreign(ctx, names)
	if err != nil {
		return api.Foreign{}, err
	}
	out := api.Foreign{Ports: holders(ports)}
	for _, f := range all {
		one := declare.Found{UUID: f.UUID, Driver: f.Driver, BootMode: f.BootMode, NVRAM: f.NVRAM, Problem: f.Problem}
		for _, v := range f.Volumes {
			one.Volumes = append(one.Volumes, declare.FoundVolume{OriginVolume: state.OriginVolume{Path: v.Path, Format: v.Format}, CapacityBytes: v.CapacityBytes})
		}
		for i, l := range f.Links {
			port := declare.FoundPort{MAC: strings.ToLower(f.NICs[i].MAC), Link: l.OriginLink, Device: l.Device, Mapped: a.mappedTo(l.Device), Problem: l.Problem}
			if port.Problem == "" && l.TapMAC != port.MAC {
				port.Problem = fmt.Sprintf("its address is %s and that of interface %s is %s", port.MAC, l.Tap, l.TapMAC)
			}
			one.Ports = append(one.Ports, port)
		}
		out.Nodes, out.Names = append(out.Nodes, one), append(out.Names, f.Name)
	}
	return out, nil
}

// IronicRecords implements api.Adopter.
func (a *agent) IronicRecords(ctx context.Context, access state.IronicAccess, names []string) (map[string]string, error) {
	return ironic.Records(ctx, access, names)
}

// holders says which programs of this host listen on UDP ports.
func holders(ports []int) map[int]string {
	out := map[int]string{}
	inodes := map[string]int{}
	for _, table := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue // without IPv6, or without /proc: nothing is known to be held
		}
		for inode, port := range udpSockets(f) {
			if slices.Contains(ports, port) {
				inodes["socket:["+inode+"]"] = port
			}
		}
		_ = f.Close()
	}
	if len(inodes) == 0 {
		return out
	}
	for _, port := range inodes {
		out[port] = "a program that cannot be told"
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		port, held := inodes[target]
		if err != nil || !held {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		if pid == strconv.Itoa(os.Getpid()) {
			delete(out, port) // it is ours
			continue
		}
		out[port] = programOf(pid)
	}
	return out
}

// programOf is a process for people, as in "vbmcd (PID 12)".
func programOf(pid string) string {
	line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	words := strings.FieldsFunc(string(line), func(r rune) bool { return r == 0 })
	if err != nil || len(words) == 0 {
		return "PID " + pid
	}
	name := filepath.Base(words[0])
	if len(words) > 1 && strings.HasPrefix(name, "python") {
		name = filepath.Base(words[1])
	}
	return fmt.Sprintf("%s (PID %s)", name, pid)
}

// udpSockets reads a table of sockets (proc_net(5)): ports by inode.
func udpSockets(r io.Reader) map[string]int {
	out := map[string]int{}
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 10 {
			continue
		}
		_, hex, ok := strings.Cut(f[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if ok && err == nil {
			out[f[9]] = int(port)
		}
	}
	return out
}

// mappedTo are the physnets of this host that a device is mapped to; nothing joins those
// that are isolated.
func (a *agent) mappedTo(device string) []string {
	var out []string
	for name, p := range a.opt.Config.Physnets {
		if p.Device == device && p.VLAN == 0 && p.VXLAN == 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
