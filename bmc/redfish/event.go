package redfish

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	eventServicePath  = rootPath + "/EventService"
	subscriptionsPath = eventServicePath + "/Subscriptions"
	// subscriptionsKey is where the subscriptions of a system are kept.
	subscriptionsKey = "redfish/subscriptions"
	// maxSubscriptions bounds those kept with one system, maxStreams the open event streams.
	maxSubscriptions = 32
	maxStreams       = 256
	// eventQueue is how many events wait for one destination; more are dropped.
	eventQueue = 64
	// Deliveries: so many attempts, so far apart, each so long at most.
	deliveryAttempts = 3
	deliveryInterval = 5 * time.Second
	deliveryTimeout  = 10 * time.Second
)

// subscription is an EventDestination as it is kept with a system (the first one of its
// creator's, so that it goes where that goes).
type subscription struct {
	ID, Destination, Context string
	Name                     string            `json:",omitempty"`
	EventTypes               []string          `json:",omitempty"`
	Registries               []string          `json:",omitempty"`
	ResourceTypes            []string          `json:",omitempty"`
	Origins                  []string          `json:",omitempty"`
	Headers                  map[string]string `json:",omitempty"`
	Policy                   string            `json:",omitempty"`
	Systems                  []string
	User                     string
	// Format is the EventFormatType, empty: events. Reports are the definitions of those
	// that are wanted, empty: all.
	Format  string   `json:",omitempty"`
	Reports []string `json:",omitempty"`
	// Verify says that the destination's certificate is checked.
	Verify bool `json:",omitempty"`
}

// event is one thing that happened.
type event struct {
	id, message, origin string
	args                []string
	systems             []string
	at                  time.Time
}

// sink takes events: a subscription's queue, or an open stream.
type sink struct {
	sub    subscription
	stream bool
	// account is whose stream it is.
	account digest
	// home is the system that it is kept with.
	home  string
	queue chan event
	stop  context.CancelFunc
}

// events are the subscriptions of this peer.
type events struct {
	service *Service
	// verifying checks certificates, lax does not.
	verifying, lax *http.Client
	// interval is between attempts.
	interval time.Duration
	// second is how long a second of a report's interval is: less, in tests.
	second time.Duration

	mu    sync.Mutex // guards the rest
	sinks map[string]*sink
	last  uint64
}

func newEvents(s *Service) *events {
	dialer := &net.Dialer{Timeout: deliveryTimeout}
	if !s.cfg.AllowLocal {
		// Checked where the address is known, so that no name can stand for it.
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return remoteOnly(address) }
	}
	client := func(insecure bool) *http.Client {
		return &http.Client{
			Timeout: deliveryTimeout,
			Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &events{service: s, sinks: map[string]*sink{}, verifying: client(false), lax: client(true), interval: deliveryInterval, second: time.Second}
}

// errLocal refuses destinations that would make the service talk to its own host.
var errLocal = errors.New("address is loopback or link-local; use one that clients can reach")

func remoteOnly(address string) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("event destination: %w", err)
	}
	ip := addr.Addr().Unmap()
	if ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return errLocal
	}
	return nil
}

// happenedTo tells who subscribed that something happened to a resource of some systems.
func (s *Service) happenedTo(systems []string, origin, message string, args ...string) {
	e := event{message: message, origin: origin, args: args, systems: systems, at: s.cfg.Clock()}
	es := s.events
	es.mu.Lock()
	defer es.mu.Unlock()
	es.last++
	e.id = strconv.FormatUint(es.last, 10)
	for _, k := range es.sinks {
		if !k.sub.wants(e) {
			continue
		}
		select {
		case k.queue <- e:
		default: // the destination is too slow
		}
	}
}

// Happened tells who subscribed, and the system's log, that something happened to a
// resource of a system: a message of the registries that are served, such as
// "ResourceEvent.1.3.ResourceChanged".
func (s *Service) Happened(sys System, origin, message string, args ...string) {
	s.logs.add(sys.ID, logEntry{At: s.cfg.Clock(), Message: message, Args: args, Origin: origin})
	s.happenedTo([]string{sys.ID}, origin, message, args...)
}

// wants filters events.
func (sub *subscription) wants(e event) bool {
	if sub.Format == formatReport {
		return false
	}
	for _, id := range e.systems {
		if _, has := slices.BinarySearch(sub.Systems, id); !has {
			return false
		}
	}
	registry, _, _ := strings.Cut(e.message, ".")
	if len(sub.Registries) > 0 && !slices.Contains(sub.Registries, registry) {
		return false
	}
	if len(sub.EventTypes) > 0 && !slices.Contains(sub.EventTypes, eventType(e.message)) {
		return false
	}
	return len(sub.Origins) == 0 || slices.ContainsFunc(sub.Origins, func(o string) bool { return e.origin == o || strings.HasPrefix(e.origin, o+"/") })
}

