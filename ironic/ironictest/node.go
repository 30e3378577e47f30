package ironictest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// node is a node document and the change of state that is under way.
type node struct {
	doc     map[string]any
	pending []step
}

// step sets the state at a time.
type step struct {
	at    time.Time
	state string
	err   string
	// hurt says that a step was under way, so that the node goes into maintenance.
	hurt bool
}

type port struct{ doc map[string]any }

var interfaces = []string{"bios", "boot", "console", "deploy", "inspect", "management", "network", "power", "raid",
	"rescue", "storage", "vendor", "firmware"}

var drivers = []string{"ipmi", "redfish", "snmp", "fake-hardware", "manual-management"}

func newNode(body map[string]any) *node {
	doc := map[string]any{
		"name": nil, "provision_state": "enroll", "target_provision_state": nil, "last_error": nil,
		"reservation": nil, "instance_uuid": nil, "maintenance": false, "maintenance_reason": nil,
		"driver_info": map[string]any{}, "properties": map[string]any{}, "extra": map[string]any{},
		"resource_class": nil, "conductor_group": "", "description": nil, "traits": []any{},
		"owner": nil, "lessee": nil, "shard": nil, "automated_clean": nil, "fault": nil, "protected": false, "protected_reason": nil,
		"retired": false, "retired_reason": nil, "inspection_finished_at": nil, "provision_updated_at": nil, "network_data": map[string]any{},
	}
	for _, kind := range interfaces {
		doc[kind+"_interface"] = "no-" + kind
	}
	for k, v := range body {
		doc[k] = v
	}
	return &node{doc: doc}
}

// patchable are the paths of patches (ironic.common.args, _PATCH_SCHEMA).
var patchable = regexp.MustCompile(`^(/[\w-]+)+$`)

func (n *node) text(key string) string { s, _ := n.doc[key].(string); return s }

func (n *node) state() string { return n.text("provision_state") }

// settle carries out the steps whose time has come.
func (n *node) settle() {
	for len(n.pending) > 0 && !time.Now().Before(n.pending[0].at) {
		s := n.pending[0]
		n.pending = n.pending[1:]
		// ironic.db.sqlalchemy.api, _do_update_node.
		if n.state() == "inspecting" && s.state == "manageable" {
			n.doc["inspection_finished_at"] = time.Now().UTC().Format(time.RFC3339Nano)
		}
		n.doc["provision_state"] = s.state
		n.moved()
		if s.err != "" {
			n.doc["last_error"] = s.err
		}
		if s.hurt {
			n.hurt(s.err)
		}
	}
	// ironic.common.states, STABLE_STATES: those that failed keep their target, but for error.
	if len(n.pending) == 0 && slices.Contains([]string{"enroll", "manageable", "available", "active", "error"}, n.state()) {
		n.doc["target_provision_state"] = nil
	}
}

// moved notes when the state changed.
func (n *node) moved() {
	n.doc["provision_updated_at"] = time.Now().UTC().Format(time.RFC3339Nano)
}

// hurt is what ironic.conductor.utils.cleaning_error_handler does while a step is under way.
func (n *node) hurt(why string) {
	n.doc["maintenance"], n.doc["fault"] = true, "clean failure"
	if n.doc["maintenance_reason"] == nil {
		n.doc["maintenance_reason"] = why
	}
}

