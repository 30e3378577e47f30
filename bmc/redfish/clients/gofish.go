package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stmcginnis/gofish"
	"github.com/stmcginnis/gofish/common"
	"github.com/stmcginnis/gofish/redfish"
)

// fish is a client of a target.
type fish struct {
	Target
	ctx      context.Context //nolint:containedctx // gofish keeps one too, per client
	http     *http.Client
	api      *gofish.APIClient
	outcomes []Outcome
	// kept is the subscription that was made.
	kept string
}

// Gofish makes the calls by gofish, over an HTTP client that reaches the target and takes
// its certificate.
func Gofish(ctx context.Context, over *http.Client, t Target) []Outcome {
	f := &fish{Target: t, ctx: ctx, http: over}
	f.call("Sushy(auth=BasicAuth)", func() error { return f.connects("basic", t.Password, 0) })
	f.call("Sushy(auth=SessionAuth)", func() error { return f.connects("session", t.Password, 0) })
	f.call("AccessError on a wrong password", func() error { return f.connects("session", "wrong", http.StatusUnauthorized) })
	f.call("auth.close", f.closes)
	api, err := f.connect(t.Auth, t.Password)
	if err != nil {
		return append(f.outcomes, Outcome{Call: "connect", Error: err.Error()})
	}
	f.api = api
	defer api.Logout()
	f.services()
	f.inspect()
	f.boot()
	f.power()
	f.sensors()
	f.clock()
	f.media()
	f.bios()
	f.secureBoot()
	f.raid()
	f.firmware()
	f.vendor()
	f.call("reset_system(FORCE_OFF)", func() error { return f.reset(redfish.ForceOffResetType, redfish.OffPowerState) })
	return f.outcomes
}

// call makes a call, and notes how it ended.
func (f *fish) call(name string, do func() error) {
	began := time.Now()
	o := Outcome{Call: name}
	if err := do(); err != nil {
		o.Error = err.Error()
	}
	o.Took = time.Since(began).Seconds()
	f.outcomes = append(f.outcomes, o)
}

// connect makes a client; "auto" is a session.
func (f *fish) connect(auth, password string) (*gofish.APIClient, error) {
	return gofish.ConnectContext(f.ctx, gofish.ClientConfig{Endpoint: f.URL, Username: f.User, Password: password, HTTPClient: f.http,
		BasicAuth: auth == "basic", ReuseConnections: true})
}

// connects logs in and reads the system, or is refused with a status.
func (f *fish) connects(auth, password string, refused int) error {
	api, err := f.connect(auth, password)
	if err == nil {
		defer api.Logout()
		_, err = redfish.GetComputerSystem(api, f.System)
	}
	return status(err, refused)
}

// closes ends a session, whose token is good for nothing then.
func (f *fish) closes() error {
	api, err := f.connect("session", f.Password)
	if err != nil {
		return err
	}
	session, err := api.GetSession()
	if err != nil {
		return err
	}
	api.Logout()
	again, err := gofish.ConnectContext(f.ctx, gofish.ClientConfig{Endpoint: f.URL, HTTPClient: f.http, Session: session})
	if err == nil {
		_, err = redfish.GetComputerSystem(again, f.System)
	}
	return status(err, http.StatusUnauthorized)
}

// status checks that an error is the answer with a status; 0: that there is none.
func status(err error, want int) error {
	var refused *common.Error
	switch {
	case want == 0:
		return err
	case !errors.As(err, &refused):
		return fmt.Errorf("got %w, want status %d", err, want)
	case refused.HTTPReturnedStatusCode != want:
		return fmt.Errorf("status %d, want %d: %w", refused.HTTPReturnedStatusCode, want, err)
	case len(refused.ExtendedInfos) == 0:
		return fmt.Errorf("without extended information: %w", err)
	}
	return nil
}

// node is the system as it is now.
func (f *fish) node() (*redfish.ComputerSystem, error) {
	return redfish.GetComputerSystem(f.api, f.System)
}

// with gets the system for a call.
func (f *fish) with(do func(*redfish.ComputerSystem) error) func() error {
	return func() error {
		n, err := f.node()
		if err != nil {
			return err
		}
		return do(n)
	}
}

// until polls until ok holds.
func (f *fish) until(what string, ok func() (bool, error)) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after 30 s: %s", what)
		}
		select {
		case <-f.ctx.Done():
			return f.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reset asks for a power change, and waits for what is to come of it.
func (f *fish) reset(how redfish.ResetType, want redfish.PowerState) error {
	// It is asked for again while another change is under way.
	err := f.until(string(how)+" to be taken", func() (bool, error) {
		n, err := f.node()
		if err != nil {
			return false, err
		}
		if err = n.Reset(how); status(err, http.StatusServiceUnavailable) == nil {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return f.until("power "+string(want), func() (bool, error) {
		n, err := f.node()
		return err == nil && n.PowerState == want, err
	})
}

// restart is what applies settings.
func (f *fish) restart() error {
	return f.reset(redfish.ForceRestartResetType, redfish.OnPowerState)
}

// same compares.
func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

// id is the last part of a path.
func id(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// services are those of utils.py.
func (f *fish) services() {
	f.call("get_system(path)", f.with(func(n *redfish.ComputerSystem) error { return same("ID", n.ID, id(f.System)) }))
	f.call("ResourceNotFoundError of get_system", func() error {
		_, err := redfish.GetComputerSystem(f.api, f.System[:len(f.System)-4]+"0000")
		return status(err, http.StatusNotFound)
	})
	f.call("get_system_collection.members_identities", func() error {
		all, err := f.api.Service.Systems()
		if err != nil {
			return err
		}
		return errors.Join(same("number of systems", len(all), 1), same("system", all[0].ODataID, f.System))
	})
	f.call("get_manager(path)", f.with(func(n *redfish.ComputerSystem) error {
		m, err := f.manager(n)
		if err != nil {
			return err
		}
		got, err := redfish.GetManager(f.api, m.ODataID)
		if err != nil {
			return err
		}
		return same("manager", got.ID, m.ID)
	}))
	f.call("get_chassis(path)", func() error {
		c, err := f.chassis()
		if err != nil {
			return err
		}
		got, err := redfish.GetChassis(f.api, c.ODataID)
		if err != nil {
			return err
		}
		return same("chassis", got.ID, c.ID)
	})
	f.call("get_update_service", func() error {
		s, err := f.api.Service.UpdateService()
		if err != nil {
			return err
		}
		return same("enabled", s.ServiceEnabled, true)
	})
	f.call("get_event_service", func() error {
		s, err := f.api.Service.EventService()
		if err != nil {
			return err
		}
		return same("enabled", s.ServiceEnabled, true)
	})
	f.call("ResourceNotFoundError of get_task_monitor", func() error {
		_, err := f.api.Get("/redfish/v1/TaskService/TaskMonitors/none") //nolint:bodyclose // gofish closes it with an error
		return status(err, http.StatusNotFound)
	})
}

// manager is the system's.
func (f *fish) manager(n *redfish.ComputerSystem) (*redfish.Manager, error) {
	all, err := n.ManagedBy()
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%d managers", len(all))
	}
	return all[0], nil
}

// chassis is the one there is.
func (f *fish) chassis() (*redfish.Chassis, error) {
	all, err := f.api.Service.Chassis()
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%d chassis", len(all))
	}
	return all[0], nil
}
