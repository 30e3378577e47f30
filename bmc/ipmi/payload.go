package ipmi

import (
	"context"
	"encoding/binary"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/raftfsm/state"
)

// payloadCommands activate payloads (IPMI v2.0 §24). Note 10 of Appendix G: it is
// the SOL configuration that says who may activate.
var payloadCommands = []command{
	{is: types.CommandActivatePayload, privilege: types.PrivilegeLevelUser, min: 6, max: 6, handle: activatePayload},
	{is: types.CommandDeactivatePayload, privilege: types.PrivilegeLevelUser, min: 6, max: 6, handle: deactivatePayload},
	{is: types.CommandSuspendResumePayloadEncryption, privilege: types.PrivilegeLevelUser, min: 3, max: 3, handle: setPayloadEncryption},
	{is: types.CommandGetPayloadActivationStatus, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getPayloadActivation},
	{is: types.CommandGetPayloadInstanceInfo, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: getPayloadInstance},
	{is: types.CommandSetUserPayloadAccess, privilege: types.PrivilegeLevelAdministrator, min: 6, max: 6, handle: setUserPayloadAccess, changes: true},
	{is: types.CommandGetUserPayloadAccess, privilege: types.PrivilegeLevelOperator, min: 2, max: 2, handle: getUserPayloadAccess},
	{is: types.CommandGetChannelPayloadSupport, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getPayloadSupport},
	{is: types.CommandGetChannelPayloadVersion, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: getPayloadVersion},
}

// Completion codes of these commands.
const (
	solActiveElsewhere  = refused(0x80) // Activate Payload
	solDisabled         = refused(0x81)
	solNeedsEncryption  = refused(0x84)
	solInactive         = refused(0x80) // Deactivate Payload
	notEncryptable      = refused(0x80) // Suspend/Resume Payload Encryption
	encryptionForced    = refused(0x81)
	instanceNotActive   = refused(0x83)
	payloadNotAvailable = refused(0x80) // Get Channel Payload Version
)

const (
	payloadTypeMask = 0x3f
	solInstances    = 1
	solBit          = 1 << byte(types.PayloadTypeSOL)
)

// onSOL checks payload type and instance.
func (c *call) onSOL() error {
	switch instance := c.data[1] & 0x0f; {
	case types.PayloadType(c.data[0]&payloadTypeMask) != types.PayloadTypeSOL, instance == 0:
		return badField
	case instance > solInstances:
		return refused(types.CodeParameterOutOfRange)
	}
	return nil
}

// activatePayload is IPMI v2.0 §24.1. The hint to leave CTS deasserted at first
// (auxiliary bit 1) is ignored: ipmitool gives it and never takes it back, and there is
// no bit rate to set up first. Test mode is not supported.
func activatePayload(_ context.Context, c *call) ([]byte, error) {
	const encrypt, authenticate = 0x80, 0x40
	if err := c.onSOL(); err != nil {
		return nil, err
	}
	cfg, available := c.solConfig(), c.chassis.Status().Power == state.PowerOn
	switch aux := c.data[2]; {
	case cfg.Disabled, cfg.Barred&(1<<c.session.userID) != 0:
		return nil, solDisabled
	case c.privilege < cfg.Privilege:
		return nil, refused(types.CodeInsufficientPrivilege)
	case aux&encrypt == 0, c.session.v15 != nil: // a session of IPMI 1.5 has no other payloads
		return nil, solNeedsEncryption
	case aux&authenticate == 0: // no encryption without
		return nil, badField
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sol == nil:
		c.solVolatile.bitRate = 0 // §15.8
		c.activateSOL(c.session, cfg.timing(), available)
	case c.sol.session != c.session:
		return nil, solActiveElsewhere
	} // else the answer to the first request was lost
	b := make([]byte, 4, 12) // auxiliary data: no test mode
	b = binary.LittleEndian.AppendUint16(b, solPayloadMax)
	b = binary.LittleEndian.AppendUint16(b, solPayloadMax)
	b = binary.LittleEndian.AppendUint16(b, c.port)
	return binary.LittleEndian.AppendUint16(b, 0xffff), nil // no VLAN
}

