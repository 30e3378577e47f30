package redfish

import (
	"fmt"
	"slices"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// The types of attributes.
const (
	enumeration = "Enumeration"
	text        = "String"
	integer     = "Integer"
	boolean     = "Boolean"
)

// An attribute is a BIOS setting. Those that can be written are kept, and what is real is
// told to a chassis that is a bmc.BIOSer: the firmware of a virtual machine does not ask for
// the others. Those that cannot be written are what the machine is.
type attribute struct {
	name, display, help, kind string
	// standard is the default; its Go type is that of kind: string, int64, bool.
	standard any
	values   []string // of an enumeration
	min, max int64    // bounds of a number, or of a text's length
	// of is the value of an attribute that cannot be written.
	of func(b biosView) any
	// unique says that systems differ in it.
	unique bool
	// real says that a bmc.BIOSer makes it so. One that has of as well can be written there,
	// and nowhere else.
	real bool
}

// readOnly reports whether it cannot be written; able: the chassis is a bmc.BIOSer.
func (a attribute) readOnly(able bool) bool { return a.of != nil && (!a.real || !able) }

// biosView is what attributes follow from.
type biosView struct {
	hardware bmc.Hardware
	kept     keptBios
	version  string
	// secure is SecureBootEnable.
	secure bool
	// able says that the chassis is a bmc.BIOSer.
	able bool
}

var enabledDisabled = []string{"Enabled", "Disabled"}

// attributes are all BIOS settings, in the order of the registry.
var attributes = []attribute{
	{name: bmc.AttributeBootMode, display: "Boot Mode", help: "The firmware that starts the system.", kind: enumeration, real: true,
		values: []string{"Uefi", "Legacy"}, of: func(b biosView) any {
			if b.hardware.BootMode == state.BootUEFI {
				return "Uefi"
			}
			return "Legacy"
		}},
	{name: "SecureBoot", display: "Secure Boot", help: "Whether the next start is a secure one. It is set in the SecureBoot resource.", kind: enumeration,
		values: enabledDisabled, of: func(b biosView) any {
			if b.secure {
				return "Enabled"
			}
			return "Disabled"
		}},
	{name: "SystemModelName", display: "System Model Name", help: "The model of the system.", kind: text, max: 64, of: func(biosView) any { return model }},
	{name: "SystemSerialNumber", display: "System Serial Number", help: "The serial number of the system.", kind: text, max: 64, unique: true,
		of: func(b biosView) any { return b.hardware.UUID }},
	{name: "SystemBiosVersion", display: "System BIOS Version", help: "The version of the firmware.", kind: text, max: 128, of: func(b biosView) any { return b.version }},
	{name: "SystemMemorySizeMiB", display: "System Memory Size", help: "The installed memory in MiB.", kind: integer, max: 1 << 40,
		of: func(b biosView) any { return int64(min(b.hardware.MemoryMB, 1<<40)) }}, //nolint:gosec // it is bounded
	{name: "ProcCores", display: "Number of Cores", help: "The cores of the processor.", kind: integer, max: 1 << 16, of: func(b biosView) any { return int64(b.hardware.VCPUs) }},
	{name: bmc.AttributeVirtualization, display: "Virtualization Technology", help: "Whether the processor offers hardware virtualization.", real: true, kind: enumeration, standard: "Enabled", values: enabledDisabled},
	{name: bmc.AttributeLogicalProc, display: "Logical Processor", help: "Whether each core has two threads. Without them the system has half as many processors.", real: true, kind: enumeration, standard: "Enabled", values: enabledDisabled},
	{name: "SriovGlobalEnable", display: "SR-IOV Global Enable", help: "Whether devices offer virtual functions.", kind: enumeration, standard: "Disabled", values: enabledDisabled},
	{name: "SystemProfile", display: "System Profile", help: "What power management aims at.", kind: enumeration, standard: "PerfPerWatt",
		values: []string{"PerfPerWatt", "Performance", "PowerSaving", "Custom"}},
	{name: bmc.AttributeBootTimeout, display: "Boot Timeout", help: "How long the boot menu waits, in seconds; 0: there is none.", real: true, kind: integer, standard: int64(0), max: 59},
	{name: bmc.AttributeNetworkBoot, display: "Network Boot", help: "Whether the firmware starts the system from network interfaces.", real: true, kind: enumeration, standard: "Enabled", values: enabledDisabled},
	{name: bmc.AttributeSerial, display: "Serial Redirection", help: "Whether firmware in Legacy mode shows itself on the serial console.", real: true, kind: enumeration, standard: "Enabled", values: enabledDisabled},
	{name: "NumLock", display: "Keyboard NumLock", help: "Whether NumLock is on after the start.", kind: boolean, standard: true},
	{name: "QuietBoot", display: "Quiet Boot", help: "Whether messages of the start are hidden.", kind: boolean, standard: false},
	{name: "PxeIPv4", display: "IPv4 PXE Support", help: "Whether the firmware offers network boot over IPv4.", kind: boolean, standard: true},
	{name: "PxeIPv6", display: "IPv6 PXE Support", help: "Whether the firmware offers network boot over IPv6.", kind: boolean, standard: true},
	{name: "ServiceContact", display: "Service Contact", help: "Whom to call.", kind: text, standard: "none", min: 1, max: 80},
	{name: "AdminPasswordState", display: "Administrator Password", help: "Whether the setup has an administrator password.", kind: enumeration,
		values: []string{"Set", "NotSet"}, of: func(b biosView) any { return passwordState(b.kept, adminPassword) }},
	{name: "UserPasswordState", display: "User Password", help: "Whether the setup has a user password.", kind: enumeration,
		values: []string{"Set", "NotSet"}, of: func(b biosView) any { return passwordState(b.kept, userPassword) }},
}

func passwordState(kept keptBios, name string) string {
	if kept.Passwords[name] == nil {
		return "NotSet"
	}
	return "Set"
}

// rule is what the attribute may be set to.
func (a attribute) rule() Rule {
	switch a.kind {
	case enumeration:
		return Rule{Kind: String, Values: a.values}
	case integer:
		return Rule{Kind: Integer, Min: float64(a.min), Most: float64(a.max)}
	case boolean:
		return Rule{Kind: Bool}
	}
	return Rule{Kind: String, Max: int(a.max), Check: func(v any) bool { s, _ := v.(string); return int64(len(s)) >= a.min }}
}

// attributeRules are those of the attributes that can be written.
func attributeRules(able bool) Rules {
	out := Rules{}
	for _, a := range attributes {
		if !a.readOnly(able) {
			out[a.name] = a.rule()
		}
	}
	return out
}

// value is the attribute's value among those that were set, or its default.
func (a attribute) value(b biosView, set map[string]any) any {
	standard := a.standard
	if a.of != nil {
		standard = a.of(b)
	}
	if a.readOnly(b.able) {
		return standard
	}
	v := set[a.name]
	var found bool
	if f, isNumber := v.(float64); isNumber && a.kind == integer {
		v = int64(f) // as JSON has it
	}
	switch a.kind {
	case integer:
		_, found = v.(int64)
	case boolean:
		_, found = v.(bool)
	default:
		s, isString := v.(string)
		found = isString && (a.values == nil || slices.Contains(a.values, s))
	}
	if !found {
		return standard
	}
	return v
}

// attributeValues are all attributes.
func attributeValues(b biosView, set map[string]any) Object {
	out := make(Object, len(attributes))
	for i, a := range attributes {
		out[i] = Property{a.name, a.value(b, set)}
	}
	return out
}

// realAttributes are those that a bmc.BIOSer is told: what differs from the default.
func realAttributes(set map[string]any) map[string]string {
	out := map[string]string{}
	for _, a := range attributes {
		if _, given := set[a.name]; !a.real || !given {
			continue
		}
		if v := a.value(biosView{able: true}, set); a.of != nil || v != a.standard {
			out[a.name] = fmt.Sprint(v)
		}
	}
	return out
}

const (
	attributeRegistry        = "BiosAttributeRegistry.v1_1_0"
	attributeRegistryVersion = "1.1.0"
)

// attributeRegistryObject describes the attributes.
func attributeRegistryObject() Object {
	list := make([]Object, len(attributes))
	for i, a := range attributes {
		o := Object{{"AttributeName", a.name}, {"DisplayName", a.display}, {"HelpText", a.help}, {"Type", a.kind}, {"DisplayOrder", i + 1},
			{"ReadOnly", a.readOnly(true)}, {"Immutable", false}, {"ResetRequired", !a.readOnly(true)}, {"IsSystemUniqueProperty", a.unique}}
		if a.of == nil {
			o = append(o, Property{"DefaultValue", a.standard})
		}
		switch a.kind {
		case enumeration:
			var values []Object
			for _, v := range a.values {
				values = append(values, Object{{"ValueName", v}, {"ValueDisplayName", v}})
			}
			o = append(o, Property{"Value", values})
		case integer:
			o = append(o, Property{"LowerBound", a.min}, Property{"UpperBound", a.max}, Property{"ScalarIncrement", 1})
		case text:
			o = append(o, Property{"MinLength", a.min}, Property{"MaxLength", a.max})
		}
		list[i] = o
	}
	return Object{{"Id", attributeRegistry}, {"Name", "BIOS Attribute Registry"}, {"Description", "The BIOS settings of a virtual machine."}, {"Language", "en"},
		{"OwningEntity", manufacturer}, {"RegistryVersion", attributeRegistryVersion},
		{"SupportedSystems", []Object{{{"ProductName", model}}}}, {"RegistryEntries", Object{{"Attributes", list}}}}
}
