package lab

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// The process events connector (linux/connector.h, linux/cn_proc.h).
const (
	cnIdxProc    = 1
	cnValProc    = 1
	mcastListen  = 1
	mcastIgnore  = 2
	procExec     = 0x2
	cnMessageLen = 20
	// whatAt and tgidAt are where proc_event's kind, and an exec's process, are in a
	// datagram: after struct nlmsghdr, struct cn_msg, and three fields of its own.
	whatAt = unix.SizeofNlMsghdr + cnMessageLen
	tgidAt = whatAt + 20
	// maxProcEvent is more than a datagram has (76 bytes).
	maxProcEvent = 4096
)

// execs says what this machine's processes execute, in this machine's own network
// namespace only.
type execs struct {
	events *os.File
	buffer []byte
}

func listenExecs() (*execs, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	e := &execs{events: os.NewFile(uintptr(fd), "execs"), buffer: make([]byte, maxProcEvent)}
	if _, err := e.events.Write(subscription(mcastListen)); err != nil {
		return nil, errors.Join(err, e.events.Close())
	}
	return e, nil
}

// subscription is the message that turns events on or off.
func subscription(op uint32) []byte {
	const length = unix.SizeofNlMsghdr + cnMessageLen + 4
	b := binary.NativeEndian.AppendUint32(nil, length)
	b = binary.NativeEndian.AppendUint16(b, unix.NLMSG_DONE)
	b = append(b, make([]byte, 10)...) // flags, sequence number, port
	b = binary.NativeEndian.AppendUint32(b, cnIdxProc)
	b = binary.NativeEndian.AppendUint32(b, cnValProc)
	b = append(b, make([]byte, 8)...) // sequence number, acknowledgement
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = append(b, 0, 0) // flags
	return binary.NativeEndian.AppendUint32(b, op)
}

// next waits for a process to have executed a program. Errors: ENOBUFS, some were
// missed; os.ErrClosed.
func (e *execs) next() (pid int, err error) {
	for {
		n, err := e.events.Read(e.buffer)
		if err != nil {
			return 0, err
		}
		if pid, ok := parseExec(e.buffer[:n]); ok {
			return pid, nil
		}
	}
}

// parseExec decodes an event; false: of another kind.
func parseExec(b []byte) (pid int, ok bool) {
	if len(b) < tgidAt+4 || binary.NativeEndian.Uint32(b[whatAt:]) != procExec {
		return 0, false
	}
	return int(binary.NativeEndian.Uint32(b[tgidAt:])), true
}

func (e *execs) close() error {
	_, _ = e.events.Write(subscription(mcastIgnore)) // the kernel stops counting on it
	return e.events.Close()
}
