package redfish

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
)

// redfishVersion is the version of DSP0266 that the service follows.
const redfishVersion = "1.18.0"

// schemaBase is where DMTF publishes JSON schemas.
const schemaBase = "http://redfish.dmtf.org/schemas/v1/"

// schemaOf returns the name of a type's schema, and of its file: "Bios" and
// "Bios.v1_2_0.json" for "#Bios.v1_2_0.Bios".
func schemaOf(odataType string) (name, file string, found bool) {
	namespace, _, found := cutLast(strings.TrimPrefix(odataType, "#"), ".")
	name, _, _ = strings.Cut(namespace, ".")
	return name, namespace + ".json", found
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func rootTable() []Resource {
	raw := func(handle func(*Request, http.ResponseWriter) error) map[string]func(*Request, http.ResponseWriter) error {
		return map[string]func(*Request, http.ResponseWriter) error{http.MethodGet: handle, http.MethodHead: handle}
	}
	return []Resource{
		{Path: "/redfish", Open: true, Raw: raw(func(r *Request, w http.ResponseWriter) error {
			return sendObject(r, w, Object{{"v1", rootPath + "/"}})
		})},
		{Path: rootPath, Type: "#ServiceRoot.v1_17_0.ServiceRoot", Open: true, Get: getRoot},
		{Path: rootPath + "/odata", Open: true, Raw: raw(serveOData)},
		{Path: rootPath + "/$metadata", Open: true, Raw: raw(serveMetadata)},
	}
}

// sendObject answers with a document that is no resource.
func sendObject(r *Request, w http.ResponseWriter, o Object) error {
	if !accepts(r.HTTP.Header.Values("Accept"), "application/json") {
		return fail(http.StatusNotAcceptable, msg("HeaderInvalid", "Accept"))
	}
	body, err := appendObject(nil, o)
	if err != nil {
		return err
	}
	w.Header()["Etag"] = []string{etagOf(r.Path, body)}
	writeJSON(w, r.HTTP, http.StatusOK, body)
	return nil
}

func getRoot(r *Request) (Object, error) {
	return Object{
		{"Id", "RootService"}, {"Name", "Root Service"}, {"RedfishVersion", redfishVersion}, {"UUID", r.Service.cfg.UUID},
		{"Product", "Tenks"}, {"Vendor", "Tenks"},
		{"ProtocolFeaturesSupported", Object{
			{"ExcerptQuery", false}, {"FilterQuery", true}, {"OnlyMemberQuery", true}, {"SelectQuery", true}, {"TopSkipQuery", true}, {"FilterQueryComparisonOperations", true}, {"FilterQueryCompoundOperations", true},
			{"ExpandQuery", Object{{"ExpandAll", true}, {"Levels", true}, {"Links", true}, {"NoLinks", true}, {"MaxLevels", maxLevels}}},
			{"DeepOperations", Object{{"DeepPATCH", false}, {"DeepPOST", false}}},
		}},
		{"Links", Object{{"Sessions", link(sessionsPath)}}},
	}, nil
}

// serveOData is the OData service document (DSP0266 §9.3).
func serveOData(r *Request, w http.ResponseWriter) error {
	root, _ := r.Service.match(rootPath)
	value := []Object{{{"name", "Service"}, {"kind", "Singleton"}, {"url", rootPath + "/"}}}
	for _, child := range root.children {
		value = append(value, Object{{"name", child.Link}, {"kind", "Singleton"}, {"url", child.Path}})
	}
	value = append(value, Object{{"name", "Sessions"}, {"kind", "Singleton"}, {"url", sessionsPath}})
	return sendObject(r, w, Object{{"@odata.context", rootPath + "/$metadata"}, {"value", value}})
}

// helpers are schemas that payloads use without a resource of that type.
var helpers = []string{"Resource", "Message.v1_1_2", "Settings.v1_3_5", "IPAddresses.v1_1_5", "Event.v1_7_0", "Privileges.v1_0_6", "Redundancy.v1_4_2", "RedfishExtensions.v1_0_0"}

// serveMetadata is the OData metadata document (DSP0266 §9.2).
func serveMetadata(r *Request, w http.ResponseWriter) error {
	if !accepts(r.HTTP.Header.Values("Accept"), "application/xml") {
		return fail(http.StatusNotAcceptable, msg("HeaderInvalid", "Accept"))
	}
	body := r.Service.metadata()
	w.Header().Set("Content-Type", "application/xml;charset=utf-8")
	w.Header()["Etag"] = []string{etagOf(r.Path, body)}
	w.WriteHeader(http.StatusOK)
	if r.HTTP.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone
	}
	return nil
}

