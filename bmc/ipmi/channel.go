package ipmi

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/types"
)

// channelCommands are about the one channel, the LAN (IPMI v2.0 §22.13, §22.15,
// §22.22–§22.25).
var channelCommands = []command{
	{is: types.CommandGetChannelAuthCapabilities, min: 2, max: 2, handle: getChannelAuthCapabilities, anytime: true},
	{is: types.CommandGetChannelCipherSuites, min: 3, max: 3, handle: getChannelCipherSuites, anytime: true},
	{is: types.CommandSetChannelAccess, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 3, handle: setChannelAccess, changes: true},
	{is: types.CommandGetChannelAccess, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: getChannelAccess},
	{is: types.CommandSetChannelSecurityKeys, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 3 + bmcKeyLen, handle: setChannelSecurityKeys},
	{is: types.CommandGetChannelInfo, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getChannelInfo},
}

// Bits of Get Channel Authentication Capabilities.
const (
	extendedData = 0x80
	twoKeyLogin  = 0x20 // K_g is needed
	nonNullNames = 0x04 // user names are needed: no anonymous login, no null user
	forIPMI20    = 0x02
	forIPMI15    = 0x01
)

// getChannelAuthCapabilities is IPMI v2.0 §22.13. No authentication type of IPMI
// 1.5 is offered unless its sessions are on, and "none" not even then. Each message is
// authenticated, whatever the privilege, so that no bit says otherwise.
func getChannelAuthCapabilities(_ context.Context, c *call) ([]byte, error) {
	level := types.PrivilegeLevel(c.data[1] & 0x0f)
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	if level == types.PrivilegeLevelUnspecified || level > types.PrivilegeLevelOEM {
		return nil, badField
	}
	b := []byte{lanChannel, 0, nonNullNames, 0, 0, 0, 0, 0}
	if c.bmcKey != nil {
		b[2] |= twoKeyLogin
	}
	if c.data[0]&extendedData != 0 {
		b[1], b[3] = extendedData, forIPMI20
		if c.v15 {
			b[3] |= forIPMI15
		}
	}
	if c.v15 {
		b[1] |= types15
	}
	return b, nil
}

// getChannelCipherSuites is IPMI v2.0 §22.15: 16 bytes of the list at a time,
// nothing after its end.
func getChannelCipherSuites(_ context.Context, c *call) ([]byte, error) {
	const part = 16
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	if kind := types.PayloadType(c.data[1]); kind != types.PayloadTypeIPMI && kind != types.PayloadTypeSOL {
		return nil, badField
	}
	list := suiteAlgorithms()
	if c.data[2]&types.LIST_ALGORITHMS_BY_CIPHER_SUITE != 0 {
		list = suiteRecords()
	}
	from := min(int(c.data[2]&0x3f)*part, len(list))
	to := min(from+part, len(list))
	return append([]byte{lanChannel}, list[from:to]...), nil
}

// multiSession is the session support of Get Channel Info.
const multiSession = 0x80

// getChannelInfo is IPMI v2.0 §22.24.
func getChannelInfo(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte{lanChannel, byte(types.ChannelMediumLAN), byte(types.ChannelProtocolIPMB), multiSession | byte(c.sessions.active),
		manufacturer & 0xff, manufacturer >> 8, 0, 0, 0}, nil // the protocol is the IPMI forum's (§22.24)
}
