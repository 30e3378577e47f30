package conform_test

import "tenks/bmc/redfish/conform"

const (
	oldClients = "sushy and Ironic read it; what replaces it is there as well"
	fixed      = "it describes the virtual hardware, which is changed where the node is declared"
	profile11  = "profile-OpenStackIronicProfile-1.1.0"
	profile12  = "profile-OpenStackIronicProfile-1.2.0"
)

// accepted are the warnings about our service that are meant to be, and why.
var accepted = []conform.Accepted{
	{Rule: "deprecated", Resource: "/redfish/v1/Chassis/*", Property: "IndicatorLED", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Systems/*", Property: "IndicatorLED", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Chassis/*", Property: "Power", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Chassis/*", Property: "Thermal", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Chassis/*/Power", Property: "@odata.type", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Chassis/*/Thermal", Property: "@odata.type", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Managers/*", Property: "SerialConsole", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Managers/*", Property: "VirtualMedia", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Systems/*", Property: "MemorySummary.Status", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Systems/*", Property: "ProcessorSummary.Status", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Systems/*/Memory/*", Property: "DeviceLocator", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/EventService", Property: "EventTypesForSubscription", Reason: "Ironic's vendor calls subscribe by event type"},
	{Rule: "deprecated", Resource: "/redfish/v1/Registries/*/*", Property: "Messages.*.Severity", Reason: "the registry schema requires it"},

	{Rule: "deprecated", Resource: "/redfish/v1/Systems/*/Storage/*", Property: "StorageControllers", Reason: oldClients},
	{Rule: "deprecated", Resource: "/redfish/v1/Systems/*/Storage/*/Drives/*", Property: "IndicatorLED", Reason: oldClients},

	{Rule: "read-only", Resource: "/redfish/v1/Chassis/*/Sensors/*", Reason: fixed},
	{Rule: "read-only", Resource: "/redfish/v1/Chassis/*/Thermal", Reason: fixed},
	{Rule: "read-only", Resource: "/redfish/v1/Chassis/*/NetworkAdapters/*/NetworkDeviceFunctions/*", Reason: fixed},
	{Rule: "read-only", Resource: "/redfish/v1/Chassis/*/NetworkAdapters/*/Ports/*", Reason: fixed},
	{Rule: "read-only", Resource: "/redfish/v1/Managers/*/EthernetInterfaces/*", Reason: fixed},
	{Rule: "read-only", Resource: "/redfish/v1/Managers/*/NetworkProtocol", Reason: "ports and protocols are those of the mesh's configuration"},
	{Rule: "read-only", Resource: "/redfish/v1/Systems/*/EthernetInterfaces/*", Reason: fixed},
	{Rule: "read-only", Resource: "/redfish/v1/Systems/*/BootOptions/*", Reason: "BootOrder is what decides"},
	{Rule: "read-only", Resource: "/redfish/v1/Managers/*/LogServices/*", Reason: "the log is always on, and its clock is the host's"},
	{Rule: "read-only", Resource: "/redfish/v1/Systems/*/LogServices/*", Reason: "the log is always on, and its clock is the host's"},
	{Rule: "read-only", Resource: "/redfish/v1/AccountService/Roles/*", Reason: "the roles are the standard's, whose privileges are fixed (DSP0266 §13.2.10)"},
	{Rule: "read-only", Resource: "/redfish/v1/AccountService", Reason: "one policy for all nodes of the mesh"},
	{Rule: "read-only", Resource: "/redfish/v1/EventService", Reason: "one policy for all nodes of the mesh"},
	{Rule: "read-only", Resource: "/redfish/v1/SessionService", Reason: "one policy for all nodes of the mesh"},
	{Rule: "read-only", Resource: "/redfish/v1/UpdateService", Reason: "updates cannot be turned off"},
	{Rule: "read-only", Resource: "/redfish/v1/TaskService", Reason: "tasks cannot be turned off"},
	{Rule: "read-only", Resource: "/redfish/v1/TelemetryService", Reason: "reports are made when they are read: there is nothing to turn off"},
	{Rule: "read-only", Resource: "/redfish/v1/TelemetryService/MetricDefinitions/*", Reason: "they say what the sensors are"},

	{Rule: "http-patch", Resource: "/redfish/v1/AccountService/Accounts/*", Reason: "the nodes' own account is part of their declaration"},

	{Rule: profile11, Resource: "/redfish/v1/Systems/*/SecureBoot", Property: "Actions.#SecureBoot.ResetKeys", Reason: "firmware without Secure Boot has no keys"},
	{Rule: profile12, Resource: "/redfish/v1/Systems/*/SecureBoot", Property: "Actions.#SecureBoot.ResetKeys", Reason: "firmware without Secure Boot has no keys"},
	{Rule: profile11, Resource: "/redfish/v1/Systems/*/Storage/*", Property: "Drives", Reason: "the schema has no collection of drives there; profile 1.2.0 is right"},
	{Rule: profile11, Resource: "/redfish/v1/", Property: "TaskService", Reason: "the profile means Tasks: ServiceRoot has no TaskService"},
	{Rule: profile12, Resource: "/redfish/v1/", Property: "TaskService", Reason: "the profile means Tasks: ServiceRoot has no TaskService"},
}
