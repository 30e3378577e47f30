package ipmi

import (
	"context"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
)

// solCommands configure SOL (IPMI v2.0 §26). SOL Activating (§26.1) is missing on
// purpose: a BMC sends it, to whoever loses a shared serial port.
var solCommands = []command{
	{is: types.CommandSetSOLConfigParam, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 4, handle: setSOLParam, changes: true},
	{is: types.CommandGetSOLConfigParam, privilege: types.PrivilegeLevelUser, min: 4, max: 4, handle: getSOLParam},
}

const (
	// paramReadOnly is a completion code of Table 26-3.
	paramReadOnly = refused(0x82)
	// solRevision: the parameters are at revision 1 and compatible with it.
	solRevision = 0x11
)

// Bits of SOL Authentication.
const solForce = 0xc0 // encryption and authentication

// solKey is where the configuration is kept.
const solKey = "ipmi/sol"

// solConfig is what is kept of the SOL configuration (Table 26-5), and who may not
// use it.
type solConfig struct {
	Disabled  bool                 `json:"disabled,omitempty"`
	Privilege types.PrivilegeLevel `json:"privilege"`
	// Accumulate is in units of 5 ms, RetryInterval of 10 ms.
	Accumulate    byte `json:"accumulate"`
	Threshold     byte `json:"threshold"`
	RetryCount    byte `json:"retry_count"`
	RetryInterval byte `json:"retry_interval"`
	// BitRate is only remembered: a virtual port has none.
	BitRate byte `json:"bit_rate"`
	// Barred has bit i set when user i may not activate SOL.
	Barred uint64 `json:"barred,omitempty"`
}

// Bit rates (Table 26-5, parameter 5).
const (
	bitRateLeast = 0x06 // 9,600/s
	bitRateMost  = 0x0a // 115,200/s
)

// defaultSOL sends a line of text as one packet, after 10 ms at the latest.
func defaultSOL() solConfig {
	return solConfig{Privilege: types.PrivilegeLevelOperator, Accumulate: 2, Threshold: 96, RetryCount: 7, RetryInterval: 10, BitRate: bitRateMost}
}

// timing returns the configuration as times. Retries back to back, which an
// interval of 0 asks for, would only flood the console.
func (c solConfig) timing() solTiming {
	const least = 10 * time.Millisecond
	return solTiming{
		accumulate: time.Duration(c.Accumulate) * 5 * time.Millisecond,
		threshold:  min(int(c.Threshold), solDataMax),
		retries:    int(c.RetryCount),
		interval:   max(time.Duration(c.RetryInterval)*10*time.Millisecond, least),
	}
}

// filled returns the configuration with defaults if none was kept: an interval of 0
// cannot be set.
func (c solConfig) filled() solConfig {
	if c.Accumulate == 0 {
		barred := c.Barred
		c = defaultSOL()
		c.Barred = barred
	}
	return c
}

// solConfig returns the configuration as it was kept. mu is not held.
func (e *engine) solConfig() solConfig { return decode[solConfig](e.chassis.Recall(solKey)).filled() }

// changeSOLConfig changes what is kept.
func (e *engine) changeSOLConfig(ctx context.Context, edit func(*solConfig)) error {
	return change(ctx, e, solKey, func(cfg *solConfig) error {
		*cfg = cfg.filled()
		edit(cfg)
		return nil
	})
}

// solVolatile is what is forgotten when the agent stops. It is guarded by mu.
type solVolatile struct {
	setting bool // "set in progress"
	bitRate byte // 0: as kept
}

// setSOLParam is IPMI v2.0 §26.2.
func setSOLParam(ctx context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	which, data := types.SOLConfigParamSelector(c.data[1]), c.data[2:]
	want := 1
	switch which {
	case types.SOLConfigParamSelector_PayloadChannel, types.SOLConfigParamSelector_PayloadPort:
		return nil, paramReadOnly
	case types.SOLConfigParamSelector_Character, types.SOLConfigParamSelector_SOLRetry:
		want = 2
	}
	if which > types.SOLConfigParamSelector_PayloadPort {
		return nil, paramNotSupported
	}
	if len(data) != want {
		return nil, refused(types.CodeRequestDataLengthInvalid)
	}
	switch which {
	case types.SOLConfigParamSelector_SetInProgress:
		return nil, c.setSOLInProgress(data[0] & 3)
	case types.SOLConfigParamSelector_VolatileBitRate:
		return nil, c.setVolatileBitRate(data[0] & 0x0f)
	}
	edit, err := solChange(which, data)
	if err != nil {
		return nil, err
	}
	return nil, c.changeSOLConfig(ctx, edit)
}