// namespaces are those of all types, sorted: "Bios.v1_2_0", "BiosCollection".
func (s *Service) namespaces() []string {
	out := slices.Clone(helpers)
	for _, t := range s.types {
		namespace, _, _ := cutLast(t, ".")
		out = append(out, namespace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *Service) metadata() []byte {
	byFile := map[string][]string{}
	var files []string
	for _, namespace := range s.namespaces() {
		name, _, _ := strings.Cut(namespace, ".")
		if byFile[name] == nil {
			files = append(files, name)
		}
		byFile[name] = append(byFile[name], namespace)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">` + "\n")
	for _, name := range files {
		b.WriteString(`  <edmx:Reference Uri="` + schemaBase + name + `_v1.xml">` + "\n")
		include := append([]string{name}, byFile[name]...)
		for _, namespace := range slices.Compact(include) {
			alias := ""
			if name == "RedfishExtensions" {
				if namespace == name {
					continue
				}
				alias = ` Alias="Redfish"`
			}
			b.WriteString(`    <edmx:Include Namespace="` + namespace + `"` + alias + `/>` + "\n")
		}
		b.WriteString("  </edmx:Reference>\n")
	}
	root, _ := s.match(rootPath)
	namespace, _, _ := cutLast(strings.TrimPrefix(root.Type, "#"), ".")
	b.WriteString("  <edmx:DataServices>\n    <Schema xmlns=\"http://docs.oasis-open.org/odata/ns/edm\" Namespace=\"Service\">\n" +
		`      <EntityContainer Name="Service" Extends="` + namespace + `.ServiceContainer"/>` + "\n    </Schema>\n  </edmx:DataServices>\n</edmx:Edmx>\n")
	return b.Bytes()
}

const jsonSchemasPath = rootPath + "/JsonSchemas"

// schemaTable has the schemas of all types, which DMTF publishes.
func schemaTable() []Resource {
	return []Resource{
		{Path: jsonSchemasPath, Type: "#JsonSchemaFileCollection.JsonSchemaFileCollection", Link: "JsonSchemas", Name: "JSON Schemas",
			Members: func(r *Request) ([]string, error) { return r.Service.schemas(), nil }},
		{Path: jsonSchemasPath + "/{schema}", Type: "#JsonSchemaFile.v1_1_5.JsonSchemaFile",
			Present: func(r *Request) bool { return slices.Contains(r.Service.schemas(), r.Var("schema")) },
			Get: func(r *Request) (Object, error) {
				id := r.Var("schema")
				name, _, _ := strings.Cut(id, ".")
				return Object{{"Id", id}, {"Name", name + " Schema File"}, {"Schema", "#" + id + "." + name}, {"Languages", []string{"en"}},
					{"Location", []Object{{{"Language", "en"}, {"PublicationUri", schemaBase + id + ".json"}}}}}, nil
			}},
	}
}

// schemas are the IDs of JsonSchemas.
func (s *Service) schemas() []string {
	return slices.DeleteFunc(s.namespaces(), func(namespace string) bool {
		return namespace == "Resource" || strings.HasPrefix(namespace, "RedfishExtensions")
	})
}

const actionInfoType = "#ActionInfo.v1_3_0.ActionInfo"

// dataTypes are the words of ActionInfo for our kinds.
var dataTypes = map[Kind]string{String: "String", Bool: "Boolean", Integer: "Number", Number: "Number", Nested: "Object", List: "ObjectArray", Any: "Object"}

// actionInfo describes the parameters of an action (DSP0266 §8.5.8).
func actionInfo(a Action) func(*Request) (Object, error) {
	return func(r *Request) (Object, error) {
		parameters := []Object{}
		for _, name := range a.Parameters.names() {
			rule := a.Parameters[name]
			o := Object{{"Name", name}, {"Required", rule.Required}, {"DataType", dataTypes[rule.Kind]}}
			if rule.Kind == List && rule.Elements != nil && rule.Elements.Kind == String {
				o = o.with("DataType", "StringArray")
			}
			if values := rule.values(r); values != nil {
				o = append(o, Property{"AllowableValues", values})
			}
			parameters = append(parameters, o)
		}
		id := a.short() + "ActionInfo"
		return Object{{"Id", id}, {"Name", a.short() + " Action Info"}, {"Parameters", parameters}}, nil
	}
}
