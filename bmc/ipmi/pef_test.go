package ipmi

import (
	"testing"

	"tenks/bmc/sensor"
)

func TestFiltersCompareEventData(t *testing.T) {
	for _, c := range []struct {
		and, exact, value, data byte
		want                    bool
	}{
		{0x00, 0x00, 0x00, 0xff, true},  // nothing is compared
		{0xff, 0xff, 0x59, 0x59, true},  // all of it
		{0xff, 0xff, 0x59, 0x58, false}, // but for one bit
		{0x0f, 0x0f, 0x09, 0x59, true},  // half of it
		{0xff, 0x00, 0x03, 0x02, true},  // one of two bits
		{0xff, 0x00, 0x03, 0xfc, false}, // none of two
		{0xff, 0xf0, 0x51, 0x59, true},  // half of it, and a bit
		{0xff, 0xf0, 0x52, 0x59, false}, // half of it, without the bit
		{0xfe, 0x00, 0x01, 0x01, false}, // a bit that the mask hides
	} {
		if got := dataMatches([]byte{c.and, c.exact, c.value}, c.data); got != c.want {
			t.Errorf("mask %#02x, exact %#02x, value %#02x: %#02x matches: %t, want %t", c.and, c.exact, c.value, c.data, got, c.want)
		}
	}
}

func TestFiltersSeeSensorsAndNotPowerItself(t *testing.T) {
	for number, want := range map[byte]bool{byte(sensor.InletTemp): true, byte(sensor.CPUUsage): true, numberPowerUnit: false, numberBoot: false, numberMedia: false, numberWatchdog: false} {
		if got := (event{sensor: number}).filtered(); got != want {
			t.Errorf("sensor %#02x: %t, want %t", number, got, want)
		}
	}
	if filterMatches(make([]byte, filterLen), entry{2: typeEvent, 13: 0}) {
		t.Error("a filter without offsets matches")
	}
}
