package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenks/bmc"
	"tenks/bmc/bmctest"
	"tenks/raftfsm/state"
)

// slowDrive is a chassis whose InsertMedia waits for what it is to return first.
type slowDrive struct {
	*bmctest.Chassis
	release chan error
}

func (d *slowDrive) InsertMedia(ctx context.Context, m bmc.Media) error {
	select {
	case err := <-d.release:
		if err != nil {
			return err
		}
		return d.Chassis.InsertMedia(ctx, m)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inBackground sends a request, whose status comes later.
func (f *fixture) inBackground(method, path, body string, headers ...string) <-chan int {
	status := make(chan int, 1)
	go func() { status <- f.do(method, path, body, headers...).Code }()
	synctest.Wait()
	return status
}

// waits fails unless the request is not answered yet.
func waits(t *testing.T, what string, status <-chan int) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-status:
		t.Fatalf("%s: answered %d at once, want it to wait", what, got)
	default:
	}
}

func TestStartsFromTheDriveWaitForItsImage(t *testing.T) {
	const (
		image  = `{"Image":"http://192.0.2.9/a.iso"}`
		fromCD = `{"Boot":{"BootSourceOverrideTarget":"Cd","BootSourceOverrideEnabled":"Once"}}`
		on     = `{"ResetType":"On"}`
		power  = sys1 + "/Actions/ComputerSystem.Reset"
	)
	type lab struct {
		*fixture
		drive *slowDrive
	}
	for name, run := range map[string]func(t *testing.T, l lab){
		"until it is there": func(t *testing.T, l lab) {
			started := l.inBackground(post, power, on)
			waits(t, "start", started)
			if got := l.drive.Status().Power; got != state.PowerOff {
				t.Errorf("power %s while the image is on its way", got)
			}
			l.drive.release <- nil
			if got := <-started; got != 204 || !l.drive.Media().Inserted || l.drive.Status().Power != state.PowerOn {
				t.Errorf("start answered %d, power %s, media %+v", got, l.drive.Status().Power, l.drive.Media())
			}
		},
		"for so long": func(t *testing.T, l lab) {
			began := time.Now()
			started := l.inBackground(post, power, on)
			if got := <-started; got != 503 || time.Since(began) != startWait {
				t.Errorf("answered %d after %s, want 503 after %s", got, time.Since(began), startWait)
			}
			l.drive.release <- nil
			synctest.Wait()
			l.want(204, post, power, on)
		},
		"and fail with it, once": func(t *testing.T, l lab) {
			started := l.inBackground(post, power, on)
			l.drive.release <- errors.New("their server")
			if got := <-started; got != 500 {
				t.Errorf("answered %d, want 500", got)
			}
			l.want(204, post, power, on)
		},
		"and fail if it failed before": func(t *testing.T, l lab) {
			l.drive.release <- errors.New("their server")
			synctest.Wait()
			if got := l.want(500, post, power, on).message(); got != "CouldNotEstablishConnection" {
				t.Errorf("message %s", got)
			}
			l.want(204, post, power, on)
		},
		"but not once it is not wanted": func(t *testing.T, l lab) {
			l.want(204, post, eject, nil)
			l.want(204, post, power, on)
		},
		"but not from a disk": func(t *testing.T, l lab) {
			l.want(200, patch, sys1, `{"Boot":{"BootSourceOverrideTarget":"Hdd","BootSourceOverrideEnabled":"Once"}}`)
			l.want(204, post, power, on)
		},
		"but not what is no start": func(_ *testing.T, l lab) {
			l.want(204, post, power, `{"ResetType":"ForceOff"}`)
			l.drive.SetPower(state.PowerOn)
			l.want(200, patch, sys1, fromCD)
			l.want(204, post, power, `{"ResetType":"On"}`)
		},
		"also restarts": func(t *testing.T, l lab) {
			l.drive.SetPower(state.PowerOn)
			l.want(200, patch, sys1, fromCD)
			for _, kind := range []string{"ForceRestart", "PowerCycle", "GracefulRestart"} {
				if got := <-l.inBackground(post, power, `{"ResetType":"`+kind+`"}`); got != 503 {
					t.Errorf("%s: answered %d, want 503", kind, got)
				}
			}
		},
		"for one that is asked for again": func(t *testing.T, l lab) {
			again := l.inBackground(post, insert, image)
			waits(t, "the same image", again)
			l.drive.release <- nil
			if got := <-again; got != 204 || len(l.drive.Inserted()) != 1 {
				t.Errorf("answered %d, inserted %+v, want it to join the first", got, l.drive.Inserted())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				l := lab{f, &slowDrive{f.chassis[first], make(chan error)}}
				f.replaceChassis(l.drive)
				began := time.Now()
				if got := <-f.inBackground(post, insert, image); got != 202 || time.Since(began) != mediaWait {
					t.Fatalf("insert answered %d after %s, want 202 after %s", got, time.Since(began), mediaWait)
				}
				f.want(200, patch, sys1, fromCD)
				run(t, l)
			})
		})
	}
}

