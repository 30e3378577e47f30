package conform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// snippets are schemas in the manner of DMTF's, by file.
var snippets = map[string]string{
	"RedfishExtensions": `<Schema Namespace="RedfishExtensions.v1_0_0">
		<Term Name="AllowableValues" Type="Collection(Edm.String)" Nullable="false"/>
		<Term Name="Copyright" Type="Edm.String"/>
		<Term Name="Settings" Type="Settings.Settings"/>
	</Schema>`,
	"Settings": `<Schema Namespace="Settings"><ComplexType Name="Settings" Abstract="true"/></Schema>
	<Schema Namespace="Settings.v1_0_0"><ComplexType Name="Settings" BaseType="Settings.Settings">
		<NavigationProperty Name="SettingsObject" Type="Resource.Item" Nullable="false"/>
	</ComplexType></Schema>`,
	"Message": `<Schema Namespace="Message"><ComplexType Name="Message" Abstract="true"/></Schema>
	<Schema Namespace="Message.v1_0_0"><ComplexType Name="Message" BaseType="Message.Message">
		<Property Name="MessageId" Type="Edm.String" Nullable="false"><Annotation Term="Redfish.Required"/></Property>
		<Property Name="Message" Type="Edm.String"/><Property Name="MessageSeverity" Type="Resource.Health"/>
		<Property Name="MessageArgs" Type="Collection(Edm.String)" Nullable="false"/>
		<Property Name="RelatedProperties" Type="Collection(Edm.String)" Nullable="false"/>
		<Property Name="Resolution" Type="Edm.String"/>
	</ComplexType></Schema>`,
	"Resource": `<Schema Namespace="Resource">
		<EntityType Name="Item" Abstract="true"><Annotation Term="OData.AdditionalProperties" Bool="false"/>
			<Property Name="Oem" Type="Resource.Oem" Nullable="false"/></EntityType>
		<EntityType Name="Resource" BaseType="Resource.Item" Abstract="true"/>
		<ComplexType Name="Oem"><Annotation Term="OData.AdditionalProperties" Bool="true"/>
			<Annotation Term="Redfish.DynamicPropertyPatterns"><Collection><Record>
				<PropertyValue Property="Pattern" String="^[A-Za-z0-9_]+$"/><PropertyValue Property="Type" String="Resource.OemObject"/>
			</Record></Collection></Annotation></ComplexType>
		<ComplexType Name="OemObject"><Annotation Term="OData.AdditionalProperties" Bool="true"/></ComplexType>
		<EnumType Name="Health"><Member Name="OK"/><Member Name="Warning"/><Member Name="Critical"/></EnumType>
	</Schema>
	<Schema Namespace="Resource.v1_0_0">
		<EntityType Name="Resource" BaseType="Resource.Resource" Abstract="true">
			<Property Name="Id" Type="Edm.String" Nullable="false"><Annotation Term="Redfish.Required"/></Property>
			<Property Name="Name" Type="Edm.String" Nullable="false"><Annotation Term="Redfish.Required"/></Property>
		</EntityType>
		<EntityType Name="ReferenceableMember" BaseType="Resource.Item" Abstract="true">
			<Property Name="MemberId" Type="Edm.String" Nullable="false"><Annotation Term="Redfish.Required"/></Property>
		</EntityType>
		<EntityType Name="ResourceCollection" BaseType="Resource.Item" Abstract="true">
			<Property Name="Name" Type="Edm.String" Nullable="false"><Annotation Term="Redfish.Required"/></Property>
		</EntityType>
	</Schema>`,
	"ServiceRoot": entity("ServiceRoot", "/redfish/v1/", "", `
		<Property Name="RedfishVersion" Type="Edm.String"/><Property Name="UUID" Type="Edm.Guid"/>
		<NavigationProperty Name="Widgets" Type="WidgetCollection.WidgetCollection"/>
		<NavigationProperty Name="SessionService" Type="SessionService.SessionService"/>
		<NavigationProperty Name="Registries" Type="MessageRegistryFileCollection.MessageRegistryFileCollection"/>
		<Property Name="Links" Type="ServiceRoot.v1_0_0.Links"/>`, `<ComplexType Name="Links">
			<NavigationProperty Name="Sessions" Type="SessionCollection.SessionCollection"/></ComplexType>`),
	"WidgetCollection":              collection("Widget", "/redfish/v1/Widgets", true),
	"SessionCollection":             collection("Session", "/redfish/v1/SessionService/Sessions", true),
	"MessageRegistryFileCollection": collection("MessageRegistryFile", "/redfish/v1/Registries", false),
	"SessionService": entity("SessionService", "/redfish/v1/SessionService", "",
		`<NavigationProperty Name="Sessions" Type="SessionCollection.SessionCollection"/>`, ""),
	"Session": entity("Session", "/redfish/v1/SessionService/Sessions/{SessionId}", "Delete",
		`<Property Name="UserName" Type="Edm.String"/><Property Name="Password" Type="Edm.String"><Annotation Term="Redfish.RequiredOnCreate"/></Property>`, ""),
	"MessageRegistryFile": entity("MessageRegistryFile", "/redfish/v1/Registries/{Id}", "",
		`<Property Name="Registry" Type="Edm.String"/><Property Name="Location" Type="Collection(MessageRegistryFile.v1_0_0.Location)"/>`,
		`<ComplexType Name="Location"><Property Name="Uri" Type="Edm.String"><Annotation Term="OData.IsURL"/></Property></ComplexType>`),
	"MessageRegistry": entity("MessageRegistry", "", "", `<Property Name="RegistryPrefix" Type="Edm.String"/>
		<Property Name="RegistryVersion" Type="Edm.String"/><Property Name="Messages" Type="MessageRegistry.v1_0_0.Messages"/>`,
		`<ComplexType Name="Messages"><Annotation Term="OData.AdditionalProperties" Bool="true"/></ComplexType>`),
	"ActionInfo": entity("ActionInfo", "", "", `<Property Name="Parameters" Type="Collection(ActionInfo.v1_0_0.Parameters)" Nullable="false"/>`,
		`<ComplexType Name="Parameters"><Property Name="Name" Type="Edm.String"/><Property Name="Required" Type="Edm.Boolean"/>
		<Property Name="DataType" Type="Edm.String"/><Property Name="AllowableValues" Type="Collection(Edm.String)"/></ComplexType>`),
	"Gauge": `<Schema Namespace="Gauge"><EntityType Name="Gauge" BaseType="Resource.v1_0_0.Resource" Abstract="true"/></Schema>
	<Schema Namespace="Gauge.v1_0_0"><EntityType Name="Gauge" BaseType="Gauge.Gauge">
		<Property Name="Reading" Type="Edm.Decimal"><Annotation Term="Redfish.Excerpt"/></Property>
		<Property Name="Peak" Type="Edm.Decimal"><Annotation Term="Redfish.Excerpt" String="Power,Fan"/></Property>
		<Property Name="Serial" Type="Edm.String"/>
		<Property Name="DataSourceUri" Type="Edm.String"><Annotation Term="Redfish.ExcerptCopyOnly"/></Property>
	</EntityType></Schema>`,
	"Widget": widget,
}

