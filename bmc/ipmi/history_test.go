package ipmi

import (
	"testing"
	"time"

	"tenks/bmc"
)

func TestTheTimeWithPowerIsCounted(t *testing.T) {
	start := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	at := func(h int) time.Time { return start.Add(time.Duration(h) * time.Hour) }
	on := func(h int) powerChange { return powerChange{bmc.Event{At: at(h), Kind: bmc.EventOn}, causeCommand} }
	off := func(h int) powerChange { return powerChange{bmc.Event{At: at(h), Kind: bmc.EventOff}, causeUnknown} }
	reset := func(h int) powerChange {
		return powerChange{bmc.Event{At: at(h), Kind: bmc.EventReset}, causeSoftReset}
	}
	for _, tc := range []struct {
		name   string
		kept   history
		events []powerChange
		power  bool
		want   int // hours at 10 o'clock
	}{
		{"off all the time", history{}, nil, false, 0},
		{"on since before the BMC was opened", history{}, nil, true, 9},
		{"on and off", history{}, []powerChange{on(2), off(5)}, false, 3},
		{"on and still on", history{}, []powerChange{on(2), off(5), on(8)}, true, 5},
		{"a reset is no gap", history{}, []powerChange{on(2), reset(4)}, true, 8},
		{"off without having come on", history{}, []powerChange{off(3)}, false, 2},
		{"what was kept counts", history{On: 100 * time.Hour}, []powerChange{on(9)}, true, 101},
		{"on since before, and known", history{On: time.Hour, Since: at(-5)}, nil, true, 16},
		{"it went off while nobody looked", history{On: time.Hour, Since: at(-5)}, nil, false, 1},
		{"and came again", history{On: time.Hour, Since: at(-5)}, []powerChange{on(8)}, true, 3},
		{"a clock that went back", history{On: time.Hour, Since: at(20)}, nil, true, 1},
	} {
		h := tc.kept
		for _, e := range tc.events {
			h.add(e, at(1))
		}
		if got := h.on(tc.power, at(10), at(1)); got != time.Duration(tc.want)*time.Hour {
			t.Errorf("%s: got %v, want %d h", tc.name, got, tc.want)
		}
	}
}

func TestHistoryOutlivesTheBMC(t *testing.T) {
	l := newLab(t)
	if code, _, err := l.loggedIn(4).command(0, 2, 1); code != 0 || err != nil {
		t.Fatalf("power on: code %02x, %v", byte(code), err)
	}
	l.wait(90 * time.Minute)
	next := newLabOf(t, func(cfg *Config) { cfg.Chassis = l.chassis })
	next.now = l.now
	c := next.loggedIn(2)
	if code, data, err := c.command(0, 0x0f); code != 0 || err != nil || data[1] != 1 {
		t.Errorf("hours: code %02x, %v, % x; want 1", byte(code), err, data)
	}
	if code, data, err := c.command(0, 7); code != 0 || err != nil || data[0] != causeCommand {
		t.Errorf("cause: code %02x, %v, % x; want %d", byte(code), err, data, causeCommand)
	}
}
