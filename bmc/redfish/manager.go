package redfish

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// managerTable has the BMC of each system.
func managerTable() []Resource {
	base := managersPath + "/{system}"
	return []Resource{
		{Path: managersPath, Type: "#ManagerCollection.ManagerCollection", Link: "Managers", Name: "Manager Collection", Members: systemIDs},
		{Path: base, Type: "#Manager.v1_19_1.Manager", Get: getManager, Volatile: []string{"DateTime"}, Change: ConfigureManager,
			Writable: Rules{"DateTime": {Kind: String, Check: isDateTime}, "DateTimeLocalOffset": {Kind: String, Check: isZone}}, Patch: patchManager,
			// There is nothing to start anew: the BMC of a node has no state but what it keeps.
			Actions: []Action{{Name: "Manager.Reset", Parameters: Rules{"ResetType": {Kind: String, Values: []string{"ForceRestart", "GracefulRestart"}}},
				Do: func(r *Request, _ Values) (*Result, error) {
					r.Service.Happened(r.System, r.managerPath(), "ResourceEvent.1.3.ResourceStateChanged", r.managerPath(), "Enabled")
					return nil, nil //nolint:nilnil // a nil Result is 204
				}}}},
		{Path: base + "/NetworkProtocol", Type: "#ManagerNetworkProtocol.v1_10_1.ManagerNetworkProtocol", Link: "NetworkProtocol", Get: getNetworkProtocol},
		{Path: base + "/EthernetInterfaces", Type: "#EthernetInterfaceCollection.EthernetInterfaceCollection", Link: "EthernetInterfaces", Name: "Ethernet Interfaces",
			Members: func(*Request) ([]string, error) { return []string{"eth0"}, nil }},
		{Path: base + "/EthernetInterfaces/{interface}", Type: "#EthernetInterface.v1_12_1.EthernetInterface", Get: getManagerInterface,
			Present: func(r *Request) bool { return r.Var("interface") == "eth0" }},
	}
}

func getManager(r *Request) (Object, error) {
	set := recall[settings](r.System, settingsKey)
	console := Object{{"ServiceEnabled", false}, {"MaxConcurrentSessions", 0}, {"ConnectTypesSupported", []string{}}}
	now := r.Service.cfg.Clock().Add(time.Duration(set.ClockOffset) * time.Second).In(zoneOf(set.Zone))
	return Object{
		{"Id", r.System.ID}, {"Name", "Manager of " + r.System.Name}, {"ManagerType", "BMC"}, {"FirmwareVersion", r.firmware(componentBMC)},
		{"Manufacturer", manufacturer}, {"Model", "Virtual BMC"}, {"UUID", managerUUID(r.System.ID)}, {"ServiceEntryPointUUID", r.Service.cfg.UUID},
		{"DateTime", now.Format("2006-01-02T15:04:05-07:00")}, {"DateTimeLocalOffset", now.Format("-07:00")}, {"PowerState", "On"}, {"Status", healthy()},
		{"GraphicalConsole", graphical(r.Chassis().Hardware().Display)}, {"CommandShell", console},
		{"SerialConsole", Object{{"ServiceEnabled", true}, {"MaxConcurrentSessions", 1}, {"ConnectTypesSupported", []string{"IPMI"}}}},
		{"Links", Object{{"ManagerForServers", links(r.systemPath())}, {"ManagerForServers@odata.count", 1},
			{"ManagerForChassis", links(r.chassisPath())}, {"ManagerForChassis@odata.count", 1}, {"ManagerInChassis", link(r.chassisPath())}}},
	}, nil
}

// graphical says how a screen is shared; where, is beyond the schema, and so not said. Of the
// protocols, it knows KVMIP, by which a shared screen goes, and otherwise OEM ones.
func graphical(display string) Object {
	if display == "" {
		return Object{{"ServiceEnabled", false}, {"MaxConcurrentSessions", 0}, {"ConnectTypesSupported", []string{}}}
	}
	return Object{{"ServiceEnabled", true}, {"MaxConcurrentSessions", 1}, {"ConnectTypesSupported", []string{"KVMIP"}}}
}

// managerUUID follows from the system's, and differs from it.
func managerUUID(system string) string {
	id, err := uuid.Parse(system)
	if err != nil {
		return system
	}
	return uuid.NewSHA1(id, []byte("manager")).String()
}

func isDateTime(v any) bool {
	s, _ := v.(string)
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

func isZone(v any) bool {
	s, _ := v.(string)
	_, err := time.Parse("-07:00", s)
	return err == nil
}

// zoneOf is the zone of a DateTimeLocalOffset.
func zoneOf(offset string) *time.Location {
	t, err := time.Parse("-07:00", offset)
	if err != nil {
		return time.UTC
	}
	_, seconds := t.Zone()
	return time.FixedZone("", seconds)
}

// patchManager sets the clock: what differs from the true time is kept.
func patchManager(r *Request, v Values) error {
	return alter(r, func(s *settings) {
		if text, given := v.String("DateTime"); given {
			t, err := time.Parse(time.RFC3339, text)
			if err == nil {
				s.ClockOffset = int64(t.Sub(r.Service.cfg.Clock()).Round(time.Second) / time.Second)
				s.Zone = t.Format("-07:00")
			}
		}
		if zone, given := v.String("DateTimeLocalOffset"); given {
			s.Zone = zone
		}
	})
}

// localAddress is where the request came to.
func localAddress(r *http.Request) (netip.AddrPort, bool) {
	addr, isAddr := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !isAddr {
		return netip.AddrPort{}, false
	}
	out, err := netip.ParseAddrPort(addr.String())
	return out, err == nil
}

func getNetworkProtocol(r *Request) (Object, error) {
	port := any(nil)
	if addr, known := localAddress(r.HTTP); known {
		port = int(addr.Port())
	} else if _, text, err := net.SplitHostPort(r.HTTP.Host); err == nil {
		if n, err := strconv.Atoi(text); err == nil {
			port = n
		}
	}
	secure := r.HTTP.TLS != nil
	http, https := Object{{"ProtocolEnabled", !secure}, {"Port", nil}}, Object{{"ProtocolEnabled", secure}, {"Port", nil}}
	if secure {
		https = https.with("Port", port)
	} else {
		http = http.with("Port", port)
	}
	https = append(https, Property{"Certificates", link(r.managerPath() + "/NetworkProtocol/HTTPS/Certificates")})
	return Object{{"Id", "NetworkProtocol"}, {"Name", "Manager Network Protocol"}, {"Status", healthy()}, {"HTTP", http}, {"HTTPS", https},
		{"SSDP", Object{{"ProtocolEnabled", false}}}}, nil
}

func getManagerInterface(r *Request) (Object, error) {
	v4, v6 := []Object{}, []Object{}
	if addr, known := localAddress(r.HTTP); known {
		ip := addr.Addr().Unmap().WithZone("")
		if ip.Is4() {
			v4 = append(v4, Object{{"Address", ip.String()}, {"AddressOrigin", "Static"}})
		} else {
			v6 = append(v6, Object{{"Address", ip.String()}, {"AddressOrigin", "Static"}})
		}
	}
	return Object{{"Id", "eth0"}, {"Name", "Manager Ethernet Interface"}, {"InterfaceEnabled", true}, {"LinkStatus", "LinkUp"},
		{"IPv4Addresses", v4}, {"IPv6Addresses", v6}, {"Status", healthy()}}, nil
}
