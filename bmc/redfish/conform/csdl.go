package conform

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The elements of CSDL (OData 4.0 Part 3) that Redfish uses (DSP0266 §13).
type (
	xmlEdmx struct {
		References []xmlReference `xml:"Reference"`
		Schemas    []xmlSchema    `xml:"DataServices>Schema"`
	}
	xmlReference struct {
		URI      string       `xml:"Uri,attr"`
		Includes []xmlInclude `xml:"Include"`
	}
	xmlInclude struct {
		Namespace string `xml:"Namespace,attr"`
	}
	xmlSchema struct {
		Namespace   string         `xml:"Namespace,attr"`
		Entities    []xmlType      `xml:"EntityType"`
		Complexes   []xmlType      `xml:"ComplexType"`
		Enums       []xmlType      `xml:"EnumType"`
		Definitions []xmlType      `xml:"TypeDefinition"`
		Actions     []xmlType      `xml:"Action"`
		Terms       []xmlProperty  `xml:"Term"`
		Containers  []xmlContainer `xml:"EntityContainer"`
	}
	xmlContainer struct {
		Name    string `xml:"Name,attr"`
		Extends string `xml:"Extends,attr"`
	}
	xmlType struct {
		Name        string          `xml:"Name,attr"`
		Base        string          `xml:"BaseType,attr"`
		Abstract    bool            `xml:"Abstract,attr"`
		Underlying  string          `xml:"UnderlyingType,attr"`
		Properties  []xmlProperty   `xml:"Property"`
		Navigation  []xmlProperty   `xml:"NavigationProperty"`
		Parameters  []xmlProperty   `xml:"Parameter"`
		Members     []xmlProperty   `xml:"Member"`
		Annotations []xmlAnnotation `xml:"Annotation"`
	}
	xmlProperty struct {
		Name        string          `xml:"Name,attr"`
		Type        string          `xml:"Type,attr"`
		Nullable    string          `xml:"Nullable,attr"`
		Annotations []xmlAnnotation `xml:"Annotation"`
	}
	xmlAnnotation struct {
		Term       string      `xml:"Term,attr"`
		String     string      `xml:"String,attr"`
		Bool       string      `xml:"Bool,attr"`
		EnumMember string      `xml:"EnumMember,attr"`
		Int        string      `xml:"Int,attr"`
		Decimal    string      `xml:"Decimal,attr"`
		Strings    []string    `xml:"Collection>String"`
		Records    []xmlRecord `xml:"Collection>Record"`
		Record     xmlRecord   `xml:"Record"`
	}
	xmlRecord struct {
		Values []xmlValue `xml:"PropertyValue"`
	}
	xmlValue struct {
		Property   string `xml:"Property,attr"`
		String     string `xml:"String,attr"`
		Bool       string `xml:"Bool,attr"`
		EnumMember string `xml:"EnumMember,attr"`
	}
)

// kind is what an element declares.
type kind int

const (
	kindEntity kind = iota
	kindComplex
	kindEnum
	kindDefinition
)

// space is a namespace, such as "ComputerSystem.v1_20_0" or "ComputerSystem".
type space struct {
	name    string
	types   map[string]*typ
	actions map[string]*action
	terms   map[string]*prop
}

// typ is a type of any kind.
type typ struct {
	space, name string
	kind        kind
	base        string // full name, or ""
	abstract    bool
	underlying  string // of a definition
	props       map[string]*prop
	members     map[string]notes // of an enumeration
	notes       notes
	flat        map[string]*prop // with what the bases have; filled in by schemas.props
}

func (t *typ) full() string { return t.space + "." + t.name }

// prop is a property, a navigation property, a parameter or a term.
type prop struct {
	name       string
	typ        string // without Collection()
	collection bool
	nullable   bool
	navigation bool
	notes      notes
}

// action is a bound action.
type action struct {
	name, bound string
	parameters  []*prop // without the one that it is bound to
	notes       notes
}

// notes are the annotations of an element.
type notes struct {
	required, requiredOnCreate bool
	permission                 string // "Read", "ReadWrite", "Write", "None", or "" for unsaid
	autoExpand, isURL          bool
	excerpt                    *string // kinds, separated by commas; "" is all
	excerptCopy                *string
	excerptOnly                bool
	pattern                    *regexp.Regexp
	minimum, maximum           *float64
	added, deprecated          string // versions
	deprecation                string
	uris                       []string
	insertable, updatable      *bool
	deletable, additional      *bool
	dynamic                    []dynamic
	enumeration                []string
}

// dynamic says of which type properties are whose names fit the pattern.
type dynamic struct {
	pattern *regexp.Regexp
	typ     string
}

// parseCSDL reads a document of CSDL.
func parseCSDL(b []byte) ([]*space, error) {
	var x xmlEdmx
	if err := xml.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("CSDL: %w", err)
	}
	var out []*space
	for _, s := range x.Schemas {
		sp := &space{name: s.Namespace, types: map[string]*typ{}, actions: map[string]*action{}, terms: map[string]*prop{}}
		for k, types := range map[kind][]xmlType{kindEntity: s.Entities, kindComplex: s.Complexes, kindEnum: s.Enums, kindDefinition: s.Definitions} {
			for _, t := range types {
				sp.types[t.Name] = newType(sp.name, k, t)
			}
		}
		for _, a := range s.Actions {
			sp.actions[a.Name] = newAction(a)
		}
		for _, t := range s.Terms {
			sp.terms[t.Name] = newProp(t, false)
		}
		out = append(out, sp)
	}
	return out, nil
}

