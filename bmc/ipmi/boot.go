package ipmi

import (
	"context"
	"fmt"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// bootCommands are IPMI v2.0 §28.12 and §28.13.
var bootCommands = []command{
	{is: types.CommandSetSystemBootOptions, privilege: types.PrivilegeLevelOperator, min: 1, max: 18, handle: setBootOptions, changes: true},
	{is: types.CommandGetSystemBootOptions, privilege: types.PrivilegeLevelOperator, min: 3, max: 3, handle: getBootOptions},
}

// Boot option parameters (IPMI v2.0 Table 28-14).
const (
	paramSetInProgress = iota
	paramServicePartition
	paramServiceScan
	paramValidClearing
	paramAcknowledge
	paramFlags
	paramInitiator
	paramMailbox
	params
)

const (
	paramVersion = 1
	// paramLocked marks a parameter as invalid/locked, in the selector's byte.
	paramLocked = 0x80
	// validFor is how long flags stay valid while no chassis control arrives, unless
	// keepValid is set in paramValidClearing.
	validFor  = 60 * time.Second
	keepValid = 0x08
	flagValid = 0x80

	mailboxBlocks   = 5
	mailboxBlockLen = 16

	paramNotSupported = refused(0x80)
)

// paramLen is the length of each parameter's data; the mailbox has one of its own.
var paramLen = [params]int{1, 1, 1, 1, 2, 5, 9, 0}

// bootOptions are the parameters as clients set them. They live as long as the BMC
// is open; only the override itself outlasts it, in the chassis.
type bootOptions struct {
	// data is by parameter; nil until one is set.
	data   map[byte][]byte
	locked [params]bool
	owner  holder
	// boot is the override that the flags were turned into.
	boot state.Boot
	// expires is when the flags stop being valid; zero: never.
	expires time.Time
}

// due reports, once, that the flags are not valid any longer.
func (b *bootOptions) due(now time.Time) bool {
	if b.expires.IsZero() || now.Before(b.expires) {
		return false
	}
	b.expires = time.Time{}
	return b.read(paramValidClearing)[0]&keepValid == 0
}

// postpone starts the countdown anew: a chassis control arrived.
func (b *bootOptions) postpone(now time.Time) {
	if !b.expires.IsZero() {
		b.expires = now.Add(validFor)
	}
}

// read returns a parameter's data, zeros if it was never set.
func (b *bootOptions) read(param byte) []byte {
	if d := b.data[param]; d != nil {
		return clone(d)
	}
	return make([]byte, paramLen[param])
}

// flagsFor returns the five bytes of the boot flags while override is in force. The
// bytes come back as they were set, down to those that mean nothing here; they are
// not valid any longer once the override was used or replaced.
func (b *bootOptions) flagsFor(override state.Boot) []byte {
	set := b.read(paramFlags)
	same := b.boot.Device == override.Device && (override.Device == state.BootNone || b.boot.Persistent == override.Persistent)
	if same {
		return set
	}
	if override.Device == state.BootNone {
		set[0] &^= flagValid
		return set
	}
	return flagsOf(override)
}

// selectors maps the boot devices of IPMI to ours; a remote medium is our CD-ROM, primary
// removable media (the floppies of old) our USB stick. The rest (diagnostic partition) is
// not supported.
var selectors = map[types.BootDeviceSelector]state.BootDevice{
	types.BootDeviceSelectorNoOverride:         state.BootNone,
	types.BootDeviceSelectorForcePXE:           state.BootPXE,
	types.BootDeviceSelectorForceHardDrive:     state.BootDisk,
	types.BootDeviceSelectorForceHardDriveSafe: state.BootSafe,
	types.BootDeviceSelectorForceCDROM:         state.BootCDROM,
	types.BootDeviceSelectorForceBIOSSetup:     state.BootSetup,
	types.BootDeviceSelectorForceRemoteCDROM:   state.BootCDROM,
	types.BootDeviceSelectorForceRemoteMedia:   state.BootCDROM,
	types.BootDeviceSelectorForceFloppy:        state.BootUSB,
	types.BootDeviceSelectorForceRemoteFloppy:  state.BootUSB,
}

// overrideOf says what five bytes of boot flags ask for.
func overrideOf(flags []byte) (state.Boot, error) {
	var f types.BootOptionParam_BootFlags
	if err := f.Unpack(flags); err != nil {
		return state.Boot{}, fmt.Errorf("boot flags: %w", err)
	}
	if !f.BootFlagsValid {
		return state.Boot{}, nil
	}
	device, ok := selectors[f.BootDeviceSelector]
	if !ok {
		return state.Boot{}, badField
	}
	return state.Boot{Device: device, Persistent: f.Persist, EFI: bool(f.BIOSBootType)}, nil
}

// flagsOf is the other direction, for an override that did not come from here.
func flagsOf(b state.Boot) []byte {
	f := types.BootOptionParam_BootFlags{BootFlagsValid: true, Persist: b.Persistent, BIOSBootType: types.BIOSBootType(b.EFI)}
	if b.Device == state.BootUSB {
		f.BootDeviceSelector = types.BootDeviceSelectorForceFloppy
		return f.Pack()
	}
	for selector := types.BootDeviceSelectorNoOverride; selector <= types.BootDeviceSelectorForceBIOSSetup; selector++ {
		if device, ok := selectors[selector]; ok && device == b.Device {
			f.BootDeviceSelector = selector
		}
	}
	return f.Pack()
}

func getBootOptions(_ context.Context, c *call) ([]byte, error) {
	param, block := c.data[0]&^paramLocked, c.data[1]
	if param >= params {
		return nil, paramNotSupported
	}
	override := c.chassis.Status().Boot
	c.mu.Lock()
	defer c.mu.Unlock()
	head := []byte{paramVersion, param}
	if c.boot.locked[param] {
		head[1] |= paramLocked
	}
	switch param {
	case paramFlags:
		return append(head, c.boot.flagsFor(override)...), nil
	case paramSetInProgress:
		return append(head, c.progress(&c.boot.owner)), nil
	case paramMailbox:
		if block >= mailboxBlocks {
			return nil, refused(types.CodeParameterOutOfRange)
		}
		all := c.boot.data[paramMailbox]
		if all == nil {
			all = make([]byte, mailboxBlocks*mailboxBlockLen)
		}
		return append(append(head, block), all[int(block)*mailboxBlockLen:][:mailboxBlockLen]...), nil
	}
	return append(head, c.boot.read(param)...), nil
}

// setBootOptions sets one parameter. Without data only its lock is changed.
func setBootOptions(ctx context.Context, c *call) ([]byte, error) {
	param, data := c.data[0]&^paramLocked, c.data[1:]
	if param >= params {
		return nil, paramNotSupported
	}
	if param == paramFlags && len(data) > 0 {
		if err := setBootFlags(ctx, c, data); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.setParam(param, data); err != nil {
		return nil, err
	}
	c.boot.locked[param] = c.data[0]&paramLocked != 0
	return nil, nil
}

// setParam stores a parameter's data. The caller holds mu.
func (c *call) setParam(param byte, data []byte) error {
	switch {
	case len(data) == 0:
		return nil
	case param == paramMailbox:
		return c.boot.setMailbox(data)
	case len(data) != paramLen[param]:
		return refused(types.CodeRequestDataLengthInvalid)
	}
	switch param {
	case paramSetInProgress:
		return c.setProgress(&c.boot.owner, data[0]&3)
	case paramAcknowledge:
		// The first byte says which bits of the second are written, and reads as 0.
		old := c.boot.read(param)
		data = []byte{0, old[1]&^data[0] | data[1]&data[0]}
	}
	c.boot.set(param, clone(data))
	return nil
}

func (b *bootOptions) set(param byte, data []byte) {
	if b.data == nil {
		b.data = map[byte][]byte{}
	}
	b.data[param] = data
}

func (b *bootOptions) setMailbox(data []byte) error {
	block := int(data[0])
	if block >= mailboxBlocks {
		return refused(types.CodeParameterOutOfRange)
	}
	if b.data[paramMailbox] == nil {
		b.set(paramMailbox, make([]byte, mailboxBlocks*mailboxBlockLen))
	}
	copy(b.data[paramMailbox][block*mailboxBlockLen:][:mailboxBlockLen], data[1:])
	return nil
}

// setBootFlags hands the override to the chassis, and starts the countdown that
// ends one for the next boot only. A persistent one stands for a change of the
// firmware's settings, which no countdown takes back.
func setBootFlags(ctx context.Context, c *call, flags []byte) error {
	if len(flags) != paramLen[paramFlags] {
		return refused(types.CodeRequestDataLengthInvalid)
	}
	override, err := overrideOf(flags)
	if err != nil {
		return err
	}
	if override.Device == state.BootUSB && bmc.DriveOf(c.chassis, state.BootUSB) == nil {
		return badField // no stick can be plugged in
	}
	if err := c.chassis.SetBoot(ctx, override); err != nil {
		return err
	}
	c.mu.Lock()
	c.boot.boot, c.boot.expires = override, time.Time{}
	if override.Device != state.BootNone && !override.Persistent {
		c.boot.expires = c.now.Add(validFor)
	}
	c.mu.Unlock()
	c.log.InfoContext(ctx, "bmc: boot override", "node", c.uuid, "device", override.Device, "persistent", override.Persistent,
		"efi", override.EFI, "source", c.session.from)
	return nil
}

// expireBoot ends an override that was not used in time (IPMI v2.0 Table 28-14,
// parameter 3), unless it was used or replaced meanwhile.
func (e *engine) expireBoot(ctx context.Context, now time.Time, expired state.Boot) {
	if e.chassis.Status().Boot != expired {
		return
	}
	err := e.chassis.SetBoot(ctx, state.Boot{})
	if err == nil {
		return
	}
	e.log.WarnContext(ctx, "bmc: boot override not ended; will retry", "node", e.uuid, "err", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.boot.boot == expired && e.boot.expires.IsZero() {
		e.boot.expires = now.Add(sweepEvery)
	}
}
