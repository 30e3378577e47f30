package redfish

import (
	"context"
	"net/http"
	"strings"

	"tenks/bmc"
)

// A Resource is a row of the table that makes up the service: one URI pattern and
// what may be done there. The engine does the rest of DSP0266 for it: authentication,
// scope, privileges, headers, ETags, query parameters, checks of what is written, and
// errors.
type Resource struct {
	// Path is the URI; a segment in braces is a variable. The variable {system} is the
	// UUID of a system that the caller has: the engine looks it up, and answers 404
	// otherwise.
	Path string
	// Type is the @odata.type, such as "#Bios.v1_2_0.Bios"; its schema is referred to from
	// $metadata and JsonSchemas. Rows that are no resources (upload URIs) have none.
	Type string
	// Link is the property of the parent resource (Path without its last segment) that
	// refers to this one; empty: none does. "Links/Sessions" puts it into Links.
	Link string
	// Get builds the payload without @odata.id, @odata.type, @odata.etag, Actions and the
	// links of children. nil: there is no GET.
	Get func(r *Request) (Object, error)
	// Members makes the resource a collection: it returns the last segments of its members'
	// URIs in order. Get may be nil then, with Name instead.
	Members func(r *Request) ([]string, error)
	// Inline, of a collection whose schema has its members in it (LogEntryCollection),
	// returns their IDs and payloads.
	Inline func(r *Request) (ids []string, members []Object, err error)
	// Name is the Name of a collection without Get.
	Name string
	// Present says whether the resource exists for this request; nil: always.
	Present func(r *Request) bool
	// SystemOf returns the system of a path without {system}, or "": it is looked up as that
	// is, and its peer answers.
	SystemOf func(r *Request) string
	// WithSystems says that it is kept with the caller's systems: one that is not known here
	// is asked for at their peer, if none of them is at this one.
	WithSystems bool
	// Volatile has the properties that change by themselves and are left out of the ETag.
	Volatile []string

	// Writable has what PATCH may change. Patch gets only what passed the checks; it answers
	// an error made by fail, or one of the chassis.
	Writable Rules
	Patch    func(r *Request, v Values) error
	// Creatable has what POST to the collection may have. Post makes the member.
	Creatable Rules
	Post      func(r *Request, v Values) (*Result, error)
	Delete    func(r *Request) error
	Actions   []Action
	// Raw handles a method itself, by its name, after authentication and privileges: bodies
	// that are no JSON, streams. It writes the answer, unless it returns an error.
	Raw map[string]func(r *Request, w http.ResponseWriter) error

	// Read and Change are the privileges for GET, and for all else; empty: Login, and
	// ConfigureComponents.
	Read, Change Privilege
	// Self says that the resource is the caller's own (session, account): ConfigureSelf is
	// enough then.
	Self func(r *Request) bool
	// Open resources need no authentication; OpenPost: their POST does not.
	Open, OpenPost bool
	// BodyLimit is how many bytes a body may have; 0: 1 MiB.
	BodyLimit int64
}

// An Action of a resource is POSTed to {Path}/Actions/{Name}; its parameters are
// described at {Path}/{short name}ActionInfo, where Name is "ComputerSystem.Reset" and
// the short name "Reset".
type Action struct {
	Name       string
	Parameters Rules
	Do         func(r *Request, v Values) (*Result, error)
	// Present says whether it exists for this request; nil: always.
	Present func(r *Request) bool
	// Change is the privilege; empty: that of the resource.
	Change Privilege
	// Silent keeps a failure out of the log.
	Silent bool
}

// short is the action's name without its namespace.
func (a Action) short() string { return a.Name[strings.LastIndexByte(a.Name, '.')+1:] }

// Kind is a JSON type.
type Kind int

// The kinds of values.
const (
	String Kind = iota
	Bool
	Integer
	Number
	// Nested is an object with Properties.
	Nested
	// List is an array, of Elements if that is set.
	List
	// Any is whatever JSON has; the handler checks it.
	Any
)

