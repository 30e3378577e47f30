// Package libvirt is the driver that embodies nodes as libvirt guests: domains,
// volumes, power, boot order, serial console and events. It touches only domains
// whose metadata carries the mark of its mesh, and only files that it has recorded.
//
// What is decided (domain XML, boot order, what differs, which volumes to make) is in
// files that need no C. The rest needs cgo and the tag libvirt_dlopen; without them
// Open says so.
//
// Open starts nothing. The first call connects, and a connection that is lost is made
// again by the next call. Every call runs in a goroutine of its own, so that a libvirtd
// that hangs costs the call its answer and not the caller its life; Close ends the
// connection and waits. libvirt's event loop belongs to the process: it is started
// once and cannot be stopped.
package libvirt
