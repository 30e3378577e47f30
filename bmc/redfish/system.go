package redfish

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// What every node says of its make.
const (
	manufacturer = "Tenks"
	model        = "Virtual Bare Metal"
)

func systemTable() []Resource {
	return []Resource{
		{Path: systemsPath, Type: "#ComputerSystemCollection.ComputerSystemCollection", Link: "Systems", Name: "Computer System Collection", Members: systemIDs},
		{Path: systemsPath + "/{system}", Type: "#ComputerSystem.v1_20_0.ComputerSystem", Get: getSystem, Writable: systemRules(), Patch: patchSystem,
			Actions: []Action{resetAction("ComputerSystem.Reset")}},
	}
}

// systemIDs are the systems of the caller.
func systemIDs(r *Request) ([]string, error) { return r.Caller.Systems(), nil }

// indicators are the values of IndicatorLED.
var indicators = []string{"Lit", "Blinking", "Off"}

// policies are restore policies by their name in Redfish.
var policies = map[string]state.RestorePolicy{"AlwaysOn": state.RestoreOn, "AlwaysOff": state.RestoreOff, "LastState": state.RestorePrevious}

func systemRules() Rules {
	return Rules{
		"AssetTag":                {Kind: String, Max: 63, Null: true},
		"IndicatorLED":            {Kind: String, Values: indicators},
		"LocationIndicatorActive": {Kind: Bool},
		"PowerRestorePolicy":      {Kind: String, Values: []string{"AlwaysOn", "AlwaysOff", "LastState"}},
		"Boot":                    {Kind: Nested, Properties: bootRules()},
	}
}

func getSystem(r *Request) (Object, error) {
	hardware, status, set := r.Chassis().Hardware(), r.Chassis().Status(), recall[settings](r.System, settingsKey)
	return Object{
		{"Id", r.System.ID}, {"Name", r.System.Name}, {"SystemType", "Virtual"}, {"UUID", r.System.ID},
		{"Manufacturer", cmp.Or(hardware.Identity.Manufacturer, manufacturer)}, {"Model", cmp.Or(hardware.Identity.Product, model)},
		{"SerialNumber", cmp.Or(hardware.Identity.Serial, r.System.ID)}, {"SKU", optionally(hardware.Identity.SKU)}, {"AssetTag", assetTag(r.System)},
		{"BiosVersion", r.firmware(componentBIOS)},
		{"PowerState", powerState(status.Power)}, {"Status", systemStatus(status.Power)},
		{"PowerRestorePolicy", restorePolicy(status.Policy)},
		{"LocationIndicatorActive", set.Lit}, {"IndicatorLED", indicator(set.Lit)},
		{"Boot", bootObject(r, hardware, status, set)},
		{"BootProgress", Object{{"LastState", bootProgress(status.Power)}}},
		{"ProcessorSummary", Object{{"Count", 1}, {"CoreCount", hardware.VCPUs}, {"LogicalProcessorCount", hardware.VCPUs},
			{"Model", processorModel}, {"Status", healthy()}}},
		{"MemorySummary", Object{{"TotalSystemMemoryGiB", float64(hardware.MemoryMB) / 1024}, {"Status", healthy()}}},
		{"TrustedModules", trustedModules(hardware)},
		{"PCIeDevices", pcieLinks(r)}, {"PCIeDevices@odata.count", len(pcieDevices(r))},
		{"Links", Object{{"Chassis", links(r.chassisPath())}, {"Chassis@odata.count", 1}, {"ManagedBy", links(r.managerPath())}, {"ManagedBy@odata.count", 1}}},
	}, nil
}

// trustedModules are the TPMs; the property is not there without one.
func trustedModules(h bmc.Hardware) any {
	if h.TPM != state.TPM2 {
		return Omit
	}
	return []any{Object{{"InterfaceType", "TPM2_0"}, {"Status", healthy()}}}
}

// version is the version of the software, which is also that of the nodes' firmware.
func (s *Service) version() string {
	if s.cfg.Version == "" {
		return "0"
	}
	return s.cfg.Version
}

// assetTag is kept where every protocol keeps it; null when there is none.
func assetTag(sys System) any {
	if tag := sys.Chassis.Recall(bmc.KeyAssetTag); len(tag) > 0 {
		return string(tag)
	}
	if tag := sys.Chassis.Hardware().Identity.Asset; tag != "" {
		return tag
	}
	return nil
}

// optionally is a property that is left out where it is empty.
func optionally(text string) any {
	if text == "" {
		return Omit
	}
	return text
}

// powerState is null while the driver does not say: "Off" would make Ironic act on it.
func powerState(p state.Power) any {
	switch p {
	case state.PowerOn:
		return "On"
	case state.PowerOff:
		return "Off"
	}
	return nil
}

func systemStatus(p state.Power) Object {
	if p == state.PowerOff {
		return Object{{"State", "StandbyOffline"}, {"Health", "OK"}, {"HealthRollup", "OK"}}
	}
	return Object{{"State", "Enabled"}, {"Health", "OK"}, {"HealthRollup", "OK"}}
}

func restorePolicy(p state.RestorePolicy) any {
	for name, policy := range policies {
		if policy == p {
			return name
		}
	}
	return Omit
}

func indicator(lit bool) string {
	if lit {
		return "Lit"
	}
	return "Off"
}

// bootProgress is what Ironic waits for after a firmware update: nobody sees how far the
// guest has got, so power stands for it.
func bootProgress(p state.Power) string {
	if p == state.PowerOn {
		return "OSRunning"
	}
	return "None"
}

