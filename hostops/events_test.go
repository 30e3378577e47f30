package hostops

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// ear collects events, as "off" or, by a command, "off!".
type ear struct {
	mu   sync.Mutex
	said []string
}

func (h *ear) hear(e ChassisEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := string(e.Kind)
	if e.ByCommand {
		text += "!"
	}
	h.said = append(h.said, text)
}

// heard returns what was said since it was last called.
func (h *ear) heard() string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	said := strings.Join(h.said, " ")
	h.said = nil
	return said
}

func TestSubscribersHearOfPowerAndResets(t *testing.T) {
	for _, mode := range []string{"with a watch", "without"} {
		t.Run(mode, func(t *testing.T) {
			simulate(t, func(t *testing.T, e *env) {
				e.place(node("a"), node("b"))
				e.mustPass()
				if mode == "with a watch" {
					e.run()
					elapse(time.Second)
				}
				var ear ear
				defer e.host.Subscribe("a", ear.hear)()
				command := func(a state.PowerAction) func() { return func() { e.power("a", a) } }
				behind := func(p state.Power, c driver.Cause) func() {
					return func() {
						e.nodes.change("a", p, c)
						if mode == "without" {
							e.mustPass()
						}
					}
				}
				for i, step := range []struct {
					do   func()
					want string
				}{
					{command(state.ActionOn), "on!"},
					{command(state.ActionOn), ""},
					{command(state.ActionCycle), "off! on!"},
					{command(state.ActionReset), "reset!"},
					{command(state.ActionOff), "off!"},
					{behind(state.PowerOn, driver.CauseRequest), "on"},
					{behind(state.PowerOff, driver.CauseHost), "off"},
					{command(state.ActionOn), "on!"},
					{behind(state.PowerOff, driver.CauseGuest), "off"},
					{command(state.ActionOn), "on!"},
					{command(state.ActionSoft), ""},
					{behind(state.PowerOff, driver.CauseGuest), "off!"},
					{command(state.ActionOn), "on!"},
					{behind(state.PowerOff, driver.CauseGuest), "off"},
				} {
					step.do()
					if got := ear.heard(); got != step.want {
						t.Errorf("step %d: heard %q, want %q", i, got, step.want)
					}
					elapse(3 * time.Second) // no report is late
					if got := ear.heard(); got != "" {
						t.Errorf("step %d: heard %q later", i, got)
					}
				}
			})
		})
	}
}

func TestARestartOfTheGuestIsOneEvent(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.run()
		elapse(time.Second)
		var ear ear
		defer e.host.Subscribe("a", ear.hear)()
		boot := func(d state.BootDevice) {
			t.Helper()
			if err := e.chassis("a").SetBoot(t.Context(), state.Boot{Device: d}); err != nil {
				t.Fatal(err)
			}
		}
		boot(state.BootPXE)
		e.power("a", state.ActionOn)
		if got := ear.heard(); got != "on!" {
			t.Errorf("heard %q", got)
		}
		e.nodes.reboot("a") // the order for one boot is over: a power cycle
		if got := ear.heard(); got != "reset" {
			t.Errorf("heard %q of a restart that needed a power cycle", got)
		}
		if got := e.nodes.powers(); !slices.Equal(got, []string{"on a pxe", "cycle a"}) {
			t.Errorf("calls %q", got)
		}
		elapse(3 * time.Second)
		for range 3 { // firmware resets the machine again
			e.nodes.reboot("a")
			elapse(50 * time.Millisecond)
		}
		if got := ear.heard(); got != "reset" {
			t.Errorf("heard %q of a restart", got)
		}
		elapse(3 * time.Second)
		boot(state.BootPXE)
		e.power("a", state.ActionReset)
		for range 2 {
			e.nodes.reboot("a")
			elapse(50 * time.Millisecond)
		}
		if got := ear.heard(); got != "reset!" {
			t.Errorf("heard %q of a reset", got)
		}
		if got := e.nodes.powers(); !slices.Equal(got, []string{"on a pxe", "cycle a", "reset a pxe"}) {
			t.Errorf("calls %q", got)
		}
	})
}

func TestSubscribersMayUseTheChassisAndEndAnyTime(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		var first, second ear
		var cancel func()
		cancel = e.host.Subscribe("a", func(ev ChassisEvent) {
			_ = e.chassis("a").Status()
			first.hear(ev)
			cancel()
		})
		defer e.host.Subscribe("a", second.hear)()
		e.power("a", state.ActionOn)
		e.power("a", state.ActionOff)
		if got := first.heard(); got != "on!" {
			t.Errorf("one that ended heard %q", got)
		}
		if got := second.heard(); got != "on! off!" {
			t.Errorf("the other heard %q", got)
		}
		// What was so before the agent knew is no event.
		e.power("a", state.ActionOn)
		e.restart()
		var third ear
		defer e.host.Subscribe("a", third.hear)()
		e.mustPass()
		if got := third.heard(); got != "" {
			t.Errorf("heard %q after a restart of the agent", got)
		}
		e.host.events.mu.Lock()
		defer e.host.events.mu.Unlock()
		if len(e.host.events.nodes) != 1 {
			t.Errorf("%d audiences", len(e.host.events.nodes))
		}
	})
}