// eventType is the old word for what a message says (Event.v1_7_0, EventType).
func eventType(message string) string {
	registry, _, _ := strings.Cut(message, ".")
	switch name := message[strings.LastIndexByte(message, '.')+1:]; {
	case registry != "ResourceEvent":
		return "Alert"
	case name == "ResourceCreated":
		return "ResourceAdded"
	case name == "ResourceRemoved":
		return "ResourceRemoved"
	case name == "ResourceChanged":
		return "ResourceUpdated"
	case name == "TestMessage":
		return "Alert"
	}
	return "StatusChange"
}

// payload is the Event document.
func (e event) payload(label string) Object {
	entry := eventMessages[shortID(e.message)]
	if entry.severity == "" {
		entry.severity = ok
	}
	record := Object{{"MemberId", "0"}, {"EventType", eventType(e.message)}, {"EventId", e.id}, {"EventTimestamp", e.at.UTC().Format(time.RFC3339)},
		{"Severity", entry.severity}, {"MessageSeverity", entry.severity}, {"Message", filled(entry.text, e.args)}, {"MessageId", e.message}, {"MessageArgs", e.args}}
	if e.origin != "" {
		record = append(record, Property{"OriginOfCondition", link(e.origin)})
	}
	return Object{{"@odata.type", "#Event.v1_7_0.Event"}, {"Id", e.id}, {"Name", "Event"}, {"Context", label}, {"Events", []Object{record}}}
}

// add opens a queue for a subscription and starts its deliveries.
func (es *events) add(sub subscription, home string) bool {
	k := &sink{sub: sub, home: home, queue: make(chan event, eventQueue)}
	es.mu.Lock()
	defer es.mu.Unlock()
	if _, exists := es.sinks[sub.ID]; exists {
		return true
	}
	ready := make(chan struct{})
	started := es.service.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		k.stop = cancel
		close(ready)
		if k.sub.Format == formatReport {
			es.deliverReports(ctx, k)
			return
		}
		es.deliverAll(ctx, k)
	})
	if !started {
		return false
	}
	<-ready
	es.sinks[sub.ID] = k
	return true
}

// drop ends a subscription or stream.
func (es *events) drop(id string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if k := es.sinks[id]; k != nil {
		k.stop()
		delete(es.sinks, id)
	}
}

func (es *events) deliverAll(ctx context.Context, k *sink) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-k.queue:
			body, err := appendObject(nil, e.payload(k.sub.Context))
			if err == nil && !es.arrived(ctx, k, body) {
				return
			}
		}
	}
}

// arrived delivers a document, and reports false once the subscription has ended for that
// it did not arrive.
func (es *events) arrived(ctx context.Context, k *sink, body []byte) bool {
	if es.deliver(ctx, k.sub, body) || k.sub.Policy != terminateAfterRetries {
		return true
	}
	if err := es.service.replaceSubscription(ctx, k, nil); err != nil {
		es.service.cfg.Log.WarnContext(ctx, "redfish: subscription not forgotten", "subscription", k.sub.ID, "err", err)
	}
	es.drop(k.sub.ID)
	return false
}

// deliver POSTs one document, and tries again where that fails (DSP0266 §15.5). It reports
// whether that has arrived, or the delivery ended.
func (es *events) deliver(ctx context.Context, sub subscription, body []byte) bool {
	var err error
	for attempt := range deliveryAttempts {
		if err = es.post(ctx, sub, body); err == nil || ctx.Err() != nil {
			return true
		}
		if attempt == deliveryAttempts-1 {
			break
		}
		select {
		case <-ctx.Done():
			return true
		case <-time.After(es.interval):
		}
	}
	es.service.cfg.Log.WarnContext(ctx, "redfish: event not delivered; dropped", "subscription", sub.ID, "err", err)
	return false
}

func (es *events) post(ctx context.Context, sub subscription, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, sub.Destination, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("event destination: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	for key, value := range sub.Headers {
		r.Header.Set(key, value)
	}
	client := es.lax
	if sub.Verify {
		client = es.verifying
	}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("event destination: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("event destination: status %d", answer.StatusCode)
	}
	return nil
}

// visible returns the sinks that a caller sees, by ID.
func (es *events) visible(c *Caller) []*sink {
	es.mu.Lock()
	defer es.mu.Unlock()
	var out []*sink
	for _, k := range es.sinks {
		if c.covers(k.sub.Systems) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b *sink) int { return strings.Compare(a.sub.ID, b.sub.ID) })
	return out
}

// leave ends the deliveries of subscriptions that went with a system.
func (es *events) leave(system string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for id, k := range es.sinks {
		if k.home == system && !k.stream {
			k.stop()
			delete(es.sinks, id)
		}
	}
}

// isDestination checks the URL of a subscription.
func isDestination(v any) bool {
	s, _ := v.(string)
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func newID() string {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}
