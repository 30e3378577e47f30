package redfish

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// eventTypes are the deprecated kinds, which Ironic still asks for.
var eventTypes = []string{"StatusChange", "ResourceUpdated", "ResourceAdded", "ResourceRemoved", "Alert"}

// The policies for destinations that cannot be reached (DeliveryRetryPolicy): the
// subscription stays, or ends.
const (
	retryForever          = "RetryForever"
	terminateAfterRetries = "TerminateAfterRetries"
)

// The formats of what is delivered (EventFormatType).
const (
	formatEvent  = "Event"
	formatReport = "MetricReport"
)

var formats = []string{formatEvent, formatReport}

// registryPrefixes are the registries that events come from.
var registryPrefixes = []string{"ResourceEvent", "TaskEvent"}

func eventTable() []Resource {
	text := Rule{Kind: String}
	policies := []string{retryForever, terminateAfterRetries}
	create := Rules{
		"Destination":             {Kind: String, Required: true, Check: isDestination},
		"Protocol":                {Kind: String, Required: true, Values: []string{"Redfish"}},
		"Context":                 {Kind: String, Max: 256, Null: true},
		"EventTypes":              {Kind: List, Max: 16, Elements: &Rule{Kind: String, Values: eventTypes}},
		"RegistryPrefixes":        {Kind: List, Max: 16, Elements: &Rule{Kind: String, Values: append([]string{"Base"}, registryPrefixes...)}},
		"ResourceTypes":           {Kind: List, Max: 64, Elements: &text},
		"EventFormatType":         {Kind: String, Values: formats},
		"SubscriptionType":        {Kind: String, Values: []string{"RedfishEvent"}},
		"DeliveryRetryPolicy":     {Kind: String, Values: policies},
		"HttpHeaders":             {Kind: List, Max: 16, Elements: &Rule{Kind: Any}, Check: areHeaders, Secret: true},
		"OriginResources":         {Kind: List, Max: 64, Elements: &Rule{Kind: Nested, Properties: Rules{"@odata.id": text}}},
		"MetricReportDefinitions": {Kind: List, Max: 64, Elements: &Rule{Kind: Nested, Properties: Rules{"@odata.id": text}}},
		"Name":                    text, "Description": text,
		"SubordinateResources": {Kind: Bool}, "VerifyCertificate": {Kind: Bool}, "MessageIds": {Kind: List, Max: 0, Elements: &text},
	}
	present := func(r *Request) bool { return findSink(r) != nil }
	return []Resource{
		{Path: eventServicePath, Type: "#EventService.v1_10_0.EventService", Link: "EventService", Change: ConfigureManager, Get: getEventService,
			Actions: []Action{{Name: "EventService.SubmitTestEvent", Do: submitTestEvent, Parameters: Rules{
				"MessageId": {Kind: String, Required: true}, "Message": text, "MessageArgs": {Kind: List, Max: 16, Elements: &text}, "Severity": text, "MessageSeverity": text,
				"EventId": text, "EventTimestamp": text, "EventType": {Kind: String, Values: eventTypes}, "EventGroupId": {Kind: Integer},
				"OriginOfCondition": text,
			}}}},
		{Path: subscriptionsPath, Type: "#EventDestinationCollection.EventDestinationCollection", Link: "Subscriptions", Name: "Event Subscriptions",
			Members: func(r *Request) ([]string, error) {
				ids := []string{}
				for _, k := range r.Service.events.visible(r.Caller) {
					ids = append(ids, k.sub.ID)
				}
				return ids, nil
			}, Creatable: create, Post: subscribe},
		{Path: subscriptionsPath + "/{subscription}", Type: "#EventDestination.v1_14_1.EventDestination", Present: present, WithSystems: true,
			Get:      func(r *Request) (Object, error) { return findSink(r).object(), nil },
			Writable: Rules{"Context": {Kind: String, Max: 256}, "DeliveryRetryPolicy": {Kind: String, Values: policies}},
			Patch:    patchSubscription, Delete: unsubscribe},
		{Path: eventServicePath + "/SSE", Raw: map[string]func(*Request, http.ResponseWriter) error{http.MethodGet: stream}},
	}
}

