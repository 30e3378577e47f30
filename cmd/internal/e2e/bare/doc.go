// Command bare makes nodes with libvirt and netlink and nothing else: what "tenks
// apply" is timed against. Each has a volume, a veth pair in a bridge, a domain and a
// UDP socket. It starts a goroutine per parallel worker and ends when all are done.
package main
