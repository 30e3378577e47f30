package ipmi

import (
	"context"
	"encoding/binary"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc/sensor"
)

// dcmiCommands are those of DCMI v1.5 §6. The DHCP parameters, which are optional, are not
// offered.
var dcmiCommands = []command{
	{is: types.CommandGetDCMICapParam, privilege: types.PrivilegeLevelUser, min: 2, max: 2, handle: dcmi(getDCMICapabilities)},
	{is: types.CommandGetDCMIPowerReading, privilege: types.PrivilegeLevelUser, min: 4, max: 4, handle: dcmi(getPowerReading)},
	{is: types.CommandGetDCMIPowerLimit, privilege: types.PrivilegeLevelUser, min: 3, max: 3, handle: dcmi(getPowerLimit)},
	{is: types.CommandSetDCMIPowerLimit, privilege: types.PrivilegeLevelOperator, min: 15, max: 15, handle: dcmi(setPowerLimit), changes: true},
	{is: types.CommandActivateDCMIPowerLimit, privilege: types.PrivilegeLevelOperator, min: 4, max: 4, handle: dcmi(activatePowerLimit), changes: true},
	{is: types.CommandGetDCMIAssetTag, privilege: types.PrivilegeLevelUser, min: 3, max: 3, handle: dcmi(getAssetTag)},
	{is: types.CommandGetDCMISensorInfo, privilege: types.PrivilegeLevelUser, min: 5, max: 5, handle: dcmi(getDCMISensors)},
	{is: types.CommandSetDCMIAssetTag, privilege: types.PrivilegeLevelOperator, min: 3, max: 3 + dcmiPart, handle: dcmi(setAssetTag), changes: true},
	{is: types.CommandGetDCMIMgmtControllerIdentifier, privilege: types.PrivilegeLevelUser, min: 3, max: 3, handle: dcmi(getControllerID)},
	{is: types.CommandSetDCMIMgmtControllerIdentifier, privilege: types.PrivilegeLevelAdministrator, min: 3, max: 3 + dcmiPart, handle: dcmi(setControllerID), changes: true},
	{is: types.CommandSetDCMIThermalLimit, privilege: types.PrivilegeLevelOperator, min: 7, max: 7, handle: dcmi(setThermalLimit), changes: true},
	{is: types.CommandGetDCMIThermalLimit, privilege: types.PrivilegeLevelUser, min: 3, max: 3, handle: dcmi(getThermalLimit)},
	{is: types.CommandGetDCMITemperatureReadings, privilege: types.PrivilegeLevelUser, min: 5, max: 5, handle: dcmi(getTemperatures)},
}

const (
	// dcmiGroup is the first byte of every request and answer.
	dcmiGroup = 0xdc
	// dcmiPart is how many bytes of a string one message has at most.
	dcmiPart = 16
)

// dcmi checks and adds the group: other bodies have commands of the same numbers.
func dcmi(h handler) handler {
	return func(ctx context.Context, c *call) ([]byte, error) {
		if c.data[0] != dcmiGroup {
			return nil, refused(types.CodeInvalidCommand)
		}
		data, err := h(ctx, c)
		return append([]byte{dcmiGroup}, data...), err
	}
}

// dcmiCapabilities are the parameters of Get DCMI Capabilities (§6.1), from 1.
var dcmiCapabilities = [][]byte{
	// Identification, SEL, chassis power and temperatures; power management; the LAN, with
	// serial over it.
	{0x0f, 0x01, 0x18},
	// The log is a ring whose entries go one by one; identification by asset tag and by GUID;
	// temperatures are sampled whenever they are read (1 s is the least that can be said).
	{maxEntries & 0xff, logIsRing | logDropsOne | maxEntries>>8&0x0f, 0x05, 0x01},
	{bmcAddress, 0x01},
	{lanChannel, 0xff, 0xff},
	append([]byte{byte(len(powerPeriods))}, periodCodes()...),
}

const (
	dcmiMajor, dcmiMinor, dcmiRevision = 1, 5, 2
	// logIsRing and logDropsOne are of parameter 2.
	logIsRing, logDropsOne = 0x80, 0x20
)

