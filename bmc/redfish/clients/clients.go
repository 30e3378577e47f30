// Package clients makes every call of a Redfish client that Ironic's redfish hardware type
// makes: by sushy, which Ironic uses, and the same by gofish, which shares no code with it.
// It is for tests, holds no state, and starts the Python program that it waits for.
package clients

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Target is a system that the calls are made for. The account has that system only, which
// is off and has two disks or one; its media drive is empty.
type Target struct {
	// URL is that of the service, System the path of the system.
	URL            string `json:"url"`
	System         string `json:"system"`
	User, Password string
	// Image is a URL that the service can fetch an image from, Firmware one of firmware
	// images (which are not fetched); Sink is a URL that takes events.
	Image, Firmware, Sink string
	// MemoryGiB, CPUs, MACs and Disks (bytes) are what the node was declared with.
	MemoryGiB float64
	CPUs      int
	MACs      []string
	Disks     []uint64
	// SecureBoot says that the firmware can do Secure Boot.
	SecureBoot bool
	// Guest says that there is a real guest, which takes a moment to change, and none of
	// whose software reacts to a shutdown.
	Guest bool
	// Auth is Ironic's redfish_auth_type: "basic", "session" or "auto".
	Auth string
}

// Outcome is how a call ended.
type Outcome struct {
	Call string `json:"call"`
	// Error is empty if the call did what it should.
	Error string `json:"error"`
	// Took is how long it took, in seconds.
	Took float64 `json:"took"`
}

// Missing are the calls of the table that were not made, and made ones that are not in it.
func Missing(outcomes []Outcome, by func(Call) bool) (out []string) {
	made := map[string]bool{}
	for _, o := range outcomes {
		made[o.Call] = true
	}
	for _, c := range Calls() {
		if by(c) && !made[c.Name] {
			out = append(out, c.Name+" was not made")
		}
		delete(made, c.Name)
	}
	for name := range made {
		out = append(out, name+" is not in the table")
	}
	slices.Sort(out)
	return out
}

// Failed are the calls that failed, with their errors.
func Failed(outcomes []Outcome) (out []string) {
	for _, o := range outcomes {
		if o.Error != "" {
			out = append(out, o.Call+": "+o.Error)
		}
	}
	return out
}

// Table has a line for each call: where Ironic makes it, and how it ended by each client.
func Table(columns []string, outcomes map[string][]Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-62s %-34s", "call", "Ironic")
	for _, c := range columns {
		fmt.Fprintf(&b, " %-13s", c)
	}
	for _, call := range Calls() {
		fmt.Fprintf(&b, "\n%-62s %-34s", call.Name, call.Where)
		for _, column := range columns {
			fmt.Fprintf(&b, " %-13s", word(outcomes[column], call.Name))
		}
	}
	return b.String()
}

// word says how a call ended.
func word(outcomes []Outcome, call string) string {
	i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Call == call })
	switch {
	case i < 0:
		return "-"
	case outcomes[i].Error != "":
		return "FAIL"
	}
	return "pass " + time.Duration(outcomes[i].Took*float64(time.Second)).Round(time.Millisecond).String()
}
