package ironic

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"tenks/raftfsm/state"
)

// Minor API versions (1.N). What a request asks for is what the declarations need, and no more:
// an older Ironic does as long as nothing newer is declared.
const (
	// leastMinor has all that every node has; the newest of it is conductor_group (Stein).
	leastMinor = 46
	// usualMinor tells of retired nodes. It is asked for where there is no need, too.
	usualMinor = 61
)

// need is a field that came with a version of the API, and the key that declares it.
type need struct {
	path, key string
	minor     int
	// declared reports whether the key is there; nil: there is none.
	declared func(e *state.Enrolment) bool
}

// needs are newer than leastMinor (Ironic's REST API version history).
var needs = []need{
	{"/automated_clean", "automated_clean", 47, func(e *state.Enrolment) bool { return e.AutomatedClean != "" }},
	{"/protected", "", 48, nil},
	{"/protected_reason", "", 48, nil},
	{pathOwner, "owner", 50, func(e *state.Enrolment) bool { return e.Owner != "" }},
	{"/description", "description", 51, func(e *state.Enrolment) bool { return e.Description != "" }},
	{"/retired", "", usualMinor, nil},
	{"/retired_reason", "", usualMinor, nil},
	{"/lessee", "lessee", 65, func(e *state.Enrolment) bool { return e.Lessee != "" }},
	{pathNetworkData, "network_data", 66, func(e *state.Enrolment) bool { return e.NetworkData != "" }},
	{"/shard", "shard", 82, func(e *state.Enrolment) bool { return e.Shard != "" }},
	{"/firmware_interface", "firmware_interface", 86, func(e *state.Enrolment) bool { return e.Interfaces["firmware"] != "" }},
}

// needOf is the minor version that has a field.
func needOf(path string) int {
	if i := slices.IndexFunc(needs, func(n need) bool { return n.path == path }); i >= 0 {
		return needs[i].minor
	}
	return leastMinor
}

// needed is the minor version that the declarations of nodes need.
func needed(nodes []*state.Node) int {
	minor := usualMinor
	for _, n := range nodes {
		for _, need := range needs {
			if need.minor > minor && need.by(n.Enrol) {
				minor = need.minor
			}
		}
	}
	return minor
}

func (n need) by(e *state.Enrolment) bool { return e != nil && n.declared != nil && n.declared(e) }

// neededBy is the minor version that has the fields which records of ours have been given.
func neededBy(inv *inventory, mesh string) int {
	minor := 0
	for _, r := range inv.nodes {
		if !r.marked(mesh) {
			continue
		}
		for _, path := range r.Mark.Managed {
			minor = max(minor, needOf(path))
		}
	}
	return minor
}

// tooOld says which key of a node's declaration an Ironic that goes up to a minor version
// does not know; empty: none.
func tooOld(n *state.Node, most int) string {
	if most == 0 {
		return ""
	}
	for _, need := range needs {
		if need.minor > most && need.by(n.Enrol) {
			return fmt.Sprintf("node %s: ironic_config.%s needs version 1.%d of Ironic's API, and this Ironic has 1.%d at most: take the key out, or upgrade it",
				n.Name, need.key, need.minor, most)
		}
	}
	return ""
}

const headerMost = "X-Openstack-Ironic-Api-Maximum-Version"

// offered is "[1.1, 1.82]" in the words of a refusal, for those that lost their header.
var offered = regexp.MustCompile(`\[1\.\d+, 1\.(\d+)\]`)

// mostOf is the newest minor version that an answer says there is; 0: it says none.
func mostOf(h http.Header) int {
	_, minor, _ := strings.Cut(h.Get(headerMost), ".")
	v, err := strconv.Atoi(minor)
	if err != nil {
		return 0
	}
	return v
}

// refusedVersion is the newest minor version of an Ironic that did not take the one asked for.
func refusedVersion(err error) (most int, refused bool) {
	var e gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &e) || e.Actual != http.StatusNotAcceptable {
		return 0, false
	}
	if most = mostOf(e.ResponseHeader); most > 0 {
		return most, true
	}
	if m := offered.FindSubmatch(e.Body); m != nil {
		most, _ = strconv.Atoi(string(m[1]))
	}
	return most, most > 0
}