func TestHTTPBootWaitsForItsImage(t *testing.T) {
	const boot = `{"Boot":{"BootSourceOverrideTarget":"UefiHttp","BootSourceOverrideEnabled":"Once","HttpBootUri":"http://192.0.2.9/a.iso"}}`
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"that comes":          {nil, 204},
		"that does not":       {errors.New("their server"), 500},
		"that is not allowed": {state.ErrRefused, 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				d := &slowDrive{f.chassis[first], make(chan error)}
				f.replaceChassis(d)
				if got := <-f.inBackground(patch, sys1, boot); got != 200 {
					t.Fatalf("override answered %d", got)
				}
				started := f.inBackground(post, sys1+"/Actions/ComputerSystem.Reset", `{"ResetType":"On"}`)
				waits(t, "start", started)
				d.release <- c.err
				if got := <-started; got != c.want {
					t.Errorf("start answered %d, want %d", got, c.want)
				}
			})
		})
	}
	for name, c := range map[string]struct {
		err  error
		want int
	}{"their server": {errors.New("404"), 500}, "not allowed": {state.ErrRefused, 400}, "busy": {state.ErrBusy, 503}} {
		f := newFixture(t)
		f.chassis[first].FailNext(c.err)
		if a := f.do(patch, sys1, boot); a.Code != c.want {
			t.Errorf("%s: answered %d, want %d", name, a.Code, c.want)
		}
	}
}

// lastDrive is a chassis whose InsertMedia ends the one before, as state.ErrBusy.
type lastDrive struct {
	*bmctest.Chassis
	mu   sync.Mutex // guards stop
	stop chan struct{}
	end  chan struct{}
}

func (d *lastDrive) InsertMedia(ctx context.Context, m bmc.Media) error {
	d.mu.Lock()
	if d.stop != nil {
		close(d.stop)
	}
	stop := make(chan struct{})
	d.stop = stop
	d.mu.Unlock()
	select {
	case <-stop:
		return fmt.Errorf("insert media: %w: another image was asked for meanwhile", state.ErrBusy)
	case <-d.end:
		return d.Chassis.InsertMedia(ctx, m)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAnImageThatIsSupersededCanBeAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		d := &lastDrive{Chassis: f.chassis[first], end: make(chan struct{})}
		systems, _ := f.fleet.All()
		systems = slices.Clone(systems)
		systems[0].Chassis = d
		f.fleet.set(systems)
		insert := cd + "/Actions/VirtualMedia.InsertMedia"
		answered := make(chan answer, 1)
		go func() { answered <- f.do(post, insert, `{"Image":"http://192.0.2.9/a.iso"}`) }()
		synctest.Wait()
		other := f.inBackground(post, insert, `{"Image":"http://192.0.2.9/b.iso"}`)
		if a := <-answered; a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" || a.message() != "ServiceTemporarilyUnavailable" {
			t.Errorf("the first: %d %v %s", a.Code, a.Header(), a.Body)
		}
		close(d.end)
		if got := <-other; got != http.StatusNoContent {
			t.Errorf("the second: %d", got)
		}
		if got := f.want(http.StatusOK, get, cd, nil).at("Image"); got != "http://192.0.2.9/b.iso" {
			t.Errorf("in the drive: %v", got)
		}
	})
}
