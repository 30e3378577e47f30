package ipmi

import (
	"context"
	"maps"

	"github.com/bougou/go-ipmi/pkg/types"
)

// infoCommands are IPMI v2.0 §22.14a and §22.14b.
var infoCommands = []command{
	{is: types.CommandSetSystemInfoParam, privilege: types.PrivilegeLevelAdministrator, min: 2, max: 2 + infoBlock, handle: setSystemInfo, changes: true},
	{is: types.CommandGetSystemInfoParam, privilege: types.PrivilegeLevelUser, min: 4, max: 4, handle: getSystemInfo},
}

// System info parameters (IPMI v2.0 Table 22-16c): all but the first are strings.
const (
	infoSetInProgress = iota
	infoFirmware
	infoSystemName
	infoPrimaryOS
	infoOS
	infoOSVersion
	infoURL
	infoHypervisorURL
	infoParams
)

const (
	// A string comes in blocks. The first begins with the encoding and the length.
	infoBlock  = 16
	infoHead   = 2
	infoBlocks = 16
	utf8       = 1
	// firmwareName is what the firmware version says until somebody sets it.
	firmwareName = "1.00"
)

// getSystemInfo is IPMI v2.0 §22.14b.
func getSystemInfo(_ context.Context, c *call) ([]byte, error) {
	param, set := c.data[1], c.data[2]
	switch {
	case c.data[0]&revisionOnly != 0:
		return []byte{paramRevision}, nil
	case param >= infoParams:
		return nil, paramNotSupported
	case param == infoSetInProgress:
		c.mu.Lock()
		defer c.mu.Unlock()
		return []byte{paramRevision, c.progress(&c.infoSet)}, nil
	case set >= infoBlocks:
		return nil, refused(types.CodeParameterOutOfRange)
	}
	name := c.chassis.Hardware().Name
	raw := c.chassis.Recall(settingsKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	text, ok := c.settings.of(raw).SystemInfo[param]
	switch {
	case ok:
	case param == infoFirmware:
		text = infoText(firmwareName)
	case param == infoSystemName:
		text = infoText(name)
	}
	b := make([]byte, 2+infoBlock)
	b[0], b[1] = paramRevision, set
	if from := int(set) * infoBlock; from < len(text) {
		copy(b[2:], text[from:])
	}
	return b, nil
}

// infoText is a string as it is kept.
func infoText(s string) []byte {
	s = s[:min(len(s), infoBlock*infoBlocks-infoHead)]
	return append([]byte{utf8, byte(len(s))}, s...)
}

// setSystemInfo is IPMI v2.0 §22.14a. A block that is too short is filled with zeros.
func setSystemInfo(ctx context.Context, c *call) ([]byte, error) {
	param, data := c.data[0], c.data[1:]
	if param >= infoParams {
		return nil, paramNotSupported
	}
	if param == infoSetInProgress {
		if len(data) != 1 {
			return nil, refused(types.CodeRequestDataLengthInvalid)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return nil, c.setProgress(&c.infoSet, data[0]&3)
	}
	set, block := data[0], data[1:]
	switch {
	case set >= infoBlocks:
		return nil, refused(types.CodeParameterOutOfRange)
	case len(block) == 0, set == 0 && len(block) < infoHead:
		return nil, refused(types.CodeRequestDataLengthInvalid)
	}
	return nil, change(ctx, c.engine, settingsKey, func(s *settings) error {
		s.setInfo(param, set, block)
		return nil
	})
}

func (s *settings) setInfo(param, set byte, block []byte) {
	from := int(set) * infoBlock
	text := make([]byte, max(from+infoBlock, len(s.SystemInfo[param])))
	copy(text, s.SystemInfo[param])
	clear(text[from : from+infoBlock])
	copy(text[from:], block)
	all := maps.Clone(s.SystemInfo)
	if all == nil {
		all = map[byte][]byte{}
	}
	all[param] = text
	s.SystemInfo = all
}