// widget has something of all that schemas can say.
const widget = `<Schema Namespace="Widget">
	<EntityType Name="Widget" BaseType="Resource.v1_0_0.Resource" Abstract="true">
		<Annotation Term="Capabilities.InsertRestrictions"><Record><PropertyValue Property="Insertable" Bool="false"/></Record></Annotation>
		<Annotation Term="Capabilities.UpdateRestrictions"><Record><PropertyValue Property="Updatable" Bool="true"/></Record></Annotation>
		<Annotation Term="Capabilities.DeleteRestrictions"><Record><PropertyValue Property="Deletable" Bool="false"/></Record></Annotation>
		<Annotation Term="Redfish.Uris"><Collection><String>/redfish/v1/Widgets/{WidgetId}</String></Collection></Annotation>
	</EntityType>
	<Action Name="Spin" IsBound="true"><Parameter Name="Widget" Type="Widget.v1_0_0.Actions"/>
		<Parameter Name="Direction" Type="Widget.Direction" Nullable="false"/><Parameter Name="Turns" Type="Edm.Int64"/></Action>
	<Action Name="Melt" IsBound="true"><Parameter Name="Widget" Type="Widget.v1_0_0.Actions"/>
		<Annotation Term="Redfish.Revisions"><Collection><Record><PropertyValue Property="Kind" EnumMember="Redfish.RevisionKind/Added"/>
		<PropertyValue Property="Version" String="v1_2_0"/></Record></Collection></Annotation></Action>
	<EnumType Name="Direction"><Member Name="Left"/><Member Name="Right"/><Member Name="Around">
		<Annotation Term="Redfish.Revisions"><Collection><Record><PropertyValue Property="Kind" EnumMember="Redfish.RevisionKind/Added"/>
		<PropertyValue Property="Version" String="v1_2_0"/></Record></Collection></Annotation></Member></EnumType>
	<TypeDefinition Name="Material" UnderlyingType="Edm.String"><Annotation Term="Redfish.Enumeration"><Collection>
		<Record><PropertyValue Property="Member" String="IA-64"/></Record></Collection></Annotation></TypeDefinition>
	</Schema>
	<Schema Namespace="Widget.v1_0_0">
	<EntityType Name="Widget" BaseType="Widget.Widget">
		<Property Name="Size" Type="Edm.Int64"><Annotation Term="Validation.Minimum" Int="1"/><Annotation Term="Validation.Maximum" Int="9"/></Property>
		<Property Name="Weight" Type="Edm.Decimal"/><Property Name="On" Type="Edm.Boolean" Nullable="false"/>
		<Property Name="Made" Type="Edm.DateTimeOffset"/><Property Name="Life" Type="Edm.Duration"/><Property Name="UUID" Type="Edm.Guid"/>
		<Property Name="Facing" Type="Widget.Direction"/><Property Name="Material" Type="Widget.Material"/>
		<Property Name="MAC" Type="Edm.String"><Annotation Term="Validation.Pattern" String="^([0-9A-F]{2}:){5}[0-9A-F]{2}$"/></Property>
		<Property Name="Page" Type="Edm.String"><Annotation Term="OData.IsURL"/></Property>
		<Property Name="Tag" Type="Edm.String"><Annotation Term="OData.Permissions" EnumMember="OData.Permission/ReadWrite"/></Property>
		<Property Name="Key" Type="Edm.String"><Annotation Term="OData.Permissions" EnumMember="OData.Permission/Write"/></Property>
		<Property Name="Old" Type="Edm.String"><Annotation Term="Redfish.Revisions"><Collection><Record>
			<PropertyValue Property="Kind" EnumMember="Redfish.RevisionKind/Deprecated"/><PropertyValue Property="Version" String="v1_1_0"/>
			<PropertyValue Property="Description" String="Use Tag."/></Record></Collection></Annotation></Property>
		<Property Name="Parts" Type="Collection(Widget.v1_0_0.Part)" Nullable="false"/>
		<Property Name="Notes" Type="Collection(Edm.String)"/>
		<Property Name="Attributes" Type="Widget.v1_0_0.Attributes"/>
		<Property Name="Actions" Type="Widget.v1_0_0.Actions" Nullable="false"/>
		<NavigationProperty Name="Other" Type="Widget.Widget" Nullable="false"/>
		<NavigationProperty Name="Power" Type="Gauge.Gauge"><Annotation Term="Redfish.ExcerptCopy" String="Power"/></NavigationProperty>
		<NavigationProperty Name="Fans" Type="Collection(Widget.v1_0_0.Fan)" ContainsTarget="true"><Annotation Term="OData.AutoExpand"/></NavigationProperty>
	</EntityType>
	<EntityType Name="Fan" BaseType="Resource.v1_0_0.ReferenceableMember"><Property Name="Speed" Type="Edm.Int64"/></EntityType>
	<ComplexType Name="Part"><Annotation Term="OData.AdditionalProperties" Bool="false"/>
		<Property Name="Label" Type="Edm.String"><Annotation Term="Redfish.Required"/></Property></ComplexType>
	<ComplexType Name="Attributes"><Annotation Term="OData.AdditionalProperties" Bool="false"/>
		<Annotation Term="Redfish.DynamicPropertyPatterns"><Collection><Record><PropertyValue Property="Pattern" String="^[A-Z]+$"/>
		<PropertyValue Property="Type" String="Edm.PrimitiveType"/></Record></Collection></Annotation></ComplexType>
	<ComplexType Name="Actions"><Annotation Term="OData.AdditionalProperties" Bool="false"/></ComplexType>
	</Schema>
	<Schema Namespace="Widget.v1_1_0">
	<EntityType Name="Widget" BaseType="Widget.v1_0_0.Widget"/>
	<ComplexType Name="Part" BaseType="Widget.v1_0_0.Part"><Property Name="Colour" Type="Edm.String"/></ComplexType>
	</Schema>
	<Schema Namespace="Widget.v1_2_0">
	<EntityType Name="Widget" BaseType="Widget.v1_1_0.Widget"/>
	<ComplexType Name="Part" BaseType="Widget.v1_1_0.Part"><Property Name="Shape" Type="Edm.String"/></ComplexType>
	</Schema>`

