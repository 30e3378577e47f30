package link

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Attributes that the nl package lacks (linux/if_link.h, linux/rtnetlink.h).
const (
	inet6AddrGenMode     = 8
	inet6AddrGenModeNone = 1
	filterSkipStats      = 1 << 3
)

// sockets is how many requests may be in the kernel at a time. Only deletions gain, which wait for
// readers of links, most of it without the lock.
const sockets = 8

// rtnl sends rtnetlink(7) messages in the network namespace that it was opened in. It
// is safe for concurrent use. The messages are put together here because the netlink package
// sends one property per message and knows neither forward delay nor STP: a link
// would be up for a moment with an address of its own, and take twice the calls.
type rtnl struct {
	// free holds the sockets that no request is using.
	free chan *nl.SocketHandle
}

func openRTNL() (*rtnl, error) {
	r := &rtnl{free: make(chan *nl.SocketHandle, sockets)}
	for range sockets {
		s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
		if err != nil {
			r.close()
			return nil, err
		}
		r.free <- &nl.SocketHandle{Socket: s}
		if err := s.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

// close is called when no request is under way.
func (r *rtnl) close() {
	close(r.free)
	for s := range r.free {
		s.Socket.Close()
	}
}

// execute sends a message and returns the answers of a type.
func (r *rtnl) execute(kind, flags int, data []nl.NetlinkRequestData, answer uint16) ([][]byte, error) {
	s := <-r.free
	defer func() { r.free <- s }()
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: s}
	for _, d := range data {
		req.AddData(d)
	}
	return req.Execute(unix.NETLINK_ROUTE, answer)
}

// change is an RTM_NEWLINK or RTM_SETLINK message. Zero fields are left alone.
type change struct {
	name  string
	index int
	up    bool
	down  bool
	// rename is the new name of a link that is down.
	rename string
	alias  string
	mac    string
	mtu    int
	// master is an interface index; noMaster takes the link out of its bridge.
	master   int
	noMaster bool
	// quiet turns IPv6 link-local addresses off, so that the host does not speak on
	// the link.
	quiet bool
}

func (c change) attributes() ([]nl.NetlinkRequestData, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(c.index)
	if c.up {
		msg.Change, msg.Flags = unix.IFF_UP, unix.IFF_UP
	}
	if c.down {
		msg.Change = unix.IFF_UP
	}
	data := []nl.NetlinkRequestData{msg}
	add := func(kind int, value []byte) { data = append(data, nl.NewRtAttr(kind, value)) }
	if c.name != "" {
		add(unix.IFLA_IFNAME, nl.ZeroTerminated(c.name))
	}
	if c.rename != "" {
		add(unix.IFLA_IFNAME, nl.ZeroTerminated(c.rename))
	}
	if c.alias != "" {
		add(unix.IFLA_IFALIAS, []byte(c.alias))
	}
	if c.mac != "" {
		mac, err := net.ParseMAC(c.mac)
		if err != nil {
			return nil, err
		}
		add(unix.IFLA_ADDRESS, mac)
	}
	if c.mtu > 0 {
		add(unix.IFLA_MTU, nl.Uint32Attr(uint32(c.mtu)))
	}
	if c.master != 0 || c.noMaster {
		add(unix.IFLA_MASTER, nl.Uint32Attr(uint32(c.master)))
	}
	if c.quiet {
		spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
		spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(inet6AddrGenMode, []byte{inet6AddrGenModeNone})
		data = append(data, spec)
	}
	return data, nil
}

func (r *rtnl) send(kind, flags int, data []nl.NetlinkRequestData) error {
	_, err := r.execute(kind, flags|unix.NLM_F_ACK, data, unix.RTM_NEWLINK)
	return err
}

// set changes a link that exists, named by index or, if that is 0, by name.
func (r *rtnl) set(c change) error {
	if c.index != 0 {
		c.name = "" // a name beside an index would rename
	}
	data, err := c.attributes()
	if err != nil {
		return err
	}
	err = r.send(unix.RTM_SETLINK, 0, data)
	if c.quiet && errors.Is(err, unix.EAFNOSUPPORT) { // a host without IPv6 is quiet already
		c.quiet = false
		return r.set(c)
	}
	return err
}

// addBridge creates a bridge; an existing link of that name is unix.EEXIST.
func (r *rtnl) addBridge(c change) error {
	data, err := c.attributes()
	if err != nil {
		return err
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kindBridge))
	options := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	options.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	options.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	return r.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(data, info))
}

// addPair creates a veth pair; an existing link of either name is unix.EEXIST.
func (r *rtnl) addPair(c, peer change) error {
	data, err := c.attributes()
	if err != nil {
		return err
	}
	peerData, err := peer.attributes()
	if err != nil {
		return err
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kindVeth))
	peerAttr := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	for _, d := range peerData {
		peerAttr.AddChild(d)
	}
	return r.send(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(data, info))
}

func (r *rtnl) delete(index int) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	return r.send(unix.RTM_DELLINK, 0, []nl.NetlinkRequestData{msg})
}

// get returns one link, by index or, if that is 0, by name. unix.ENODEV: no such.
func (r *rtnl) get(name string, index int) (netlink.Link, error) {
	data, err := change{name: name, index: index}.attributes()
	if err != nil {
		return nil, err
	}
	links, err := r.query(0, data)
	if err != nil {
		return nil, err
	}
	if len(links) != 1 {
		return nil, fmt.Errorf("%d answers", len(links))
	}
	return links[0], nil
}

// dump returns all links.
func (r *rtnl) dump() ([]netlink.Link, error) {
	return whole(func() ([]netlink.Link, error) {
		return r.query(unix.NLM_F_DUMP, []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC)})
	})
}

// whole repeats a dump that was not of one moment, because links came or went meanwhile.
func whole[T any](dump func() (T, error)) (out T, err error) {
	const attempts = 5
	for range attempts {
		if out, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}

func (r *rtnl) query(flags int, data []nl.NetlinkRequestData) ([]netlink.Link, error) {
	data = append(data, nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(filterSkipStats)))
	msgs, err := r.execute(unix.RTM_GETLINK, flags, data, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	links := make([]netlink.Link, 0, len(msgs))
	for _, m := range msgs {
		l, err := netlink.LinkDeserialize(nil, m)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}
