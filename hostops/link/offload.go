package link

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of ethtool(8) about checksums of what a link passes on (linux/ethtool.h).
const (
	getTxChecksums = 0x16
	setTxChecksums = 0x17
)

// ifreqData is struct ifreq of netdevice(7) with ifr_data.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the rest of the union
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ cmd, data uint32 }

func ethtool(socket int, name string, v *ethtoolValue) error {
	var r ifreqData
	if copy(r.name[:len(r.name)-1], name) != len(name) {
		return fmt.Errorf("interface name %q is too long", name)
	}
	r.data = unsafe.Pointer(v)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	if errno != 0 {
		return errno
	}
	return nil
}

// offloads reports whether a link passes frames on whose checksums are incomplete; false
// for one that is gone meanwhile.
func offloads(socket int, name string) bool {
	v := ethtoolValue{cmd: getTxChecksums}
	return ethtool(socket, name, &v) == nil && v.data != 0
}

// complete has the kernel complete checksums before a link passes frames on, and with
// that cut what is larger than its MTU: a link that cannot do the one is not given the
// other.
func complete(socket int, name string) error {
	return ethtool(socket, name, &ethtoolValue{cmd: setTxChecksums})
}
