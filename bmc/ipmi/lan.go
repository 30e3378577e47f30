package ipmi

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync/atomic"

	"github.com/bougou/go-ipmi/pkg/types"
)

// lanCommands are IPMI v2.0 §23.1, §23.2 and §23.4.
var lanCommands = []command{
	{is: types.CommandSetLanConfigParam, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 2 + lanParamMax, handle: setLANParam, changes: true},
	{is: types.CommandGetLanConfigParam, privilege: types.PrivilegeLevelOperator, min: 4, max: 4, handle: getLANParam},
	{is: types.CommandGetIPStatistics, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: getIPStatistics},
}

const (
	// paramRevision is the revision of parameters, and the oldest one it is compatible with.
	paramRevision = 0x11
	revisionOnly  = 0x80
	lanParamMax   = 20
)

// LAN parameters that are not only read (IPMI v2.0 Table 23-4).
const (
	lanSetInProgress = 0
	lanCommunity     = 16
	communityLen     = 18
)

// defaultCommunity is the SNMP community of alerts, of which there are none.
const defaultCommunity = "public"

// getLANParam is IPMI v2.0 §23.2. The values are those of where the BMC listens.
func getLANParam(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	if c.data[0]&revisionOnly != 0 {
		return []byte{paramRevision}, nil
	}
	read, ok := lanParams[c.data[1]]
	if !ok {
		return nil, paramNotSupported
	}
	data, err := read(lanRead{call: c, set: c.data[2], block: c.data[3]})
	if err != nil {
		return nil, err
	}
	return append([]byte{paramRevision}, data...), nil
}

// setLANParam is IPMI v2.0 §23.1. Where the BMC is on the network is the host's business:
// all but the community string can only be read. Writing what is there is no error, so
// that a tool's copy of the configuration can be written back.
func setLANParam(ctx context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	param, data := c.data[1], c.data[2:]
	read, ok := lanParams[param]
	if !ok {
		return nil, paramNotSupported
	}
	switch param {
	case lanSetInProgress:
		if len(data) != 1 {
			return nil, refused(types.CodeRequestDataLengthInvalid)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return nil, c.setProgress(&c.lanSet, data[0]&3)
	case lanCommunity:
		if len(data) != communityLen {
			return nil, refused(types.CodeRequestDataLengthInvalid)
		}
		return nil, change(ctx, c.engine, settingsKey, func(s *settings) error {
			s.Community = bytes.TrimRight(data, "\x00")
			return nil
		})
	}
	// The tables among the parameters begin with the selector.
	if now, err := read(lanRead{call: c, set: data[0]}); err == nil && bytes.Equal(now, data) {
		return nil, nil
	}
	return nil, paramReadOnly
}

// traffic counts datagrams, for Get IP Statistics.
type traffic struct{ received, valid, sent atomic.Uint32 }

func (t *traffic) clear() {
	t.received.Store(0)
	t.valid.Store(0)
	t.sent.Store(0)
}

const clearStatistics = 0x01

// getIPStatistics is IPMI v2.0 §23.4. Errors and fragments are the kernel's business and
// read as 0; counts stay at their maximum.
func getIPStatistics(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	received, sent, valid := c.traffic.received.Load(), c.traffic.sent.Load(), c.traffic.valid.Load()
	if c.data[1]&clearStatistics != 0 {
		c.traffic.clear()
	}
	var b []byte
	// Packets; header and address errors; fragments; packets sent; UDP; RMCP; proxied; dropped.
	for _, n := range []uint32{received, 0, 0, 0, sent, received, valid, 0, 0} {
		b = binary.LittleEndian.AppendUint16(b, uint16(min(n, 0xffff)))
	}
	return b, nil
}
