package ipmi

import (
	"context"
	"crypto/subtle"

	"github.com/bougou/go-ipmi/pkg/types"
)

// channelAccess has the two bytes of Get Channel Access (IPMI v2.0 §22.23).
type channelAccess struct {
	Bits  byte `json:"bits"`
	Limit byte `json:"limit"`
}

const (
	// Bits of channel access.
	alertingDisabled = 0x20
	perMessageOff    = 0x10
	userLevelOff     = 0x08
	accessModeMask   = 0x07
	alwaysAvailable  = 0x02

	// What of Set Channel Access is written; present and non-volatile settings are one.
	keepAsIs       = 0
	setNonVolatile = 1
	setVolatile    = 2

	modeNotSupported = refused(types.CodeSetChannelAccessModeNotSupported)
)

// access returns the channel's access.
func (s *settings) access() channelAccess {
	if s.Channel == nil {
		return channelAccess{alertingDisabled | alwaysAvailable, byte(userLimit)}
	}
	return *s.Channel
}

func (a channelAccess) limit() types.PrivilegeLevel { return types.PrivilegeLevel(a.Limit) }

// getChannelAccess is IPMI v2.0 §22.23.
func getChannelAccess(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	if which := c.data[1] >> 6; which != setNonVolatile && which != setVolatile {
		return nil, badField
	}
	raw := c.chassis.Recall(settingsKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.settings.of(raw).access()
	return []byte{a.Bits, a.Limit}, nil
}

// setChannelAccess is IPMI v2.0 §22.22. The channel cannot be switched off: Ironic
// would be locked out. Its privilege limit holds for all users but the declared account,
// from their next login. The other bits come back as they were set, and do nothing: there are no
// alerts, and each message of an IPMI 1.5 session is authenticated.
func setChannelAccess(ctx context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	whichBits, whichLimit := c.data[1]>>6, c.data[2]>>6
	limit := types.PrivilegeLevel(c.data[2] & 0x0f)
	switch {
	case whichBits > setVolatile || whichLimit > setVolatile:
		return nil, badField
	case whichBits != keepAsIs && c.data[1]&accessModeMask != alwaysAvailable:
		return nil, modeNotSupported
	case whichLimit != keepAsIs && (limit < types.PrivilegeLevelCallback || limit > userLimit):
		return nil, badField
	}
	return nil, change(ctx, c.engine, settingsKey, func(s *settings) error {
		a := s.access()
		if whichBits != keepAsIs {
			a.Bits = c.data[1] & (alertingDisabled | perMessageOff | userLevelOff | accessModeMask)
		}
		if whichLimit != keepAsIs {
			a.Limit = byte(limit)
		}
		s.Channel = &a
		return nil
	})
}

const (
	bmcKeyLen = 20

	keyRead = 0
	keySet  = 1
	keyLock = 2
	keyR    = 0 // K_R
	keyG    = 1 // K_g

	keyIsLocked    = 1
	keyLocked      = refused(0x80)
	keyTooShort    = refused(0x81)
	keyTooLong     = refused(0x82)
	keyRNotUsed    = refused(0x84)
	securityHeader = 3
)

// setChannelSecurityKeys is IPMI v2.0 §22.25. K_g is always locked: it belongs to the
// node's declaration, as the account does, and writing what is there changes nothing. A key that only this BMC knew of would lock
// Ironic out, because the first thing that shows whether a console has it comes after the
// login.
func setChannelSecurityKeys(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	operation, key := c.data[1]&3, c.data[securityHeader:]
	switch {
	case operation > keyLock || c.data[2] > keyG:
		return nil, badField
	case c.data[2] == keyR:
		return nil, keyRNotUsed
	case operation == keySet && len(key) < bmcKeyLen:
		return nil, keyTooShort
	case operation == keySet && !c.isBMCKey(key):
		return nil, keyLocked
	case operation == keySet:
	case len(key) > 0:
		return nil, keyTooLong
	}
	return []byte{keyIsLocked}, nil
}

// isBMCKey compares with the key there is; without one that is zeros.
func (e *engine) isBMCKey(key []byte) bool {
	have := e.bmcKey
	if have == nil {
		have = new([bmcKeyLen]byte)
	}
	return subtle.ConstantTimeCompare(have[:], key) == 1
}