// solChange says what a kept parameter changes. What is always so cannot be turned off.
func solChange(which types.SOLConfigParamSelector, data []byte) (func(*solConfig), error) {
	switch which {
	case types.SOLConfigParamSelector_SOLEnable:
		return func(cfg *solConfig) { cfg.Disabled = data[0]&1 == 0 }, nil
	case types.SOLConfigParamSelector_SOLAuthentication:
		level := types.PrivilegeLevel(data[0] & 0x0f)
		if data[0]&solForce != solForce || level < types.PrivilegeLevelUser || level > types.PrivilegeLevelOEM {
			return nil, badField
		}
		return func(cfg *solConfig) { cfg.Privilege = level }, nil
	case types.SOLConfigParamSelector_Character:
		if data[0] == 0 { // reserved
			return nil, badField
		}
		return func(cfg *solConfig) { cfg.Accumulate, cfg.Threshold = data[0], data[1] }, nil
	case types.SOLConfigParamSelector_SOLRetry:
		return func(cfg *solConfig) { cfg.RetryCount, cfg.RetryInterval = data[0]&7, data[1] }, nil
	default: // the bit rate
		rate := data[0] & 0x0f
		if rate < bitRateLeast || rate > bitRateMost {
			return nil, refused(types.CodeParameterOutOfRange)
		}
		return func(cfg *solConfig) { cfg.BitRate = rate }, nil
	}
}

// setSOLInProgress only notes that somebody is writing: it locks nothing, and there
// is nothing to commit or roll back.
func (e *engine) setSOLInProgress(value byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case value > 1:
		return badField
	case value == 1 && e.solVolatile.setting:
		return setInProgress
	}
	e.solVolatile.setting = value == 1
	return nil
}

func (e *engine) setVolatileBitRate(rate byte) error {
	if rate < bitRateLeast || rate > bitRateMost {
		return refused(types.CodeParameterOutOfRange)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.solVolatile.bitRate = rate
	return nil
}

// getSOLParam is IPMI v2.0 §26.3.
func getSOLParam(_ context.Context, c *call) ([]byte, error) {
	const revisionOnly = 0x80
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	which := types.SOLConfigParamSelector(c.data[1])
	if which > types.SOLConfigParamSelector_PayloadPort {
		return nil, paramNotSupported
	}
	if c.data[2] != 0 || c.data[3] != 0 { // there are no sets and blocks
		return nil, badField
	}
	answer := []byte{solRevision}
	if c.data[0]&revisionOnly != 0 {
		return answer, nil
	}
	return append(answer, c.solParam(which, c.solConfig())...), nil
}

func (e *engine) solParam(which types.SOLConfigParamSelector, cfg solConfig) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch which {
	case types.SOLConfigParamSelector_SetInProgress:
		return []byte{bit(e.solVolatile.setting)}
	case types.SOLConfigParamSelector_SOLEnable:
		return []byte{bit(!cfg.Disabled)}
	case types.SOLConfigParamSelector_SOLAuthentication:
		return []byte{solForce | byte(cfg.Privilege)}
	case types.SOLConfigParamSelector_Character:
		return []byte{cfg.Accumulate, cfg.Threshold}
	case types.SOLConfigParamSelector_SOLRetry:
		return []byte{cfg.RetryCount, cfg.RetryInterval}
	case types.SOLConfigParamSelector_VolatileBitRate:
		if e.solVolatile.bitRate != 0 {
			return []byte{e.solVolatile.bitRate}
		}
		return []byte{cfg.BitRate}
	case types.SOLConfigParamSelector_NonVolatileBitRate:
		return []byte{cfg.BitRate}
	case types.SOLConfigParamSelector_PayloadChannel:
		return []byte{lanChannel}
	}
	return []byte{byte(e.port), byte(e.port >> 8)}
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
