package redfish

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
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
	// What is added is many properties, to an object that may be somebody else's.
	o = append(make(Object, 0, len(o)+len(rt.children)+1), o...)
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
	return linksBelow(req.Path+"/", ids), err
}

// linksBelow are links to base and each ID. There may be many: their text is one string
// and their properties are one array.
func linksBelow(base string, ids []string) []Object {
	size := 0
	for _, id := range ids {
		size += len(base) + len(id)
	}
	var text strings.Builder
	text.Grow(size)
	for _, id := range ids {
		text.WriteString(base)
		text.WriteString(id)
	}
	out, properties, rest := make([]Object, len(ids)), make([]Property, len(ids)), text.String()
	for i, id := range ids {
		n := len(base) + len(id)
		properties[i] = Property{"@odata.id", rest[:n]}
		out[i], rest = properties[i:i+1:i+1], rest[n:]
	}
	return out
}

// linked puts a reference into o, at a property which may be in Links. It changes o.
func (o Object) linked(property string, ref Object) Object {
	inner, nested := strings.CutPrefix(property, "Links/")
	if nested {
		property, ref = "Links", o.Object("Links").with(inner, ref)
	}
	if i := slices.IndexFunc(o, func(p Property) bool { return p.Key == property }); i >= 0 {
		o[i].Value = ref
		return o
	}
	return append(o, Property{property, ref})
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
	etag := etagOf(path, nil) // as long as the right one, which is known last
	head := Object{{"@odata.id", path}, {"@odata.type", rt.Type}, {"@odata.etag", etag}}
	object := slices.Concat(head, o)
	body, err := appendObject(make([]byte, 0, object.room()), object)
	if err != nil {
		return nil, err
	}
	before, err := appendObject(make([]byte, 0, 256), head)
	if err != nil {
		return nil, err
	}
	lasting := body[len(before)-1:]
	if len(rt.Volatile) > 0 {
		if lasting, err = appendObject(nil, o.without(rt.Volatile...)); err != nil {
			return nil, err
		}
	}
	etag = etagOf(path, lasting)
	object[len(head)-1].Value = etag
	if before, err = appendObject(before[:0], object[:len(head)]); err != nil {
		return nil, err
	}
	copy(body, before[:len(before)-1])
	return &document{object: object, body: body, etag: etag}, nil
}

// room is about how many bytes the encoding has: a collection has many members.
func (o Object) room() int {
	members, _ := o.Get("Members")
	list, _ := members.([]Object)
	return 2048 + 128*len(list)
}

// etagOf is a weak ETag: the same resource with another query has the same one. It is two
// checksums that processors have instructions for: large collections are asked for often,
// and every peer has to come to the same.
func etagOf(path string, body []byte) string {
	low := crc32.Update(crc32.ChecksumIEEE([]byte(path)), crc32.IEEETable, body)
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // made once
	high := crc32.Update(crc32.Checksum([]byte(path), castagnoli), castagnoli, body)
	b := make([]byte, 0, len(`W/"0123456789abcdef"`))
	b = append(b, `W/"`...)
	b = hex.AppendEncode(b, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, high), low))
	return string(append(b, '"'))
}
