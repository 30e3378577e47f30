package ipmi

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	bmcguard "tenks/bmc/guard"
)

// lanRead is a parameter being read.
type lanRead struct {
	*call
	// set and block are the selectors of a parameter that is a table.
	set, block byte
}

// lanParam returns a parameter's data.
type lanParam func(lanRead) ([]byte, error)

// Values of LAN parameters (IPMI v2.0 Table 23-4).
const (
	staticAddress = 0x01
	ttl           = 64
	dontFragment  = 0x40
	answersARP    = 0x02
	guardUnit     = 10 * time.Second

	ipv6Only, ipv6Both        = 0x01, 0x02 // support
	ipv6Disabled, ipv6Enabled = 0, 1
	addressEnabled            = 0x80 // and static
	statusActive              = 0
	statusDisabled            = 1
	staticAddresses           = 1
	suiteSlots                = 16
)

// lanParams are all there are. What belongs to IPMI 1.5, to alerts, to a second gateway, VLANs,
// DHCP and router advertisements reads as "none".
var lanParams = map[byte]lanParam{
	lanSetInProgress: func(r lanRead) ([]byte, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return []byte{r.progress(&r.lanSet)}, nil
	},
	1:            func(r lanRead) ([]byte, error) { return r.types15(1), nil }, // authentication types
	2:            func(r lanRead) ([]byte, error) { return r.types15(5), nil }, // by privilege
	3:            func(r lanRead) ([]byte, error) { return v4(r.network().Address.Addr()), nil },
	4:            fixed(staticAddress),
	5:            func(r lanRead) ([]byte, error) { mac := r.network().MAC; return mac[:], nil },
	6:            func(r lanRead) ([]byte, error) { return maskOf(r.network().Address), nil },
	7:            fixed(ttl, dontFragment, 0),
	8:            func(r lanRead) ([]byte, error) { return binary.LittleEndian.AppendUint16(nil, r.port), nil },
	9:            fixed(0, 0), // port of the secure RMCP
	10:           fixed(answersARP),
	11:           fixed(0), // gratuitous ARPs
	12:           func(r lanRead) ([]byte, error) { return v4(r.network().Gateway), nil },
	13:           fixed(0, 0, 0, 0, 0, 0),
	14:           fixed(0, 0, 0, 0), // second gateway
	15:           fixed(0, 0, 0, 0, 0, 0),
	lanCommunity: func(r lanRead) ([]byte, error) { return r.community(), nil },
	17:           fixed(0), // alert destinations
	18:           destination(4),
	19:           destination(13),
	20:           fixed(0, 0), // VLAN
	21:           fixed(0),
	22:           func(lanRead) ([]byte, error) { return []byte{byte(len(suites))}, nil },
	23:           func(lanRead) ([]byte, error) { return suiteIDs(), nil },
	24:           func(lanRead) ([]byte, error) { return suiteLimits(), nil },
	26:           fixed(0, bmcguard.MaxFailures, byte(bmcguard.Within/guardUnit), 0, byte(bmcguard.BlockFor/guardUnit), 0), // bad passwords, per source
	50:           fixed(ipv6Only | ipv6Both),
	51:           func(r lanRead) ([]byte, error) { return []byte{r.ipv6Enable()}, nil },
	52:           fixed(0),
	53:           fixed(ttl),
	54:           fixed(0, 0, 0),
	55:           fixed(staticAddresses, 0, 0),
	56:           func(r lanRead) ([]byte, error) { return r.ipv6Static() },
	57:           fixed(0), // blocks of the DUID
	58:           ipv6Block,
	59:           ipv6Dynamic,
	60:           fixed(0),
	61:           ipv6Block,
	62:           fixed(0),
	64:           fixed(0), // routers
	65:           fixed(make([]byte, 16)...),
	66:           fixed(0, 0, 0, 0, 0, 0),
	67:           fixed(0),
	68:           fixed(make([]byte, 16)...),
	69:           fixed(make([]byte, 16)...),
	70:           fixed(0, 0, 0, 0, 0, 0),
	71:           fixed(0),
	72:           fixed(make([]byte, 16)...),
	73:           fixed(0),
}

// types15 repeats the mask of authentication types of IPMI 1.5 that are on.
func (r lanRead) types15(n int) []byte {
	b := make([]byte, n)
	if r.v15 {
		for i := range b {
			b[i] = types15
		}
	}
	return b
}

func fixed(b ...byte) lanParam { return func(lanRead) ([]byte, error) { return clone(b), nil } }

// destination is the volatile alert destination, set selector 0: there is no other.
func destination(n int) lanParam {
	return func(r lanRead) ([]byte, error) {
		if r.set != 0 {
			return nil, refused(types.CodeParameterOutOfRange)
		}
		return make([]byte, n), nil
	}
}

func (r lanRead) network() LAN { return r.lan(r.from) }

// v4 is an IPv4 address, zeros for none.
func v4(a netip.Addr) []byte {
	if a = a.Unmap(); !a.Is4() {
		return make([]byte, 4)
	}
	return a.AsSlice()
}

func maskOf(p netip.Prefix) []byte {
	if !p.Addr().Unmap().Is4() {
		return make([]byte, 4)
	}
	return binary.BigEndian.AppendUint32(nil, ^uint32(1<<(32-p.Bits())-1))
}

func (r lanRead) community() []byte {
	raw := r.chassis.Recall(settingsKey)
	r.mu.Lock()
	defer r.mu.Unlock()
	b := make([]byte, communityLen)
	if set := r.settings.of(raw).Community; set != nil {
		copy(b, set)
	} else {
		copy(b, defaultCommunity)
	}
	return b
}

func suiteIDs() []byte {
	b := []byte{0}
	for i := len(suites) - 1; i >= 0; i-- {
		b = append(b, byte(suites[i].id))
	}
	return b
}

// suiteLimits has the privilege limit of each entry of suiteIDs, half a byte each.
func suiteLimits() []byte {
	b := make([]byte, 1+suiteSlots/2)
	for i := range suites {
		b[1+i/2] |= byte(userLimit) << (4 * (i % 2))
	}
	return b
}

func (r lanRead) ipv6() (netip.Prefix, bool) {
	p := r.network().Address
	return p, p.Addr().Is6()
}

func (r lanRead) ipv6Enable() byte {
	if _, ok := r.ipv6(); ok {
		return ipv6Enabled
	}
	return ipv6Disabled
}

func (r lanRead) ipv6Static() ([]byte, error) {
	if r.set >= staticAddresses {
		return nil, refused(types.CodeParameterOutOfRange)
	}
	p, ok := r.ipv6()
	if !ok {
		return ipv6Address(r.set, 0, netip.IPv6Unspecified(), 0, statusDisabled), nil
	}
	return ipv6Address(r.set, addressEnabled, p.Addr(), p.Bits(), statusActive), nil
}

func ipv6Dynamic(r lanRead) ([]byte, error) {
	if r.set != 0 {
		return nil, refused(types.CodeParameterOutOfRange)
	}
	return ipv6Address(r.set, 0, netip.IPv6Unspecified(), 0, statusDisabled), nil
}

func ipv6Address(set, source byte, a netip.Addr, bits int, status byte) []byte {
	b := append([]byte{set, source}, a.AsSlice()...)
	return append(b, byte(bits), status)
}

// ipv6Block is a block of a DUID, which nobody set.
func ipv6Block(r lanRead) ([]byte, error) {
	if r.set != 0 || r.block != 0 {
		return nil, refused(types.CodeParameterOutOfRange)
	}
	return make([]byte, 2+16), nil
}
