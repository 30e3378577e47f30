package record

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// who is where a handler says who asks.
type who struct{ user string }

type whoKey struct{}

// SetUser notes who a request under Middleware is from, once that is proven: by a
// password or the token of a session. Elsewhere it has no effect.
func SetUser(ctx context.Context, user string) {
	if w, ok := ctx.Value(whoKey{}).(*who); ok {
		w.user = user
	}
}

// Middleware notes the requests to the handler of a Redfish service. observe gets all but
// the node's part of a Call. known says that a name is a user's: for handlers that do not
// call SetUser.
func Middleware(observe func(*http.Request, Call), known func(user string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		from := &who{}
		seen := &response{ResponseWriter: w}
		defer func() { // also when the handler ends the connection
			client, _ := netip.ParseAddrPort(r.RemoteAddr)
			observe(r, Call{At: time.Now(), Took: time.Since(began), Protocol: "redfish", Method: Method(r), Result: seen.result(),
				Client: netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), User: userOf(r, from, known)})
		}()
		next.ServeHTTP(seen, r.WithContext(context.WithValue(r.Context(), whoKey{}, from)))
	})
}

// userOf is who a request is from: empty if it says nothing.
func userOf(r *http.Request, from *who, known func(string) bool) string {
	if from.user != "" {
		return from.user
	}
	switch name, _, ok := r.BasicAuth(); {
	case ok && known(name):
		return name
	case ok:
		return Unknown
	case r.Header.Get("X-Auth-Token") != "":
		return "(session)"
	}
	return ""
}

// response remembers the status.
type response struct {
	http.ResponseWriter
	status int
}

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, for streams of events.
func (r *response) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) result() string {
	if r.status == 0 {
		return "none"
	}
	return strconv.Itoa(r.status)
}

// methods are the HTTP methods that are told apart.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions}

// words are the segments of Redfish paths that are kept. All others are IDs, or whatever
// a client wrote.
var words = strings.Fields(`redfish v1 odata $metadata Accounts AccountService Actions Assembly AttributeRegistries BIOS Bios
	BootOptions BootSources CertificateLocations Certificates CertificateService Chassis Controls Controllers Drives EnvironmentMetrics
	EthernetInterfaces EventLog EventService Fans FirmwareInventory FirmwareUpdate HostInterfaces JsonSchemas LogServices Log Entries
	ManagerAccount Managers Memory MemoryMetrics MemorySummary Members MetricDefinitions MetricReports NetworkAdapters NetworkDeviceFunctions
	NetworkInterfaces NetworkPorts NetworkProtocol PCIeDevices Ports Power PowerSubsystem PowerSupplies Processors Registries
	ResetActionInfo Roles SecureBoot SecureBootDatabases Sensors SessionService Sessions Settings SimpleStorage
	SoftwareInventory SSE Storage Subscriptions Systems TaskMonitors Tasks TaskService TelemetryService Thermal
	ThermalMetrics ThermalSubsystem UpdateService VirtualMedia Volumes`)

// actions are the actions that are told apart.
var actions = strings.Fields(`Bios.ChangePassword Bios.ResetBios Chassis.Reset ComputerSystem.Reset ComputerSystem.SetDefaultBootOrder
	EventService.SubmitTestEvent LogService.ClearLog Manager.Reset Manager.ResetToDefaults SecureBoot.ResetKeys
	SecureBootDatabase.ResetKeys UpdateService.SimpleUpdate VirtualMedia.EjectMedia VirtualMedia.InsertMedia Volume.Initialize`)

// maxSegments bounds a path that is kept.
const maxSegments = 12

// Method is what a Redfish request asks for: its method, and its path with a star in
// place of each ID. It holds nothing that a client chose.
func Method(r *http.Request) string {
	method := r.Method
	if !slices.Contains(methods, method) {
		method = "OTHER"
	}
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(segments) > maxSegments || segments[0] != "redfish" {
		return method + " " + other
	}
	for i, s := range segments {
		action := i > 0 && segments[i-1] == "Actions" && slices.Contains(actions, s)
		if !action && !slices.Contains(words, s) {
			segments[i] = "*"
		}
	}
	return method + " /" + strings.Join(segments, "/")
}