func getDCMICapabilities(_ context.Context, c *call) ([]byte, error) {
	n := int(c.data[1])
	if n < 1 || n > len(dcmiCapabilities) {
		return nil, badField
	}
	b := append([]byte{dcmiMajor, dcmiMinor, dcmiRevision}, dcmiCapabilities[n-1]...)
	return b, nil
}

// dcmiEntities are the temperatures that DCMI knows (§6.5.2): by their own IDs and by
// those that IPMI gave later.
var dcmiEntities = map[byte]sensor.ID{
	0x40: sensor.InletTemp, entityInlet: sensor.InletTemp,
	0x41: sensor.CPUTemp, entityCPU: sensor.CPUTemp,
	0x42: sensor.SystemTemp, entityBoard: sensor.SystemTemp,
}

// dcmiSensor is the one temperature sensor that a request asks for; ok is false if it
// asks for none that there is.
func (c *call) dcmiSensor() (id sensor.ID, ok bool, err error) {
	kind, entity, instance, first := c.data[1], c.data[2], c.data[3], c.data[4]
	if types.SensorType(kind) != types.SensorTypeTemperature {
		return 0, false, badField
	}
	id, ok = dcmiEntities[entity]
	// Instance 0 stands for all, from first on.
	return id, ok && (instance == 1 || instance == 0 && first <= 1), nil
}

// getDCMISensors is §6.5.2: the record IDs of temperature sensors.
func getDCMISensors(_ context.Context, c *call) ([]byte, error) {
	id, ok, err := c.dcmiSensor()
	if err != nil || !ok {
		return []byte{0, 0}, err
	}
	return binary.LittleEndian.AppendUint16([]byte{1, 1}, uint16(firstAnalog+int(id)-1)), nil
}

// getTemperatures is §6.7.3.
func getTemperatures(_ context.Context, c *call) ([]byte, error) {
	id, ok, err := c.dcmiSensor()
	if err != nil || !ok {
		return []byte{0, 0}, err
	}
	node := sensor.At(c.chassis)
	s, _ := sensor.Of(node.Hardware, id)
	raw, ok := node.Steps(s)
	if !ok {
		return []byte{1, 0}, nil
	}
	return []byte{1, 1, min(raw, 0x7f), 1}, nil // a step is a degree
}

// dcmiText answers a read of a part of a string: its whole length, and the part.
func (c *call) dcmiText(text string) ([]byte, error) {
	offset, count := int(c.data[1]), int(c.data[2])
	if count > dcmiPart || offset > len(text) {
		return nil, outOfRange
	}
	return append([]byte{byte(len(text))}, text[offset:min(offset+count, len(text))]...), nil
}

// dcmiEdited is a string with the part that the request has: what follows it is gone.
func (c *call) dcmiEdited(old string, most int) (string, error) {
	offset, count, part := int(c.data[1]), int(c.data[2]), c.data[3:]
	if count != len(part) {
		return "", refused(types.CodeRequestDataLengthInvalid)
	}
	if offset > len(old) || offset+count > most {
		return "", outOfRange
	}
	return old[:offset] + string(part), nil
}

// getAssetTag is §6.4.2.
func getAssetTag(_ context.Context, c *call) ([]byte, error) { return c.dcmiText(c.assetTag()) }

func setAssetTag(ctx context.Context, c *call) ([]byte, error) {
	tag, err := c.setAssetTag(ctx, func(old string) (string, error) { return c.dcmiEdited(old, maxFieldLen) })
	return []byte{byte(len(tag))}, err
}

// maxControllerID is in bytes, with the zero that ends it (§6.4.6).
const maxControllerID = 64

// controllerID is what DCMI calls the BMC: the node's name unless one was set.
func (c *call) controllerID() string {
	if id := decode[dcmiSettings](c.chassis.Recall(dcmiKey)).ControllerID; id != "" {
		return id
	}
	name := c.chassis.Hardware().Name
	return name[:min(len(name), maxControllerID-1)] + "\x00"
}

func getControllerID(_ context.Context, c *call) ([]byte, error) { return c.dcmiText(c.controllerID()) }

func setControllerID(ctx context.Context, c *call) ([]byte, error) {
	var id string
	err := change(ctx, c.engine, dcmiKey, func(s *dcmiSettings) (err error) {
		id, err = c.dcmiEdited(c.controllerID(), maxControllerID)
		s.ControllerID = id
		return err
	})
	return []byte{byte(len(id))}, err
}