func patchSystem(r *Request, v Values) error {
	if tag, given := v["AssetTag"]; given {
		var raw []byte
		if s, isString := tag.(string); isString && s != "" {
			raw = []byte(s)
		}
		if err := r.Chassis().Keep(r.Context(), bmc.KeyAssetTag, raw); err != nil {
			return err
		}
	}
	if err := patchIndicator(r, v); err != nil {
		return err
	}
	if name, given := v.String("PowerRestorePolicy"); given {
		if err := r.Chassis().SetRestorePolicy(r.Context(), policies[name]); err != nil {
			return err
		}
	}
	if boot, given := v["Boot"].(Values); given {
		if err := patchBoot(r, boot); err != nil {
			return err
		}
	}
	r.Service.Happened(r.System, r.Path, "ResourceEvent.1.3.ResourceChanged")
	return nil
}

// patchIndicator sets the location indicator, by its new or its old name.
func patchIndicator(r *Request, v Values) error {
	lit, given := v.Bool("LocationIndicatorActive")
	if led, old := v.String("IndicatorLED"); old {
		lit, given = led != "Off", true
	}
	if !given {
		return nil
	}
	return alter(r, func(s *settings) { s.Lit = lit })
}

// resetTypes are the values of ResetType, in the order of the schema.
var resetTypes = []string{"On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi", "ForceOn", "PushPowerButton", "PowerCycle"}

// resetAction is the same for a system and its chassis.
func resetAction(name string) Action {
	return Action{Name: name, Do: reset, Parameters: Rules{"ResetType": {Kind: String, Values: resetTypes, Required: true}}}
}

// plan says which power action a ResetType is; wait is set where power comes back once
// the guest has shut down. An empty action is nothing to do.
func plan(resetType string, power state.Power) (action state.PowerAction, wait bool) {
	on := power != state.PowerOff
	switch resetType {
	case "On", "ForceOn":
		return state.ActionOn, false
	case "ForceOff":
		return state.ActionOff, false
	case "Nmi":
		return state.ActionDiag, false
	}
	switch {
	case !on && resetType == "GracefulShutdown":
		return "", false
	case !on:
		// A restart of what is off ends with it on.
		return state.ActionOn, false
	}
	switch resetType {
	case "ForceRestart":
		return state.ActionReset, false
	case "PowerCycle":
		return state.ActionCycle, false
	}
	return state.ActionSoft, resetType == "GracefulRestart" // the others are shutdown and the button
}

func reset(r *Request, v Values) (*Result, error) {
	resetType, _ := v.String("ResetType")
	// Whatever is asked for now, a restart that waits for its guest is not wanted any more.
	r.Service.restarts.cancel(r.System.ID)
	action, wait := plan(resetType, r.Chassis().Status().Power)
	if action == "" {
		return nil, nil //nolint:nilnil // a nil Result is 204
	}
	if wait || bmc.StartsAnew(action, r.Chassis().Status().Power) {
		if err := awaitMedia(r); err != nil {
			return nil, err
		}
	}
	var err error
	if wait {
		err = gracefulRestart(r)
	} else {
		// Clients do not ask again: sushy repeats only what it reads.
		err = bmc.PowerWhenFree(r.Context(), r.Chassis(), action, r.Service.cfg.PowerPatience)
	}
	switch {
	case errors.Is(err, state.ErrWrongState):
		return nil, fail(http.StatusConflict, msg("ActionParameterValueConflict", "ResetType", resetType).about("ResetType"))
	case errors.Is(err, state.ErrUnsupported):
		return nil, fail(http.StatusBadRequest, msg("ActionParameterValueNotInList", resetType, "ResetType", "Reset").about("ResetType"))
	}
	return nil, err
}

const (
	// gracefulWait is how long a guest may take to shut down.
	gracefulWait = 2 * time.Minute
	// powerRetry is how often power-on is tried while the driver is busy.
	powerRetry = time.Second
)

// restarts are those that wait for their guest, by system.
type restarts struct {
	mu      sync.Mutex // guards pending
	pending map[string]context.CancelFunc
}

func (rs *restarts) cancel(system string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if cancel := rs.pending[system]; cancel != nil {
		cancel()
		delete(rs.pending, system)
	}
}

func (rs *restarts) put(system string, cancel context.CancelFunc) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.pending == nil {
		rs.pending = map[string]context.CancelFunc{}
	}
	rs.pending[system] = cancel
}

// gracefulRestart asks the guest to shut down, and switches on once it has.
func gracefulRestart(r *Request) error {
	chassis, id, s := r.Chassis(), r.System.ID, r.Service
	off := make(chan struct{}, 1)
	unsubscribe := chassis.Subscribe(func(e bmc.Event) {
		if e.Kind == bmc.EventOff {
			select {
			case off <- struct{}{}:
			default:
			}
		}
	})
	if err := chassis.Power(r.Context(), state.ActionSoft); err != nil {
		unsubscribe()
		return err
	}
	ready := make(chan struct{})
	started := s.spawn(func(ctx context.Context) {
		defer unsubscribe()
		ctx, cancel := context.WithTimeout(ctx, gracefulWait)
		defer cancel()
		s.restarts.put(id, cancel)
		close(ready)
		select {
		case <-ctx.Done():
			return
		case <-off:
		}
		for {
			err := chassis.Power(ctx, state.ActionOn)
			if err == nil || ctx.Err() != nil {
				return
			}
			s.cfg.Log.WarnContext(ctx, "redfish: power-on of a graceful restart failed; will retry", "node", id, "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(powerRetry):
			}
		}
	})
	if !started {
		unsubscribe()
		return unavailable(busyRetry)
	}
	<-ready
	return nil
}