func getEventService(*Request) (Object, error) {
	return Object{{"Id", "EventService"}, {"Name", "Event Service"}, {"Status", healthy()}, {"ServiceEnabled", true},
		{"DeliveryRetryAttempts", deliveryAttempts}, {"DeliveryRetryIntervalSeconds", int(deliveryInterval / time.Second)},
		{"EventTypesForSubscription", eventTypes}, {"RegistryPrefixes", registryPrefixes}, {"EventFormatTypes", formats},
		{"ServerSentEventUri", eventServicePath + "/SSE"}, {"SubordinateResourcesSupported", true},
		{"SSEFilterPropertiesSupported", Object{{"EventFormatType", false}, {"MessageId", false}, {"RegistryPrefix", false}, {"OriginResource", false}, {"ResourceType", false}, {"SubordinateResources", false}}}}, nil
}

// areHeaders checks HttpHeaders: a list of objects of strings.
func areHeaders(v any) bool {
	_, fine := headersOf(v)
	return fine
}

func headersOf(v any) (map[string]string, bool) {
	out := map[string]string{}
	items, _ := v.([]any)
	for _, item := range items {
		pairs, isObject := item.(map[string]any)
		if !isObject {
			return nil, false
		}
		for key, value := range pairs {
			s, isString := value.(string)
			if !isString || strings.ContainsAny(key+s, "\r\n\x00") || key == "" || strings.Trim(key, tokenChars) != "" || len(key)+len(s) > defaultMax ||
				slices.Contains([]string{"Host", "Content-Length", "Transfer-Encoding", "Connection"}, textproto.CanonicalMIMEHeaderKey(key)) {
				return nil, false
			}
			out[key] = s
		}
	}
	return out, true
}

// tokenChars are what a header's name is made of (RFC 9110 §5.6.2).
const tokenChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

// subscribe makes a subscription. It is kept with the first of the caller's systems that
// is at this peer, or of those it is about.
func subscribe(r *Request, v Values) (*Result, error) {
	if elsewhere, ok := r.allElsewhere(); ok && !isForwarded(r.Context()) {
		return &Result{Peer: &elsewhere}, nil
	}
	sub := subscription{ID: newID(), Systems: r.Caller.Systems(), User: r.Caller.UserName}
	sub.Destination, _ = v.String("Destination")
	sub.Context, _ = v.String("Context")
	sub.Name, _ = v.String("Name")
	sub.Policy, _ = v.String("DeliveryRetryPolicy")
	sub.Verify, _ = v.Bool("VerifyCertificate")
	sub.EventTypes, _ = v.Strings("EventTypes")
	sub.Registries, _ = v.Strings("RegistryPrefixes")
	sub.ResourceTypes, _ = v.Strings("ResourceTypes")
	if raw, given := v["HttpHeaders"]; given {
		sub.Headers, _ = headersOf(raw)
	}
	origins, _ := v["OriginResources"].([]any)
	for _, item := range origins {
		origin, _ := item.(Values)
		path, _ := origin.String("@odata.id")
		if _, err := r.Service.fetch(r, path); err != nil {
			return nil, fail(http.StatusBadRequest, msg("PropertyValueFormatError", brief(path), "OriginResources").about("OriginResources"))
		}
		sub.Origins = append(sub.Origins, strings.TrimSuffix(path, "/"))
	}
	if err := subscribeReports(r, v, &sub); err != nil {
		return nil, err
	}
	home, err := r.Service.keepSubscription(r.Context(), sub)
	if err != nil {
		return nil, err
	}
	if !r.Service.events.add(sub, home) {
		return nil, unavailable(busyRetry)
	}
	return &Result{Location: subscriptionsPath + "/" + sub.ID}, nil
}