// refusal is an answer that is not success.
type refusal struct {
	status  int
	message string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// provision takes a verb (ironic.common.states: the machine's transitions).
func (i *Ironic) provision(n *node, verb string) *refusal {
	from := n.state()
	allowed := map[string][]string{
		"manage":   {"enroll", "clean failed", "available", "inspect failed", "adopt failed"},
		"provide":  {"manageable"},
		"inspect":  {"manageable"},
		"active":   {"available"},
		"deleted":  {"active", "wait call-back", "deploy failed", "error", "rescue", "rescue wait", "rescue failed", "unrescue failed", "service failed", "service wait"},
		"abort":    {"clean wait", "inspect wait", "rescue wait", "clean hold", "deploy hold", "service wait", "service hold"},
		"unrescue": {"rescue", "rescue failed", "unrescue failed"},
	}
	if !slices.Contains(allowed[verb], from) {
		return refuse(http.StatusBadRequest, "The requested action %q can not be performed on node %q while it is in state %q.",
			verb, n.text("uuid"), from)
	}
	if why := held(n, verb); why != nil {
		return why
	}
	now := time.Now()
	switch {
	case verb == "inspect":
		n.doc["inspection_finished_at"] = nil
		end := step{at: now.Add(i.opts.Inspect), state: "manageable"}
		if why, fails := take(i.inspectErr, n.text("uuid")); fails {
			end.state, end.err = "inspect failed", why
		}
		n.begin("inspecting", "manageable", end)
	case verb == "manage" && from == "enroll":
		end := step{at: now.Add(i.opts.Verify), state: "manageable"}
		if why := i.verifyErr[n.text("uuid")]; why != "" {
			end.state, end.err = "enroll", why
		}
		n.begin("verifying", "manageable", end)
	case verb == "manage":
		n.begin("manageable", "")
	case verb == "provide":
		n.begin("cleaning", "available", i.clean(n, now)...)
	case verb == "active":
		n.begin("active", "")
		n.doc["instance_uuid"] = "11111111-1111-4111-8111-111111111111"
	case verb == "unrescue":
		i.unrescue(n, now)
	case verb == "deleted":
		if why, fails := take(i.undeployErr, n.text("uuid")); fails {
			n.begin("deleting", "available", step{at: now.Add(i.opts.Undeploy), state: "error", err: why})
			return nil
		}
		n.doc["instance_uuid"] = nil
		n.begin("deleting", "available", append([]step{{at: now.Add(i.opts.Undeploy), state: "cleaning"}},
			i.clean(n, now.Add(i.opts.Undeploy))...)...)
	default:
		n.abort(from)
	}
	return nil
}

func (i *Ironic) unrescue(n *node, now time.Time) {
	end := step{at: now.Add(i.opts.Undeploy), state: "active"}
	if why, fails := take(i.unrescueErr, n.text("uuid")); fails {
		end.state, end.err = "unrescue failed", why
	}
	n.begin("unrescuing", "active", end)
}

// abort ends what waits.
func (n *node) abort(from string) {
	of, _, _ := strings.Cut(from, " ")
	n.begin(of+" failed", "")
	if of == "clean" {
		n.doc["last_error"] = "By request, the clean operation was aborted"
		n.hurt("By request, the clean operation was aborted")
	}
}

// held is what people's flags refuse (do_provisioning_action, do_node_tear_down).
func held(n *node, verb string) *refusal {
	switch {
	case verb == "provide" && n.doc["maintenance"] == true:
		return refuse(http.StatusBadRequest, "The providing operation can't be performed on node %s because it's in maintenance mode.", n.text("uuid"))
	case verb == "provide" && n.doc["retired"] == true:
		return refuse(http.StatusBadRequest, "The providing operation can't be performed on node %s because it is retired.", n.text("uuid"))
	case verb == "unrescue" && n.doc["maintenance"] == true:
		return refuse(http.StatusBadRequest, "The unrescuing operation can't be performed on node %s because it's in maintenance mode.", n.text("uuid"))
	case verb == "deleted" && n.doc["protected"] == true:
		return refuse(http.StatusForbidden, "Node %s is protected and cannot be undeployed, rebuilt or deleted", n.text("uuid"))
	}
	return nil
}

// begin moves to a state at once and through others later.
func (n *node) begin(state, target string, later ...step) {
	n.moved()
	n.doc["provision_state"], n.doc["last_error"] = state, nil
	n.doc["target_provision_state"] = nil
	if target != "" {
		n.doc["target_provision_state"] = target
	}
	n.pending = later
}

// clean is skipped as ironic.conductor.utils.skip_automated_cleaning says. A node in
// maintenance fails it at once (ironic.conductor.cleaning, do_node_clean).
func (i *Ironic) clean(n *node, from time.Time) []step {
	why, fails := take(i.cleanErr, n.text("uuid"))
	switch wanted := n.doc["automated_clean"]; {
	case fails:
		return []step{{at: from.Add(i.opts.Clean / 2), state: "clean wait"}, {at: from.Add(i.opts.Clean), state: "clean failed", err: why, hurt: true}}
	case wanted == false, wanted == nil && !i.opts.AutomatedClean:
		return []step{{at: from, state: "available"}}
	case n.doc["maintenance"] == true:
		return []step{{at: from, state: "clean failed", err: "Cleaning a node in maintenance mode is not allowed"}}
	}
	return []step{{at: from.Add(i.opts.Clean / 2), state: "clean wait"}, {at: from.Add(i.opts.Clean), state: "available"}}
}

// take takes the first of what a node's next ones fail with.
func take(from map[string][]string, uuid string) (string, bool) {
	if len(from[uuid]) == 0 {
		return "", false
	}
	why := from[uuid][0]
	from[uuid] = from[uuid][1:]
	return why, true
}

// checkNode refuses what Ironic's API refuses of a new or changed node.
func (i *Ironic) checkNode(n *node) *refusal {
	if !slices.Contains(drivers, n.text("driver")) {
		return refuse(http.StatusBadRequest, "No valid host was found. Reason: No conductor service registered which supports driver %s for conductor group \"\".", n.text("driver"))
	}
	for _, kind := range interfaces {
		if v := n.text(kind + "_interface"); v != "no-"+kind && !slices.Contains([]string{"noop", "fake", "ipxe", "direct", "ramdisk", "flat", "ipmitool"}, v) {
			return refuse(http.StatusBadRequest, "Could not find the following interface in the 'ironic.hardware.interfaces.%s' entrypoint: %s.", kind, v)
		}
	}
	for uuid, other := range i.nodes {
		if name := n.text("name"); name != "" && uuid != n.text("uuid") && other.text("name") == name {
			return refuse(http.StatusConflict, "A node with name %s already exists.", name)
		}
	}
	return nil
}

// patchNode applies a JSON patch as the API and the conductor allow it.
func (i *Ironic) patchNode(n *node, ops []map[string]any) *refusal {
	moving := n.doc["target_provision_state"] != nil
	if moving && !slices.Contains([]string{"verifying", "inspect wait", "clean failed", "adopt failed", "rescue failed", "unrescue failed", "error", "inspect failed", "deploy failed"}, n.state()) {
		return refuse(http.StatusConflict, "Node %s can not be updated while a state transition is in progress.", n.text("uuid"))
	}
	changed := cloneDoc(n.doc)
	for _, op := range ops {
		path, _ := op["path"].(string)
		if !patchable.MatchString(path) {
			return refuse(http.StatusBadRequest, "Schema error for patch: '%s' does not match '%s'", path, patchable)
		}
		if _, has := op["value"]; !has && path == "/automated_clean" {
			return refuse(http.StatusInternalServerError, "'value'") // ironic.api.controllers.v1.node, patch
		}
		if why := checkNetworkData(op); why != nil {
			return why
		}
		if why := i.mayPatch(n, path); why != nil {
			return why
		}
		if why := applyPatch(changed, op); why != nil {
			return why
		}
	}
	for _, kind := range interfaces {
		if changed[kind+"_interface"] == nil {
			changed[kind+"_interface"] = "no-" + kind
		}
	}
	if why := i.checkNode(&node{doc: changed}); why != nil {
		return why
	}
	for _, path := range i.dropped {
		group, key, _ := strings.Cut(path[1:], "/")
		if m, ok := changed[group].(map[string]any); ok {
			delete(m, key)
		}
	}
	n.doc = changed
	return nil
}

func (i *Ironic) mayPatch(n *node, path string) *refusal {
	free := slices.Contains([]string{"enroll", "inspecting", "inspect wait", "manageable", "available"}, n.state())
	switch {
	case free:
	case strings.HasSuffix(path, "_interface") && n.doc["maintenance"] != true,
		path == "/resource_class" && n.text("resource_class") != "":
		return refuse(http.StatusConflict, "Node %s can not have %s updated unless it is in one of allowed (enroll, inspecting, inspect wait, manageable, available) states.",
			n.text("uuid"), path[1:])
	}
	return nil
}

// checkNetworkData is ironic.api.controllers.v1.node, validate_network_data: what its schema wants
// of the whole.
func checkNetworkData(op map[string]any) *refusal {
	value, sent := op["value"]
	if op["path"] != "/network_data" || op["op"] == "remove" || !sent {
		return nil
	}
	lists, _ := value.(map[string]any)
	for _, key := range []string{"links", "networks", "services"} {
		if _, ok := lists[key].([]any); !ok {
			return refuse(http.StatusBadRequest, "Invalid network_data: '%s' is a required property ", key)
		}
	}
	return nil
}

// deletable: ironic.conductor.manager destroy_node.
func deletable(n *node) *refusal {
	if n.doc["maintenance"] != true && n.doc["instance_uuid"] != nil {
		return refuse(http.StatusConflict, "Node %s is associated with instance %v.", n.text("uuid"), n.doc["instance_uuid"])
	}
	if n.doc["protected"] == true {
		return refuse(http.StatusForbidden, "Node %s is protected and cannot be undeployed, rebuilt or deleted", n.text("uuid"))
	}
	if n.doc["maintenance"] == true {
		return nil
	}
	if !slices.Contains([]string{"enroll", "manageable", "available", "adopt failed"}, n.state()) {
		return refuse(http.StatusConflict, "Can not delete node %q while it is in provision state %q.", n.text("uuid"), n.state())
	}
	return nil
}
