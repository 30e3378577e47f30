package ironiclab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// States is what Ironic says of a node's state.
type States struct {
	// Reservation is the conductor that works on the node; empty: none does.
	Reservation    string `json:"reservation"`
	Provision      string `json:"provision_state"`
	Target         string `json:"target_provision_state"`
	Power          string `json:"power_state"`
	TargetPower    string `json:"target_power_state"`
	LastError      string `json:"last_error"`
	ConsoleEnabled bool   `json:"console_enabled"`
	BootMode       string `json:"boot_mode"`
	SecureBoot     *bool  `json:"secure_boot"`
	Maintenance    bool   `json:"maintenance"`
}

// States returns a node's.
func (i *Ironic) States(ctx context.Context, uuid string) (s States, err error) {
	err = i.Call(ctx, "GET", "/v1/nodes/"+uuid+"?fields=reservation,provision_state,target_provision_state,power_state,target_power_state,"+
		"last_error,console_enabled,boot_mode,secure_boot", nil, &s)
	return s, err
}

// AllStates returns those of all nodes, by UUID, with one request.
func (i *Ironic) AllStates(ctx context.Context) (map[string]States, error) {
	var body struct {
		Nodes []struct {
			UUID string `json:"uuid"`
			States
		} `json:"nodes"`
	}
	err := i.Call(ctx, "GET", "/v1/nodes?fields=uuid,reservation,provision_state,target_provision_state,power_state,target_power_state,last_error,maintenance", nil, &body)
	out := map[string]States{}
	for _, n := range body.Nodes {
		out[n.UUID] = n.States
	}
	return out, err
}

// Ask has Ironic change a state ("power", "console", "boot_mode", "secure_boot", "raid"), and
// waits until it has tried to: it reserves the node before it answers, and until it is done.
func (i *Ironic) Ask(ctx context.Context, uuid, state string, body map[string]any) (s States, err error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	if err := i.Call(ctx, "PUT", "/v1/nodes/"+uuid+"/states/"+state, body, nil); err != nil {
		return States{}, err
	}
	err = await(ctx, state, func() (bool, error) {
		s, err = i.States(ctx, uuid)
		return err == nil && s.Reservation == "", err
	})
	return s, err
}

// failures are the provision states that nothing comes after.
var failures = map[string]bool{"clean failed": true, "deploy failed": true, "inspect failed": true, "error": true, "enroll": true}

// Provision has Ironic do a verb ("manage", "inspect", "clean", "active" …) with its arguments,
// and waits for the state that follows. Where Ironic fails, the error has its words.
func (i *Ironic) Provision(ctx context.Context, uuid, verb, want string, with map[string]any) error {
	body := map[string]any{"target": verb}
	for k, v := range with {
		body[k] = v
	}
	if err := i.Call(ctx, "PUT", "/v1/nodes/"+uuid+"/states/provision", body, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	return await(ctx, verb, func() (bool, error) {
		s, err := i.States(ctx, uuid)
		if err == nil && s.Target == "" && s.Provision != want || failures[s.Provision] {
			return false, fmt.Errorf("%w: %s: %s", errEnded, s.Provision, s.LastError)
		}
		return err == nil && s.Provision == want && s.Target == "", err
	})
}

// BootDevice is what Ironic reads from a node's BMC.
type BootDevice struct {
	Device     string `json:"boot_device"`
	Persistent bool   `json:"persistent"`
}

// BootDevice has Ironic ask the node's BMC.
func (i *Ironic) BootDevice(ctx context.Context, uuid string) (d BootDevice, err error) {
	err = i.Call(ctx, "GET", "/v1/nodes/"+uuid+"/management/boot_device", nil, &d)
	return d, err
}

// BIOS returns the BIOS settings that Ironic has cached.
func (i *Ironic) BIOS(ctx context.Context, uuid string) (map[string]string, error) {
	var body struct {
		BIOS []struct{ Name, Value string }
	}
	if err := i.Call(ctx, "GET", "/v1/nodes/"+uuid+"/bios", nil, &body); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range body.BIOS {
		out[s.Name] = s.Value
	}
	return out, nil
}

// Console is how a node's console is reached.
type Console struct {
	Enabled bool `json:"console_enabled"`
	Info    struct{ Type, URL string }
}

// Console returns a node's.
func (i *Ironic) Console(ctx context.Context, uuid string) (Console, error) {
	var body struct {
		Enabled bool `json:"console_enabled"`
		Info    *struct {
			Type string `json:"type"`
			URL  string `json:"url"`
		} `json:"console_info"`
	}
	err := i.Call(ctx, "GET", "/v1/nodes/"+uuid+"/states/console", nil, &body)
	c := Console{Enabled: body.Enabled}
	if body.Info != nil {
		c.Info.Type, c.Info.URL = body.Info.Type, body.Info.URL
	}
	return c, err
}

// EnableConsole switches a node's console on or off.
func (i *Ironic) EnableConsole(ctx context.Context, uuid string, enabled bool) error {
	s, err := i.Ask(ctx, uuid, "console", map[string]any{"enabled": enabled})
	if err == nil && s.ConsoleEnabled != enabled {
		err = fmt.Errorf("console of %s: enabled %t: %s", uuid, s.ConsoleEnabled, s.LastError) //nolint:err113 // for people
	}
	return err
}

// Sensors are those of a node as Ironic sends them to its users: by type and name, with all
// that is said of each.
type Sensors map[string]map[string]map[string]any

// sensorLine begins what oslo.messaging's log driver writes for a notification.
const sensorLine = "oslo.messaging.notification.hardware."

// Sensors returns the last ones of a node that Ironic sent; nil: none yet. Options.Sensors
// has it send them.
func (i *Ironic) Sensors(uuid string) (Sensors, error) {
	log, err := os.Open(i.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var last Sensors
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		_, line, found := strings.Cut(lines.Text(), sensorLine)
		at := strings.IndexByte(line, '{')
		if !found || at < 0 || !strings.Contains(line, uuid) {
			continue
		}
		var message struct {
			Payload struct {
				Node    string  `json:"node_uuid"`
				Payload Sensors `json:"payload"`
			} `json:"payload"`
		}
		if err := json.Unmarshal([]byte(line[at:]), &message); err != nil {
			return nil, fmt.Errorf("%w: %.300s", err, line)
		}
		if message.Payload.Node == uuid {
			last = message.Payload.Payload
		}
	}
	return last, lines.Err()
}