// subscribeReports takes what is about reports, and refuses what would not do what it says.
func subscribeReports(r *Request, v Values, sub *subscription) error {
	reports, given := v["MetricReportDefinitions"].([]any)
	if format, _ := v.String("EventFormatType"); format != formatReport {
		if given && len(reports) > 0 {
			return fail(http.StatusBadRequest, msg("PropertyValueConflict", "MetricReportDefinitions", "EventFormatType").about("MetricReportDefinitions"))
		}
		return nil
	}
	sub.Format = formatReport
	for _, name := range []string{"EventTypes", "RegistryPrefixes", "ResourceTypes", "OriginResources"} {
		if list, _ := v[name].([]any); len(list) > 0 {
			return fail(http.StatusBadRequest, msg("PropertyValueConflict", name, "EventFormatType").about(name))
		}
	}
	for _, item := range reports {
		definition, _ := item.(Values)
		path, _ := definition.String("@odata.id")
		sub.Reports = append(sub.Reports, strings.TrimSuffix(path, "/"))
	}
	return checkReports(r, sub.Reports)
}

// keepSubscription stores a subscription with a system at this peer.
func (s *Service) keepSubscription(ctx context.Context, sub subscription) (home string, err error) {
	for _, id := range sub.Systems {
		sys, found := s.cfg.Systems.Lookup(id)
		if !found || sys.Chassis == nil {
			continue
		}
		return id, s.alterSubscriptions(ctx, sys, func(list []subscription) ([]subscription, error) {
			if len(list) >= maxSubscriptions {
				return nil, fail(http.StatusServiceUnavailable, msg("EventSubscriptionLimitExceeded"))
			}
			return append(list, sub), nil
		})
	}
	return "", unavailable(busyRetry)
}

func (s *Service) alterSubscriptions(ctx context.Context, sys System, change func([]subscription) ([]subscription, error)) error {
	unlock, err := s.locks.lock(ctx, subscriptionsKey+sys.ID)
	if err != nil {
		return unavailable(busyRetry)
	}
	defer unlock()
	list, err := change(recall[[]subscription](sys, subscriptionsKey))
	if err != nil {
		return err
	}
	return keep(ctx, sys, subscriptionsKey, list)
}

func findSink(r *Request) *sink {
	for _, k := range r.Service.events.visible(r.Caller) {
		if k.sub.ID == r.Var("subscription") {
			return k
		}
	}
	return nil
}

func (k *sink) object() Object {
	name := k.sub.Name
	if name == "" {
		name = "Event Subscription"
	}
	kind, destination := "RedfishEvent", any(k.sub.Destination)
	if k.stream {
		kind, destination = "SSE", Omit
	}
	out := Object{{"Id", k.sub.ID}, {"Name", name}, {"Destination", destination}, {"Context", k.sub.Context}, {"Protocol", "Redfish"},
		{"SubscriptionType", kind}, {"EventFormatType", k.format()}, {"HttpHeaders", []string{}}, {"Status", healthy()}, {"DeliveryRetryPolicy", k.policy()},
		{"VerifyCertificate", k.sub.Verify}}
	for _, list := range []struct {
		name   string
		values []string
	}{{"EventTypes", k.sub.EventTypes}, {"RegistryPrefixes", k.sub.Registries}, {"ResourceTypes", k.sub.ResourceTypes}} {
		if len(list.values) > 0 {
			out = append(out, Property{list.name, list.values})
		}
	}
	if len(k.sub.Reports) > 0 {
		out = append(out, Property{"MetricReportDefinitions", links(k.sub.Reports...)})
	}
	if len(k.sub.Origins) > 0 {
		out = append(out, Property{"OriginResources", links(k.sub.Origins...)}, Property{"SubordinateResources", true})
	}
	return out
}

func (k *sink) format() string {
	if k.sub.Format == "" {
		return formatEvent
	}
	return k.sub.Format
}

