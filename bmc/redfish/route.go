package redfish

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A route is a row of the tables, or what was made from one: an action, its ActionInfo,
// the Members alias of a collection.
type route struct {
	Resource
	// children have a Link.
	children []*route
	// action is set for {Path}/Actions/{Name}; of is the route of its resource.
	action *Action
	of     *route
	// allow is the Allow header.
	allow string
	// schema is the Link header's value, or empty.
	schema string
	system bool // whether {system} is in the path
}

// A routeNode is a node of the tree of URI segments.
type routeNode struct {
	literal  map[string]*routeNode
	variable *routeNode
	name     string // of the variable that leads here
	route    *route
}

// route builds the tree from the tables.
func (s *Service) route(tables [][]Resource) error {
	s.routes = &routeNode{}
	byPath := map[string]*route{}
	for _, row := range slices.Concat(tables...) {
		rt := &route{Resource: row}
		byPath[row.Path] = rt
		if err := s.insert(rt); err != nil {
			return err
		}
		if err := s.insertDerived(rt); err != nil {
			return err
		}
	}
	for _, rt := range slices.Clone(s.table) {
		parent := byPath[rt.Path[:max(strings.LastIndexByte(rt.Path, '/'), 0)]]
		switch {
		case rt.Link == "":
		case parent == nil:
			return fmt.Errorf("redfish: %s: no parent to link it from", rt.Path)
		default:
			parent.children = append(parent.children, rt)
		}
	}
	slices.Sort(s.types)
	s.types = slices.Compact(s.types)
	return nil
}

// insertDerived adds the routes that follow from a row.
func (s *Service) insertDerived(rt *route) error {
	var more []*route
	if rt.Post != nil && rt.Members != nil {
		more = append(more, &route{of: rt, Resource: Resource{Path: rt.Path + "/Members", Post: rt.Post, Creatable: rt.Creatable,
			Change: rt.Change, BodyLimit: rt.BodyLimit, OpenPost: rt.OpenPost}})
	}
	for i := range rt.Actions {
		a := &rt.Actions[i]
		change := a.Change
		if change == "" {
			change = rt.Change
		}
		more = append(more, &route{of: rt, action: a, Resource: Resource{Path: rt.Path + "/Actions/" + a.Name, Change: change, BodyLimit: rt.BodyLimit}},
			&route{of: rt, Resource: Resource{Path: rt.Path + "/" + a.short() + "ActionInfo", Type: actionInfoType, Get: actionInfo(*a)}})
	}
	for _, m := range more {
		if err := s.insert(m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) insert(rt *route) error {
	node := s.routes
	for segment := range strings.SplitSeq(strings.TrimPrefix(rt.Path, "/"), "/") {
		node = node.child(segment)
		if segment == "{system}" {
			rt.system = true
		}
	}
	if node.route != nil {
		return fmt.Errorf("redfish: two rows for %s", rt.Path)
	}
	node.route = rt
	rt.allow = strings.Join(rt.methods(), ", ")
	if name, file, ok := schemaOf(rt.Type); ok {
		rt.schema = fmt.Sprintf("<%s%s>; rel=describedby", schemaBase, file)
		s.types = append(s.types, strings.TrimPrefix(rt.Type, "#"))
		_ = name
	}
	s.table = append(s.table, rt)
	return nil
}

func (n *routeNode) child(segment string) *routeNode {
	if name, ok := strings.CutPrefix(segment, "{"); ok {
		if n.variable == nil {
			n.variable = &routeNode{name: strings.TrimSuffix(name, "}")}
		}
		return n.variable
	}
	if n.literal == nil {
		n.literal = map[string]*routeNode{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &routeNode{}
	}
	return n.literal[segment]
}

// maxSegments bounds the length of a path.
const maxSegments = 16

// match finds the route of a path that begins with a slash; nil: there is none.
func (s *Service) match(path string) (*route, []pathVar) {
	node := s.routes
	var vars []pathVar
	rest := strings.TrimPrefix(path, "/")
	for range maxSegments {
		segment, more, found := strings.Cut(rest, "/")
		next := node.literal[segment]
		if next == nil && node.variable != nil && segment != "" {
			next = node.variable
			vars = append(vars, pathVar{next.name, segment})
		}
		if next == nil {
			return nil, nil
		}
		if node = next; !found || more == "" {
			return node.route, vars
		}
		rest = more
	}
	return nil, nil
}

// systemOf is the ID of the system that a request is about, or "".
func (rt *route) systemOf(r *Request) string {
	if rt.SystemOf != nil {
		return strings.ToLower(rt.SystemOf(r))
	}
	return strings.ToLower(r.Var("system"))
}

// readable says whether there is a GET.
func (rt *route) readable() bool { return rt.Get != nil || rt.Members != nil }

// methods are those that a route has.
func (rt *route) methods() []string {
	var out []string
	add := func(has bool, methods ...string) {
		for _, m := range methods {
			if (has || rt.Raw[m] != nil) && !slices.Contains(out, m) {
				out = append(out, m)
			}
		}
	}
	add(rt.readable(), http.MethodGet, http.MethodHead)
	add(rt.Patch != nil, http.MethodPatch)
	add(rt.Post != nil || rt.action != nil, http.MethodPost)
	add(rt.Delete != nil, http.MethodDelete)
	add(false, http.MethodPut)
	return out
}

// privilege is what a method needs.
func (rt *route) privilege(method string) Privilege {
	switch {
	case method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions:
		if rt.Read != "" {
			return rt.Read
		}
		return Login
	case rt.Change != "":
		return rt.Change
	default:
		return ConfigureComponents
	}
}

// isSelf says whether the resource is the caller's own.
func (rt *route) isSelf(r *Request) bool { return rt.Self != nil && rt.Self(r) }

// exists asks Present of the row, and of what it was made from.
func (rt *route) exists(r *Request) bool {
	if rt.of != nil && !rt.of.exists(r) {
		return false
	}
	if rt.action != nil && rt.action.Present != nil && !rt.action.Present(r) {
		return false
	}
	return rt.Present == nil || rt.Present(r)
}
