package ipmi

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/bmc/sensor"
)

// sdrCommands are IPMI v2.0 §33. The repository cannot be written: its records follow
// from the hardware, and are made when they are read.
var sdrCommands = []command{
	{is: types.CommandGetSDRRepoInfo, privilege: types.PrivilegeLevelUser, handle: getSDRInfo},
	{is: types.CommandGetSDRRepoAllocInfo, privilege: types.PrivilegeLevelUser, handle: getSDRAllocInfo},
	{is: types.CommandReserveSDRRepo, privilege: types.PrivilegeLevelUser, handle: reserveSDR},
	{is: types.CommandGetSDR, privilege: types.PrivilegeLevelUser, min: 6, max: 6, handle: getSDR},
	{is: types.CommandClearSDRRepo, privilege: types.PrivilegeLevelOperator, min: 6, max: 6, handle: clearSDR},
	{is: types.CommandGetSDRRepoTime, privilege: types.PrivilegeLevelUser, handle: getTime},
	{is: types.CommandSetSDRRepoTime, privilege: types.PrivilegeLevelOperator, min: 4, max: 4, handle: setTime, changes: true},
}

// deviceSDRCommands are IPMI v2.0 §35: the same records as the repository's, for clients
// that ask the sensors' device for them.
var deviceSDRCommands = []command{
	{is: types.CommandGetDeviceSDRInfo, privilege: types.PrivilegeLevelUser, max: 1, handle: getDeviceSDRInfo},
	{is: types.CommandGetDeviceSDR, privilege: types.PrivilegeLevelUser, min: 6, max: 6, handle: getSDR},
	{is: types.CommandReserveDeviceSDRRepo, privilege: types.PrivilegeLevelUser, handle: reserveSDR},
}

// getDeviceSDRInfo is §35.2: how many sensors, or records, of LUN 0, which never change.
func getDeviceSDRInfo(_ context.Context, c *call) ([]byte, error) {
	const countRecords, lun0 = 0x01, 0x01
	n := sensor.Count + len(discretes)
	if len(c.data) == 1 && c.data[0]&countRecords != 0 {
		n = records
	}
	return []byte{byte(n), lun0}, nil
}

const (
	// Operation support of Get SDR Repository Info (§33.9).
	sdrReserve, sdrAllocation = 0x02, 0x01
	// sdrEpoch is 2026-01-01, the earliest time that records seem to be from.
	sdrEpoch   = 1767225600
	sdrMaxUnit = 1
)

// sdrTime is when the records seem to have been added. Clients keep records for as long
// as it is the same (FreeIPMI does, on disk), so that it follows from what they say.
func sdrTime(h bmc.Hardware) uint32 {
	sum := crc32.NewIEEE()
	for id := range records {
		b, _ := sdr(h, uint16(id+1))
		sum.Write(b)
	}
	return sdrEpoch + sum.Sum32()>>8
}

func getSDRInfo(_ context.Context, c *call) ([]byte, error) {
	b := []byte{storageVersion, byte(records), byte(records >> 8), 0, 0}
	b = binary.LittleEndian.AppendUint32(b, sdrTime(c.chassis.Hardware()))
	b = binary.LittleEndian.AppendUint32(b, 0) // nothing was erased
	return append(b, sdrReserve|sdrAllocation), nil
}

// getSDRAllocInfo: there is nothing to allocate.
func getSDRAllocInfo(context.Context, *call) ([]byte, error) {
	return []byte{0, 0, 0, 0, 0, 0, 0, 0, sdrMaxUnit}, nil
}

func reserveSDR(_ context.Context, c *call) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sdrReservation = nextReservation(c.sdrReservation)
	return binary.LittleEndian.AppendUint16(nil, c.sdrReservation), nil
}

// getSDR is §33.12. A part that does not begin at the record's start needs a reservation.
func getSDR(_ context.Context, c *call) ([]byte, error) {
	id, offset, count := c.uint16At(2), c.data[4], c.data[5]
	if offset > 0 && !c.reservedSDR() {
		return nil, reservationCancelled
	}
	switch id {
	case firstEntry:
		id = 1
	case lastEntry:
		id = uint16(records)
	}
	b, ok := sdr(c.chassis.Hardware(), id)
	if !ok {
		return nil, notPresent
	}
	part, err := partOf(b, offset, count)
	if err != nil {
		return nil, err
	}
	next := id + 1
	if int(next) > records {
		next = lastEntry
	}
	return append(binary.LittleEndian.AppendUint16(nil, next), part...), nil
}

func (c *call) reservedSDR() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.uint16At(0)
	return r != 0 && r == c.sdrReservation
}

// clearSDR is refused: a repository without records is of no use to anybody.
func clearSDR(_ context.Context, c *call) ([]byte, error) {
	switch {
	case !c.reservedSDR():
		return nil, reservationCancelled
	case !slices.Equal(c.data[2:5], []byte("CLR")):
		return nil, badField
	case c.data[5] == eraseStatus:
		return []byte{erased}, nil
	}
	return nil, refused(types.CodeSubFnDisabled)
}