func (k *sink) policy() string {
	if k.sub.Policy == "" {
		return retryForever
	}
	return k.sub.Policy
}

func patchSubscription(r *Request, v Values) error {
	k := findSink(r)
	if k == nil || k.stream {
		return notFound(r.Path)
	}
	sub := k.sub
	if text, given := v.String("Context"); given {
		sub.Context = text
	}
	if policy, given := v.String("DeliveryRetryPolicy"); given {
		sub.Policy = policy
	}
	if err := r.Service.replaceSubscription(r.Context(), k, &sub); err != nil {
		return err
	}
	r.Service.events.drop(sub.ID)
	if !r.Service.events.add(sub, k.home) {
		return unavailable(busyRetry)
	}
	return nil
}

// replaceSubscription changes what is kept; nil forgets it.
func (s *Service) replaceSubscription(ctx context.Context, k *sink, with *subscription) error {
	sys, found := s.cfg.Systems.Lookup(k.home)
	if !found || sys.Chassis == nil {
		return nil // it went with its system
	}
	return s.alterSubscriptions(ctx, sys, func(list []subscription) ([]subscription, error) {
		var out []subscription
		for _, one := range list {
			switch {
			case one.ID != k.sub.ID:
				out = append(out, one)
			case with != nil:
				out = append(out, *with)
			}
		}
		return out, nil
	})
}

func unsubscribe(r *Request) error {
	k := findSink(r)
	if k == nil {
		return notFound(r.Path)
	}
	if !k.stream {
		if err := r.Service.replaceSubscription(r.Context(), k, nil); err != nil {
			return err
		}
	}
	r.Service.events.drop(k.sub.ID)
	return nil
}

// submitTestEvent sends a test message to the caller's subscriptions.
func submitTestEvent(r *Request, v Values) (*Result, error) {
	origin, _ := v.String("OriginOfCondition")
	message, _ := v.String("MessageId")
	args, _ := v.Strings("MessageArgs")
	r.Service.happenedTo(r.Caller.Systems(), origin, message, args...)
	return nil, nil //nolint:nilnil // a nil Result is 204
}

// streamPing keeps an idle stream open.
const streamPing = 20 * time.Second

// stream sends events as they happen (DSP0266 §15.5.3): the subscription lives as long as
// the connection.
func stream(r *Request, w http.ResponseWriter) error {
	if !accepts(r.HTTP.Header.Values("Accept"), "text/event-stream") {
		return fail(http.StatusNotAcceptable, msg("HeaderInvalid", "Accept"))
	}
	es := r.Service.events
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	k := &sink{sub: subscription{ID: newID(), Systems: r.Caller.Systems(), User: r.Caller.UserName}, stream: true, account: r.Caller.id, queue: make(chan event, eventQueue), stop: cancel}
	if !es.addStream(k) {
		return fail(http.StatusServiceUnavailable, msg("EventSubscriptionLimitExceeded"))
	}
	defer es.drop(k.sub.ID)
	w.Header().Set("Content-Type", "text/event-stream;charset=utf-8")
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	ping := time.NewTicker(streamPing)
	defer ping.Stop()
	fmt.Fprintf(w, ": %s\n\n", k.sub.ID)
	for {
		if flusher.Flush() != nil {
			return nil // the client is gone
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ping.C:
			fmt.Fprint(w, ":\n\n")
		case e := <-k.queue:
			body, err := appendObject(nil, e.payload(""))
			if err != nil {
				continue
			}
			fmt.Fprintf(w, "id: %s\ndata: %s\n\n", e.id, body)
		}
	}
}

// addStream opens a stream, if there are not too many.
func (es *events) addStream(k *sink) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	all, ofAccount := 0, 0
	for _, other := range es.sinks {
		if other.stream {
			all++
			if other.account == k.account {
				ofAccount++
			}
		}
	}
	if all >= maxStreams || ofAccount >= maxAccountStreams {
		return false
	}
	es.sinks[k.sub.ID] = k
	return true
}