// A Rule is what a property or parameter may be.
type Rule struct {
	Kind Kind
	// Values are the strings that are allowed; nil: any.
	Values []string
	// ValuesFor is Values that depend on the request.
	ValuesFor func(r *Request) []string
	// Null says that null is allowed; the value is nil then.
	Null bool
	// Required is for actions and creation.
	Required bool
	// Max bounds the length of a string or list; 0: 1024.
	Max int
	// Min and Most bound a number where Most > Min.
	Min, Most float64
	// Check refuses a value of the right type with a wrong format.
	Check      func(v any) bool
	Properties Rules
	Elements   *Rule
	// Secret values are repeated in no message.
	Secret bool
}

// Rules are rules by property.
type Rules map[string]Rule

// Values are what a client wrote, after the checks: nested objects are Values, lists
// []any, integers int64, numbers float64.
type Values map[string]any

// Get returns the value at a path such as "Boot/BootSourceOverrideTarget".
func (v Values) Get(path string) (any, bool) {
	head, rest, nested := strings.Cut(path, "/")
	value, ok := v[head]
	if !nested || !ok {
		return value, ok
	}
	inner, _ := value.(Values)
	return inner.Get(rest)
}

// String returns the string at a path; ok is false where there is none (or null).
func (v Values) String(path string) (s string, ok bool) {
	value, _ := v.Get(path)
	s, ok = value.(string)
	return s, ok
}

// Bool returns the boolean at a path.
func (v Values) Bool(path string) (b, ok bool) {
	value, _ := v.Get(path)
	b, ok = value.(bool)
	return b, ok
}

// Int returns the integer at a path.
func (v Values) Int(path string) (n int64, ok bool) {
	value, _ := v.Get(path)
	n, ok = value.(int64)
	return n, ok
}

// Strings returns the list of strings at a path.
func (v Values) Strings(path string) (list []string, ok bool) {
	value, _ := v.Get(path)
	items, ok := value.([]any)
	for _, item := range items {
		if s, isString := item.(string); isString {
			list = append(list, s)
		}
	}
	return list, ok
}

// A Request is what a handler sees. It is used by one goroutine.
type Request struct {
	// HTTP is the request; its body was read already except for Raw.
	HTTP *http.Request
	// Service is where shared state is: tasks, events, logs.
	Service *Service
	// Path is the @odata.id of the resource, without a trailing slash except in the root.
	Path string
	// System is the one that {system} names. Its Chassis is never nil.
	System System
	// Caller is who asks.
	Caller *Caller
	vars   []pathVar
	// raw is the body that was read, for who answers in place of this peer.
	raw []byte
	// Instead, if Patch or Delete sets it, is answered in place of the usual: a task.
	Instead *Result
}

type pathVar struct{ name, value string }

// Context returns the context of the request.
func (r *Request) Context() context.Context { return r.HTTP.Context() }

// Var returns the value of a variable of the path.
func (r *Request) Var(name string) string {
	for _, v := range r.vars {
		if v.name == name {
			return v.value
		}
	}
	return ""
}

// Chassis returns the chassis of the system.
func (r *Request) Chassis() bmc.Chassis { return r.System.Chassis }

// Find returns a system by the UUID, if the caller has it. Its Chassis is nil if it
// lives at another peer.
func (r *Request) Find(id string) (System, bool) {
	sys, ok := r.Service.cfg.Systems.Lookup(id)
	if !ok || !r.Caller.has(sys.ID) {
		return System{}, false
	}
	return sys, true
}

// systemPath is the URI of the request's system.
func (r *Request) systemPath() string { return systemsPath + "/" + r.System.ID }

// chassisPath is the URI of the chassis resource of the request's system.
func (r *Request) chassisPath() string { return chassisPath + "/" + r.System.ID }

// managerPath is the URI of the manager of the request's system.
func (r *Request) managerPath() string { return managersPath + "/" + r.System.ID }

// The URIs of the collections that have a member for each system.
const (
	systemsPath  = rootPath + "/Systems"
	chassisPath  = rootPath + "/Chassis"
	managersPath = rootPath + "/Managers"
	rootPath     = "/redfish/v1"
)

// A Result is what a POST answers. nil is 204.
type Result struct {
	// Status is 0 for the usual one: 201 with a Location, 200 with a Body, 204 without.
	Status int
	// Location is the URI of what was made; a 201 without Body shows that resource.
	Location string
	Header   http.Header
	Body     Object
	// Peer has the peer of a system answer: the one that the body names.
	Peer *System
	// Task answers 202 with the Location of its monitor and an empty body.
	Task *Task
}
