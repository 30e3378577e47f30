package ipmi

import (
	"context"

	"github.com/bougou/go-ipmi/pkg/types"
)

// appCommands are the global commands of a management controller
// (IPMI v2.0 §20) and the system GUID (§22.14).
var appCommands = []command{
	{is: types.CommandGetDeviceID, privilege: types.PrivilegeLevelUser, handle: getDeviceID},
	{is: types.CommandGetSelfTestResults, privilege: types.PrivilegeLevelUser, handle: getSelfTestResults},
	{is: types.CommandGetDeviceGUID, privilege: types.PrivilegeLevelUser, handle: getGUID},
	{is: types.CommandGetSystemGUID, handle: getGUID, anytime: true},
}

const (
	deviceID       = 0x20
	deviceRevision = 0x80 | 1 // with device SDRs
	// firmwareMajor is binary, firmwareMinor BCD.
	firmwareMajor, firmwareMinor = 1, 0x00
	ipmiVersion                  = 0x02 // 2.0, BCD with the digits swapped
	// deviceSupport is additional device support: chassis, event receiver, FRU inventory,
	// SEL, SDR repository and sensors.
	deviceSupport = 0x9f
	// manufacturer is the IPMI forum's IANA number: a virtual BMC has no maker.
	manufacturer = 7154
	product      = 1
)

// getDeviceID answers IPMI v2.0 §20.1 with its optional revision: 15 bytes, which
// every known client reads (14 break FreeIPMI).
func getDeviceID(context.Context, *call) ([]byte, error) {
	return []byte{deviceID, deviceRevision, firmwareMajor, firmwareMinor, ipmiVersion, deviceSupport,
		manufacturer & 0xff, manufacturer >> 8 & 0xff, manufacturer >> 16, product & 0xff, product >> 8, 0, 0, 0, 0}, nil
}

// getSelfTestResults answers IPMI v2.0 §20.4: no error.
func getSelfTestResults(context.Context, *call) ([]byte, error) { return []byte{0x55, 0}, nil }

func getGUID(_ context.Context, c *call) ([]byte, error) { return c.guid[:], nil }
