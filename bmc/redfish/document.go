package redfish

import (
	"hash/fnv"
	"strconv"
	"strings"
)

// A document is a resource as it is sent.
type document struct {
	// object has everything; body is its encoding.
	object Object
	body   []byte
	etag   string
}

// build makes the document of a route. req.System is set.
func (s *Service) build(req *Request, rt *route) (*document, error) {
	o, err := rt.payload(req)
	if err != nil {
		return nil, err
	}
	for _, child := range rt.children {
		if child.exists(req) {
			o = o.linked(child.Link, link(strings.TrimSuffix(req.Path, "/")+child.Path[strings.LastIndexByte(child.Path, '/'):]))
		}
	}
	if actions := rt.actionObjects(req); len(actions) > 0 {
		o = append(o, Property{"Actions", actions})
	}
	return assemble(req.Path, rt, o)
}

// payload is what the row says, without what the engine adds.
func (rt *route) payload(req *Request) (Object, error) {
	if rt.Members == nil {
		return rt.Get(req)
	}
	var o Object
	if rt.Get != nil {
		var err error
		if o, err = rt.Get(req); err != nil {
			return nil, err
		}
	} else {
		o = Object{{"Name", rt.Name}}
	}
	members, err := rt.members(req)
	if err != nil {
		return nil, err
	}
	return append(o, Property{"Members@odata.count", len(members)}, Property{"Members", members}), nil
}

// members are references, or what is referred to.
func (rt *route) members(req *Request) ([]Object, error) {
	if rt.Inline != nil {
		ids, members, err := rt.Inline(req)
		for i, o := range members {
			path := req.Path + "/" + ids[i]
			member, _ := req.Service.match(path)
			members[i] = append(Object{{"@odata.id", path}, {"@odata.type", member.Type}}, o...)
		}
		return members, err
	}
	ids, err := rt.Members(req)
	members := make([]Object, len(ids))
	for i, id := range ids {
		members[i] = link(req.Path + "/" + id)
	}
	return members, err
}

// linked returns o with a reference at a property, which may be in Links.
func (o Object) linked(property string, ref Object) Object {
	inner, nested := strings.CutPrefix(property, "Links/")
	if !nested {
		return o.with(property, ref)
	}
	return o.with("Links", o.Object("Links").with(inner, ref))
}

// actionObjects is the Actions property.
func (rt *route) actionObjects(req *Request) Object {
	var out Object
	for _, a := range rt.Actions {
		if a.Present != nil && !a.Present(req) {
			continue
		}
		base := strings.TrimSuffix(req.Path, "/")
		o := Object{{"target", base + "/Actions/" + a.Name}, {"@Redfish.ActionInfo", base + "/" + a.short() + "ActionInfo"}}
		for _, name := range a.Parameters.names() {
			if values := a.Parameters[name].values(req); values != nil {
				o = append(o, Property{name + "@Redfish.AllowableValues", values})
			}
		}
		out = append(out, Property{"#" + a.Name, o})
	}
	return out
}

// assemble encodes a payload and gives it its ETag.
func assemble(path string, rt *route, o Object) (*document, error) {
	rest, err := appendObject(make([]byte, 0, 2048), o)
	if err != nil {
		return nil, err
	}
	lasting := rest
	if len(rt.Volatile) > 0 {
		if lasting, err = appendObject(nil, o.without(rt.Volatile...)); err != nil {
			return nil, err
		}
	}
	etag := etagOf(path, lasting)
	head := Object{{"@odata.id", path}, {"@odata.type", rt.Type}, {"@odata.etag", etag}}
	body, err := appendObject(make([]byte, 0, len(rest)+192), head)
	if err != nil {
		return nil, err
	}
	if len(rest) > len("{}") {
		body[len(body)-1] = ','
		body = append(body, rest[1:]...)
	}
	return &document{object: append(head, o...), body: body, etag: etag}, nil
}

// etagOf is a weak ETag: the same resource with another query has the same one.
func etagOf(path string, body []byte) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(path))
	_, _ = h.Write(body)
	return `W/"` + strconv.FormatUint(h.Sum64(), 16) + `"`
}