// entity is a schema of one entity type; deletable is "Delete" or "".
func entity(name, uri, deletable, props, more string) string {
	may := map[bool]string{true: "true", false: "false"}
	uris := ""
	if uri != "" {
		uris = `<Annotation Term="Redfish.Uris"><Collection><String>` + uri + `</String></Collection></Annotation>`
	}
	return `<Schema Namespace="` + name + `"><EntityType Name="` + name + `" BaseType="Resource.v1_0_0.Resource" Abstract="true">` + uris +
		`<Annotation Term="Capabilities.DeleteRestrictions"><Record><PropertyValue Property="Deletable" Bool="` + may[deletable != ""] + `"/></Record></Annotation>
		<Annotation Term="Capabilities.UpdateRestrictions"><Record><PropertyValue Property="Updatable" Bool="false"/></Record></Annotation>
		</EntityType></Schema><Schema Namespace="` + name + `.v1_0_0"><EntityType Name="` + name + `" BaseType="` + name + `.` + name + `">` +
		props + `</EntityType>` + more + `</Schema>`
}

func collection(of, uri string, insertable bool) string {
	may := map[bool]string{true: "true", false: "false"}
	return `<Schema Namespace="` + of + `Collection"><EntityType Name="` + of + `Collection" BaseType="Resource.v1_0_0.ResourceCollection">
		<Annotation Term="Capabilities.InsertRestrictions"><Record><PropertyValue Property="Insertable" Bool="` + may[insertable] + `"/></Record></Annotation>
		<Annotation Term="Redfish.Uris"><Collection><String>` + uri + `</String></Collection></Annotation>
		<NavigationProperty Name="Members" Type="Collection(` + of + `.` + of + `)"><Annotation Term="Redfish.Required"/></NavigationProperty>
		</EntityType></Schema>`
}