// deactivatePayload is IPMI v2.0 §24.2. Another session's SOL takes an administrator.
func deactivatePayload(_ context.Context, c *call) ([]byte, error) {
	if err := c.onSOL(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sol == nil:
		return nil, solInactive
	case c.sol.session != c.session && c.privilege < types.PrivilegeLevelAdministrator:
		return nil, refused(types.CodeInsufficientPrivilege)
	}
	c.endSOL(c.sol.session != c.session)
	return nil, nil
}

// setPayloadEncryption is IPMI v2.0 §24.3: SOL is always encrypted, and AES-CBC has a
// new initialization vector in each packet.
func setPayloadEncryption(_ context.Context, c *call) ([]byte, error) {
	const suspend, resume, regenerate = 0, 1, 2
	if err := c.onSOL(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch op := c.data[2] & 0x1f; {
	case op > regenerate:
		return nil, badField
	case c.sol == nil || c.sol.session != c.session:
		return nil, instanceNotActive
	case op == suspend:
		return nil, encryptionForced
	case op == regenerate:
		return nil, notEncryptable
	}
	return nil, nil
}

// getPayloadActivation is IPMI v2.0 §24.4.
func getPayloadActivation(_ context.Context, c *call) ([]byte, error) {
	if types.PayloadType(c.data[0]) != types.PayloadTypeSOL {
		return nil, badField
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte{solInstances, bit(c.sol != nil), 0}, nil
}

// getPayloadInstance is IPMI v2.0 §24.5: the session that has it, 0 if none, and the
// serial port, of which there is one.
func getPayloadInstance(_ context.Context, c *call) ([]byte, error) {
	if err := c.onSOL(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var id uint32
	if c.sol != nil {
		id = c.sol.session.id
	}
	return append(binary.LittleEndian.AppendUint32(nil, id), 1, 0, 0, 0, 0, 0, 0, 0), nil
}

// setUserPayloadAccess is IPMI v2.0 §24.6. Bits of payloads that do not exist change
// nothing.
func setUserPayloadAccess(ctx context.Context, c *call) ([]byte, error) {
	const enable, disable = 0, 1
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	id, err := checkUser(c.data[1])
	if err != nil {
		return nil, err
	}
	op := c.data[1] >> 6
	if op > disable {
		return nil, badField
	}
	if c.data[2]&solBit == 0 {
		return nil, nil
	}
	return nil, c.changeSOLConfig(ctx, func(cfg *solConfig) {
		cfg.Barred |= 1 << id
		if op == enable {
			cfg.Barred &^= 1 << id
		}
	})
}

// getUserPayloadAccess is IPMI v2.0 §24.7. Everybody has access until it is taken away.
func getUserPayloadAccess(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	id, err := checkUser(c.data[1])
	if err != nil {
		return nil, err
	}
	b := []byte{solBit, 0, 0, 0}
	if c.solConfig().Barred&(1<<id) != 0 {
		b[0] = 0
	}
	return b, nil
}

// sessionPayloads are the types of a login's messages, from 10h.
const sessionPayloads = 0x3f

// getPayloadSupport is IPMI v2.0 §24.8: IPMI, SOL and the messages of a login.
func getPayloadSupport(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	return []byte{1 | solBit, 0, sessionPayloads, 0, 0, 0, 0, 0}, nil
}

// getPayloadVersion is IPMI v2.0 §24.9: each is 1.0 (Table 13-16).
func getPayloadVersion(_ context.Context, c *call) ([]byte, error) {
	if err := onLAN(c.data[0]); err != nil {
		return nil, err
	}
	kind := types.PayloadType(c.data[1])
	login := kind >= types.PayloadTypeRmcpOpenSessionRequest && kind <= types.PayloadTypeRAKPMessage4
	if kind != types.PayloadTypeIPMI && kind != types.PayloadTypeSOL && !login {
		return nil, payloadNotAvailable
	}
	return []byte{0x10}, nil
}
