package ipmi

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/bmc/sensor"
	"tenks/raftfsm/state"
)

// readSDRs reads the whole repository as a client does, in parts of a size.
func readSDRs(t *testing.T, c *console, size byte) [][]byte {
	t.Helper()
	_, reservation, err := c.command(0x0a, 0x22)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for next := []byte{0, 0}; next[0] != 0xff; {
		id, b := next, []byte(nil)
		for whole := recordHeadLen; len(b) < whole; {
			code, answer, err := c.command(0x0a, 0x23, append(slices.Concat(reservation, id), byte(len(b)), size)...)
			if err != nil || code != 0 || len(answer) < 3 {
				t.Fatalf("SDR %x from %d on: code %02x, %x, %v", id, len(b), byte(code), answer, err)
			}
			next, b = answer[:2], append(b, answer[2:]...)
			if len(b) >= recordHeadLen {
				whole = recordHeadLen + int(b[4])
			}
		}
		out = append(out, b)
	}
	return out
}

func TestSDRsAreTheSameInPartsOfAnySize(t *testing.T) {
	c := newLab(t).loggedIn(4)
	want := readSDRs(t, c, wholeRecord)
	if len(want) != records {
		t.Errorf("%d records, want %d", len(want), records)
	}
	for _, size := range []byte{1, 5, 16, 64, 254} {
		if got := readSDRs(t, c, size); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("in parts of %d: %x, want %x", size, got, want)
		}
	}
}

// TestSDRsSayWhatSensorsRead has a client's codec decode records, readings and thresholds.
func TestSDRsSayWhatSensorsRead(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	l.chassis.SetHardware(bmc.Hardware{UUID: testUUID, VCPUs: 96, MemoryMB: 400 << 10})
	l.chassis.SetLoad(bmc.Load{CPU: 0.7})
	l.chassis.SetPower(state.PowerOn)
	node := sensor.At(l.chassis)
	seen := 0
	for i, b := range readSDRs(t, c, wholeRecord) {
		r, err := types.ParseSDR(b, 0)
		if err != nil {
			t.Errorf("record %d: %x: %v", i+1, b, err)
			continue
		}
		if r.Full == nil {
			continue
		}
		seen++
		s, _ := sensor.Of(node.Hardware, sensor.ID(r.Full.SensorNumber))
		if string(r.Full.IDStringBytes) != s.Name {
			t.Errorf("sensor %d is %q, want %q", s.ID, r.Full.IDStringBytes, s.Name)
		}
		_, reading, _ := c.command(0x04, 0x2d, byte(s.ID))
		want, _ := node.Read(s.ID)
		if got := r.Full.ConvertReading(reading[0]); math.Abs(got-want) > s.Step/2+1e-9 {
			t.Errorf("%s: got %v, want %v", s.Name, got, want)
		}
		for kind, at := range map[types.SensorThresholdType]sensor.Level{
			types.SensorThresholdType_LNR: sensor.LowerFatal, types.SensorThresholdType_LCR: sensor.LowerCritical, types.SensorThresholdType_LNC: sensor.LowerCaution,
			types.SensorThresholdType_UNC: sensor.UpperCaution, types.SensorThresholdType_UCR: sensor.UpperCritical, types.SensorThresholdType_UNR: sensor.UpperFatal} {
			got := r.Full.SensorThreshold(kind)
			if got.Mask.Readable != s.Limits.Has(at) || got.Mask.Readable && math.Abs(r.Full.ConvertReading(got.Raw)-s.Limits[at]) > 1e-9 {
				t.Errorf("%s: threshold %v: %+v, want %v", s.Name, kind, got, s.Limits[at])
			}
		}
	}
	if seen != sensor.Count {
		t.Errorf("%d full records, want %d", seen, sensor.Count)
	}
}

func TestClientsLearnThatSDRsHaveChanged(t *testing.T) {
	small, large := bmc.Hardware{VCPUs: 1}, bmc.Hardware{VCPUs: 128}
	if again := sdrTime(small); sdrTime(large) == again || sdrTime(small) != again {
		t.Errorf("times %d and %d of different records", sdrTime(small), sdrTime(large))
	}
}

// FuzzSDR reads any part of any record.
func FuzzSDR(f *testing.F) {
	f.Add(uint16(0), byte(0), byte(0xff), 2, uint64(4096))
	f.Add(uint16(0xffff), byte(5), byte(16), 0, uint64(0))
	f.Add(uint16(3), byte(57), byte(2), 1<<20, uint64(1)<<60)
	f.Fuzz(func(t *testing.T, id uint16, offset, count byte, vcpus int, memory uint64) {
		l := newLab(t)
		l.chassis.SetHardware(bmc.Hardware{UUID: testUUID, VCPUs: vcpus, MemoryMB: memory})
		c := l.loggedIn(4)
		_, reservation, _ := c.command(0x0a, 0x22)
		code, answer, err := c.command(0x0a, 0x23, append(binary.LittleEndian.AppendUint16(reservation, id), offset, count)...)
		if err != nil || code == 0 && len(answer) > 2+int(count) {
			t.Errorf("record %d from %d on, %d bytes: code %02x, %x, %v", id, offset, count, byte(code), answer, err)
		}
	})
}
