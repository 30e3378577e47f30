package ipmi

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/fault"
	"tenks/raftfsm/state"
)

// command is one row of a command table: what is checked before its handler runs,
// and the handler. Rows stand in one table per group (appCommands and so on).
type command struct {
	// is gives the network function and the command's number.
	is types.Command
	// privilege is the least one needed (IPMI v2.0 Appendix G).
	privilege types.PrivilegeLevel
	// min and max bound the request's data, in bytes.
	min, max int
	handle   handler
	// anytime commands are also answered outside of sessions.
	anytime bool
	// changes marks commands that may wait for the chassis: they run beside the
	// reader, and a repeat within repeatWithin is not executed again.
	changes bool
}

// handler returns the data of the answer. Errors become completion codes by
// codeOf. Handlers hold no lock when called, and see only data of allowed length.
type handler func(ctx context.Context, c *call) ([]byte, error)

// call is one request to be answered.
type call struct {
	*engine
	request
	row  *command
	now  time.Time
	from netip.AddrPort
	// session, seq and privilege (of the session, when the request came) are zero
	// outside of sessions.
	session   *session
	seq       uint32
	privilege types.PrivilegeLevel
	effect    fault.Effect
}

// commandKey is network function and command.
type commandKey [2]byte

func (r request) key() commandKey { return commandKey{r.netFn, r.cmd} }

// commands holds every row of every group.
var commands = index(appCommands, deviceCommands, watchdogCommands, infoCommands, lanCommands, sessionCommands, channelCommands, userCommands, chassisCommands, bootCommands, payloadCommands, solCommands,
	eventCommands, pefCommands, sensorCommands, deviceSDRCommands, fruCommands, sdrCommands, selCommands, dcmiCommands)

// unknown stands for every command that is in no table.
var unknown = command{}

func index(groups ...[]command) map[commandKey]*command {
	m := map[commandKey]*command{}
	for _, rows := range groups {
		for i := range rows {
			m[commandKey{byte(rows[i].is.NetFn), rows[i].is.ID}] = &rows[i]
		}
	}
	return m
}

func lookUp(q request) *command {
	if cmd, ok := commands[q.key()]; ok {
		return cmd
	}
	return &unknown
}

// refusal returns why a call in a session is not even tried, or CodeOK.
func (cmd *command) refusal(c *call) types.CompletionCode {
	switch {
	case c.effect.Code != 0:
		return types.CompletionCode(c.effect.Code)
	case c.rsAddr != bmcAddress:
		return types.CodeDestinationUnavailable
	case cmd.handle == nil:
		return types.CodeInvalidCommand
	case c.lun != 0:
		return types.CodeInvalidCommandForLUN
	case c.privilege < cmd.privilege:
		return types.CodeInsufficientPrivilege
	}
	return types.CodeOK
}

// run checks the request's length and calls the handler.
func (cmd *command) run(ctx context.Context, c *call) (types.CompletionCode, []byte) {
	if len(c.data) < cmd.min || len(c.data) > cmd.max {
		return types.CodeRequestDataLengthInvalid, nil
	}
	data, err := cmd.handle(ctx, c)
	code, known := codeOf(err)
	if !known {
		c.log.WarnContext(ctx, "bmc: command failed", "node", c.uuid, "command", cmd.is.Name, "err", err)
	}
	var with refusedWith
	switch {
	case errors.As(err, &with):
		data = with.data
	case code != types.CodeOK:
		data = nil
	}
	return code, data
}

// refused is an error that is a completion code of its own.
type refused types.CompletionCode

func (r refused) Error() string { return types.CompletionCode(r).String() }

// refusedWith is a refusal with data, which few commands have.
type refusedWith struct {
	refused
	data []byte
}

func (r refusedWith) Unwrap() error { return r.refused }

// badField is the refusal that most checks of a request's content end in.
const badField = refused(types.CodeRequestDataFieldInvalid)

// codeOf translates an error into a completion code; known is false for one that
// deserves a line in the log.
func codeOf(err error) (code types.CompletionCode, known bool) {
	if err == nil {
		return types.CodeOK, true
	}
	var r refused // on the heap, because of errors.As
	switch {
	case errors.As(err, &r):
		return types.CompletionCode(r), true
	case errors.Is(err, state.ErrBusy), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return types.CodeNodeBusy, true
	case errors.Is(err, state.ErrWrongState):
		return types.CodeNotSupported, true
	case errors.Is(err, state.ErrUnsupported):
		return types.CodeRequestDataFieldInvalid, true
	}
	return types.CodeUnspecifiedError, false
}

// Channels: 1 is the LAN, 0Eh the one that a request came over.
const (
	lanChannel  = 1
	selfChannel = types.ChannelNumberSelf
	channelMask = 0x0f
)

// onLAN checks a channel number: there is no other channel than the LAN.
func onLAN(channel byte) error {
	if n := channel & channelMask; n != lanChannel && n != selfChannel {
		return badField
	}
	return nil
}

// uint32At returns the request's data at offset i as a little-endian number.
func (c *call) uint32At(i int) uint32 {
	var v uint32
	for _, b := range slices.Backward(c.data[i : i+4]) {
		v = v<<8 | uint32(b)
	}
	return v
}
