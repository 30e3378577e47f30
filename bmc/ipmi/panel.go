package ipmi

import (
	"context"
	"time"
)

// panel is the front of the box, which nobody sees. It is forgotten with the BMC.
type panel struct {
	// The identify light is on until a time, or for good.
	lit     time.Time
	forever bool
	// disabled has the buttons that were disabled.
	disabled byte
}

const (
	identifyDefault = 15 * time.Second
	identifyForever = 0x01

	// Bits of Get Chassis Status.
	identifySupported          = 0x40
	identifyTimed, identifyOn  = 0x10, 0x20
	buttonMask                 = 0x0f // power off, reset, diagnostic interrupt, standby
	allButtonsMayBeDisabled    = 0xf0
	identifyUnit               = time.Second
	identifyInterval, forceBit = 0, 1 // bytes of Chassis Identify
)

// identifyBits are the bits of Get Chassis Status.
func (p *panel) identifyBits(now time.Time) byte {
	switch {
	case p.forever:
		return identifySupported | identifyOn
	case now.Before(p.lit):
		return identifySupported | identifyTimed
	}
	return identifySupported
}

// chassisIdentify is IPMI v2.0 §28.5; an interval of 0 switches the light off.
func chassisIdentify(_ context.Context, c *call) ([]byte, error) {
	interval, forever := identifyDefault, false
	if len(c.data) > identifyInterval {
		interval = time.Duration(c.data[identifyInterval]) * identifyUnit
	}
	if len(c.data) > forceBit {
		forever = c.data[forceBit]&identifyForever != 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.panel.lit, c.panel.forever = c.now.Add(interval), forever
	return nil, nil
}

// setFrontPanelEnables is IPMI v2.0 §28.6. There are no buttons; what is set shows in
// the chassis' status.
func setFrontPanelEnables(_ context.Context, c *call) ([]byte, error) {
	if c.data[0]&^buttonMask != 0 {
		return nil, badField
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.panel.disabled = c.data[0]
	return nil, nil
}
