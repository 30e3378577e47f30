package ipmi

import (
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

var someTime = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// ids returns the IDs of a log's entries, oldest first.
func (l selLog) ids() (ids []uint16) {
	for i := range l.count() {
		ids = append(ids, l.id(i))
	}
	return ids
}

func TestLogSurvivesItsBytes(t *testing.T) {
	l := parseSEL(nil)
	for range 3 {
		l.add(entry{2: typeEvent, 15: 7}, someTime)
	}
	l.clock, l.utc, l.overflow, l.erased = -5, -60, true, 9
	got := parseSEL(l.bytes())
	if !reflect.DeepEqual(got, l) {
		t.Errorf("got %+v, want %+v", got, l)
	}
	for name, b := range map[string][]byte{"nothing": nil, "too short": make([]byte, 5), "another version": append([]byte{2}, l.bytes()[1:]...), "half an entry": l.bytes()[:40]} {
		if got := parseSEL(b); got.count() != 0 || got.next != 1 {
			t.Errorf("%s: got %+v, want an empty log", name, got)
		}
	}
}

func TestFullLogLosesItsOldestEntry(t *testing.T) {
	l := parseSEL(nil)
	for range maxEntries {
		l.add(entry{2: typeEvent}, someTime)
	}
	if l.overflow || l.count() != maxEntries {
		t.Fatalf("%d entries, overflow %v; want %d and none", l.count(), l.overflow, maxEntries)
	}
	before := slices.Clone(l.entries)
	shared := l
	id := l.add(entry{2: typeEvent}, someTime)
	if !l.overflow || l.count() != maxEntries || l.id(0) != 2 || id != maxEntries+1 {
		t.Errorf("%d entries from %d on, overflow %v, new one %d", l.count(), l.id(0), l.overflow, id)
	}
	if !slices.Equal(before, shared.entries) {
		t.Error("the log that was shared has changed")
	}
	if n := len(l.bytes()); n > 64<<10 {
		t.Errorf("%d bytes, more than the memory takes", n)
	}
	l.clear(someTime)
	if l.overflow || l.count() != 0 {
		t.Errorf("cleared: %+v", l)
	}
}

func TestIDsComeAgainButNeverTwiceAtATime(t *testing.T) {
	l := parseSEL(nil)
	l.next = lastEntryID
	for _, want := range []uint16{lastEntryID, 1, 2} {
		if got := l.add(entry{2: typeEvent}, someTime); got != want {
			t.Errorf("got ID %d, want %d", got, want)
		}
	}
	l.next = lastEntryID
	if got := l.add(entry{2: typeEvent}, someTime); got != 3 {
		t.Errorf("got ID %d, want 3: the others are used", got)
	}
	i, _ := l.find(1)
	l.remove(i, someTime)
	if got := l.ids(); !slices.Equal(got, []uint16{lastEntryID, 2, 3}) {
		t.Errorf("IDs %v", got)
	}
}

// disk is a chassis whose disk is watched, and fails while err is not nil.
type disk struct {
	*bmctest.Chassis
	keeps int
	err   error
}

func (c *disk) Keep(ctx context.Context, key string, value []byte) error {
	if key != selKey {
		return c.Chassis.Keep(ctx, key, value)
	}
	c.keeps++
	if c.err != nil {
		return c.err
	}
	return c.Chassis.Keep(ctx, key, value)
}

// kept is the log on the disk.
func (c *disk) kept() selLog { return parseSEL(c.Recall(selKey)) }

func diskOf(l *lab) *disk {
	d := &disk{Chassis: l.chassis}
	l.engine.chassis = d
	return d
}

func TestEventsAreKeptTogetherAndOnceOnly(t *testing.T) {
	l := newLab(t)
	d := diskOf(l)
	l.chassis.SetPower(state.PowerOn) // two entries
	if got := l.engine.readSEL().count(); got != 2 || d.keeps != 0 {
		t.Errorf("before they are kept: %d entries, kept %d times; want 2, 0", got, d.keeps)
	}
	l.settle()
	l.settle()
	if got := d.kept().count(); got != 2 || d.keeps != 1 {
		t.Errorf("kept: %d entries, %d times; want 2 in one write", got, d.keeps)
	}
	if s := &l.engine.sel; s.pending != nil || s.unsaved != nil {
		t.Errorf("held still: %+v", s)
	}
}

func TestEventsOutlastADiskThatFails(t *testing.T) {
	l := newLab(t)
	d := diskOf(l)
	for i, err := range []error{errors.New("disk full"), state.ErrBusy} {
		d.err = err
		l.chassis.SetPower([]state.Power{state.PowerOn, state.PowerOff}[i])
		l.settle()
	}
	if got := l.engine.readSEL().ids(); !slices.Equal(got, []uint16{1, 2, 3}) || d.kept().count() != 0 {
		t.Errorf("seen: %v, want 3 entries; kept: %d", got, d.kept().count())
	}
	d.err = nil
	l.chassis.SetPower(state.PowerOn)
	l.settle()
	if got := d.kept().ids(); !slices.Equal(got, []uint16{1, 2, 3, 4, 5}) {
		t.Errorf("kept: %v, want all 5", got)
	}
}

func TestFloodOfEventsIsBounded(t *testing.T) {
	l := newLab(t)
	d := diskOf(l)
	for range 1000 {
		l.engine.happened(bmc.Event{At: someTime, Kind: bmc.EventReset})
	}
	if got := len(l.engine.sel.pending); got != maxPending {
		t.Errorf("%d entries wait, want %d", got, maxPending)
	}
	if now := l.engine.readSEL(); !now.overflow {
		t.Error("that entries were lost is not said")
	}
	l.settle()
	if kept := d.kept(); !kept.overflow || kept.count() != maxPending || d.keeps != 1 {
		t.Errorf("kept: %d entries, overflow %v, in %d writes", kept.count(), kept.overflow, d.keeps)
	}
}

func TestLogIsReadWhileItIsWritten(t *testing.T) {
	l := newLab(t)
	const events = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range events {
			l.engine.happened(bmc.Event{At: someTime, Kind: bmc.EventReset})
			l.engine.keepSEL(t.Context())
		}
	}()
	for last := 0; ; {
		ids := l.engine.readSEL().ids()
		for i, id := range ids {
			if int(id) != i+1 {
				t.Fatalf("entries %v: one is missing or there twice", ids)
			}
		}
		if len(ids) < last {
			t.Fatalf("%d entries after %d", len(ids), last)
		}
		last = len(ids)
		select {
		case <-done:
			if got := l.engine.readSEL().count(); got != events {
				t.Fatalf("%d entries, want %d", got, events)
			}
			return
		default:
		}
	}
}