// folder writes the snippets to files, as DSP8010 has them.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, s := range snippets {
		s = `<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"><edmx:DataServices>` +
			strings.ReplaceAll(s, "<Schema ", `<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" `) + `</edmx:DataServices></edmx:Edmx>`
		if err := os.WriteFile(filepath.Join(dir, name+"_v1.xml"), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSchemas(t *testing.T) {
	s := openSchemas(folder(t))
	if got := s.newest("Widget.v1_0_0.Part", "Widget.v1_1_0"); got == nil || got.full() != "Widget.v1_1_0.Part" {
		t.Errorf("newest Part of a v1_1_0 widget: %v, want that of v1_1_0", got)
	}
	if got := s.newest("Widget.v1_0_0.Part", "Other.v1_0_0"); got == nil || got.full() != "Widget.v1_2_0.Part" {
		t.Errorf("newest Part in another schema: %v, want that of v1_2_0", got)
	}
	if got := s.newest("Settings.Settings", ""); got == nil || got.full() != "Settings.v1_0_0.Settings" {
		t.Errorf("an abstract type stands for %v, want its newest version", got)
	}
	props := s.props(s.typ("Widget.v1_2_0.Widget"))
	if props["Id"] == nil || props["Size"] == nil || props["Oem"] == nil {
		t.Errorf("v1_2_0 has not inherited: %v", props)
	}
	if s.typ("NoSuch.v1_0_0.Thing") != nil || s.typ("../etc.passwd") != nil || s.typ("Widget") != nil {
		t.Error("a name that is in no file has a type")
	}
	if s.read["Gauge"] != nil || len(s.read) > 6 {
		t.Errorf("files that nobody asked for were read: %v", s.read)
	}
	if !older("Widget.v1_2_0", "Widget.v1_10_0") || older("Widget.v1_2_0", "Widget") {
		t.Error("versions are not compared as numbers")
	}
	if _, err := parseCSDL([]byte("<Edmx>")); err == nil {
		t.Error("broken XML is taken")
	}
}