func newType(space string, k kind, x xmlType) *typ {
	t := &typ{space: space, name: x.Name, kind: k, base: x.Base, abstract: x.Abstract, underlying: x.Underlying,
		props: map[string]*prop{}, members: map[string]notes{}, notes: newNotes(x.Annotations)}
	for _, p := range x.Properties {
		t.props[p.Name] = newProp(p, false)
	}
	for _, p := range x.Navigation {
		t.props[p.Name] = newProp(p, true)
	}
	for _, m := range x.Members {
		t.members[m.Name] = newNotes(m.Annotations)
	}
	for _, m := range t.notes.enumeration {
		t.members[m] = notes{}
	}
	return t
}

func newAction(x xmlType) *action {
	a := &action{name: x.Name, notes: newNotes(x.Annotations)}
	for i, p := range x.Parameters {
		if i == 0 { // a bound action's first parameter is what it is bound to
			a.bound = p.Type
			continue
		}
		a.parameters = append(a.parameters, newProp(p, false))
	}
	return a
}

func newProp(x xmlProperty, navigation bool) *prop {
	p := &prop{name: x.Name, typ: x.Type, navigation: navigation, nullable: strings.TrimSpace(x.Nullable) != "false", notes: newNotes(x.Annotations)}
	if in, ok := strings.CutPrefix(x.Type, "Collection("); ok {
		p.typ, p.collection = strings.TrimSuffix(in, ")"), true
	}
	return p
}

func newNotes(list []xmlAnnotation) notes {
	var n notes
	for _, a := range list {
		// Long names are used where the alias is not declared yet.
		switch term := strings.Replace(a.Term, "RedfishExtensions.v1_0_0.", "Redfish.", 1); term {
		case "Redfish.Required":
			n.required = a.Bool != "false"
		case "Redfish.RequiredOnCreate":
			n.requiredOnCreate = a.Bool != "false"
		case "OData.Permissions":
			_, n.permission, _ = strings.Cut(a.EnumMember, "/")
		case "OData.AutoExpand":
			n.autoExpand = true
		case "OData.IsURL":
			n.isURL = true
		case "Redfish.Excerpt":
			n.excerpt = &a.String
		case "Redfish.ExcerptCopy":
			n.excerptCopy = &a.String
		case "Redfish.ExcerptCopyOnly":
			n.excerptOnly = true
		case "Redfish.Deprecated":
			n.deprecated, n.deprecation = "v0_0_0", a.String
		case "Redfish.Uris", "Redfish.DeprecatedUris":
			n.uris = append(n.uris, a.Strings...)
		default:
			n.more(term, a)
		}
	}
	return n
}

// more are the annotations that have a structure or a number.
func (n *notes) more(term string, a xmlAnnotation) {
	switch term {
	case "Validation.Pattern":
		// A pattern that Go cannot read (look-ahead) is not checked.
		n.pattern, _ = regexp.Compile(a.String)
	case "Validation.Minimum":
		n.minimum = number(a.Int + a.Decimal)
	case "Validation.Maximum":
		n.maximum = number(a.Int + a.Decimal)
	case "OData.AdditionalProperties":
		yes := a.Bool != "false"
		n.additional = &yes
	case "Capabilities.InsertRestrictions":
		n.insertable = a.Record.flag("Insertable")
	case "Capabilities.UpdateRestrictions":
		n.updatable = a.Record.flag("Updatable")
	case "Capabilities.DeleteRestrictions":
		n.deletable = a.Record.flag("Deletable")
	case "Redfish.Revisions":
		for _, r := range a.Records {
			n.revision(r)
		}
	case "Redfish.DynamicPropertyPatterns":
		for _, r := range a.Records {
			if re, err := regexp.Compile(r.text("Pattern")); err == nil {
				n.dynamic = append(n.dynamic, dynamic{re, r.text("Type")})
			}
		}
	case "Redfish.Enumeration":
		for _, r := range a.Records {
			n.enumeration = append(n.enumeration, r.text("Member"))
		}
	}
}

func (n *notes) revision(r xmlRecord) {
	for _, v := range r.Values {
		switch v.EnumMember {
		case "Redfish.RevisionKind/Added":
			n.added = r.text("Version")
		case "Redfish.RevisionKind/Deprecated":
			n.deprecated, n.deprecation = r.text("Version"), r.text("Description")
		}
	}
}

func (r xmlRecord) text(name string) string {
	for _, v := range r.Values {
		if v.Property == name {
			return v.String
		}
	}
	return ""
}

func (r xmlRecord) flag(name string) *bool {
	for _, v := range r.Values {
		if v.Property == name {
			yes := v.Bool == "true"
			return &yes
		}
	}
	return nil
}

func number(s string) *float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil
	}
	return &f
}