func TestServerLogsWhatHappensToTheChassis(t *testing.T) {
	chassis := bmctest.NewChassis()
	listen(t, chassis)
	chassis.SetPower(state.PowerOn)
	chassis.SetPower(state.PowerOff)
	deadline := time.After(10 * time.Second)
	for parseSEL(chassis.Recall(selKey)).count() < 3 {
		select {
		case <-deadline:
			t.Fatalf("kept: %d entries, want 3", parseSEL(chassis.Recall(selKey)).count())
		case <-time.After(time.Millisecond):
		}
	}
}

func TestEventsOfTheLastMomentAreKept(t *testing.T) {
	chassis := bmctest.NewChassis()
	s, err := Listen(t.Context(), "127.0.0.1:0", testConfig(chassis))
	if err != nil {
		t.Fatal(err)
	}
	chassis.SetPower(state.PowerOn)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := parseSEL(chassis.Recall(selKey)).count(); got != 2 {
		t.Errorf("kept: %d entries, want 2", got)
	}
}

func TestWatchdogIsLogged(t *testing.T) {
	l := newLab(t)
	l.engine.mu.Lock()
	l.engine.logWatchdog(someTime, 1, 3)
	l.engine.mu.Unlock()
	now := l.engine.readSEL()
	r := now.at(0)
	sel, err := types.ParseSEL(r[:])
	if err != nil || sel.Standard.SensorType != types.SensorTypeWatchdog2 || now.count() != 1 {
		t.Fatalf("%d entries, %+v, %v", now.count(), sel, err)
	}
	if want := (types.EventData{EventData1: 0xc1, EventData2: 0xf3, EventData3: 0xff}); sel.Standard.EventData != want {
		t.Errorf("got %+v, want %+v", sel.Standard.EventData, want)
	}
}

// FuzzSEL adds any entry, and reads it in parts.
func FuzzSEL(f *testing.F) {
	f.Add([]byte{0, 0, typeEvent, 0, 0, 0, 0, 0x41, 0, 4, 1, 0x30, 1, 0x59, 0xff, 0xff}, byte(3), byte(4), []byte{})
	f.Add([]byte{0xff, 0xff, typeUntimed, 1, 2}, byte(15), byte(0xff), parseSEL(nil).bytes())
	f.Fuzz(func(t *testing.T, data []byte, offset, count byte, kept []byte) {
		l := newLab(t)
		if err := l.chassis.Keep(t.Context(), selKey, kept[:min(len(kept), 64<<10)]); err != nil {
			t.Fatal(err)
		}
		c := l.loggedIn(4)
		code, id, err := c.command(0x0a, 0x44, data[:min(len(data), 200)]...)
		if err != nil || code == 0 && len(id) != 2 {
			t.Fatalf("add: code %02x, %x, %v", byte(code), id, err)
		}
		if code != 0 {
			return
		}
		_, reservation, _ := c.command(0x0a, 0x42)
		code, part, err := c.command(0x0a, 0x43, append(slices.Concat(reservation, id), offset, count)...)
		if want := max(0, min(int(count), entryLen-int(offset))) + 2; err != nil || code == 0 && len(part) != want || code != 0 && offset < entryLen {
			t.Errorf("entry %x from %d on, %d bytes: code %02x, %x, %v", id, offset, count, byte(code), part, err)
		}
		if n := parseSEL(l.chassis.Recall(selKey)).count(); n > maxEntries+1 && binary.LittleEndian.Uint16(id) == 0 {
			t.Errorf("%d entries", n)
		}
	})
}
