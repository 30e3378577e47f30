package redfish

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// listener collects the events that are delivered to it.
func listener(t *testing.T) (url string, got <-chan map[string]any) {
	t.Helper()
	events := make(chan map[string]any, 16) // more than any test has
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e map[string]any
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("event: %v", err)
		}
		e["secret"] = r.Header.Get("X-Secret")
		events <- e
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	return server.URL, events
}

func TestEventsAreDelivered(t *testing.T) {
	f := newFixture(t)
	url, got := listener(t)
	a := f.want(201, post, subscriptionsPath, map[string]any{"Destination": url, "Protocol": "Redfish", "Context": "mine", "EventTypes": []string{"StatusChange", "Alert"},
		"HttpHeaders": []any{map[string]string{"X-Secret": "s3cret"}}})
	if strings.Contains(a.Body.String(), "s3cret") {
		t.Errorf("a header is shown: %s", a.Body)
	}
	f.chassis[other].SetPower(state.PowerOn) // not of this account
	f.chassis[first].SetPower(state.PowerOn)
	e := answer{json: <-got}
	if e.at("Context") != "mine" || e.at("secret") != "s3cret" || e.at("Events/0/MessageId") != "ResourceEvent.1.3.ResourcePoweredOn" || e.at("Events/0/OriginOfCondition/@odata.id") != sys1 {
		t.Errorf("event: %v", e.json)
	}
	f.want(204, post, eventServicePath+"/Actions/EventService.SubmitTestEvent", `{"MessageId":"ResourceEvent.1.3.TestMessage"}`)
	if e = (answer{json: <-got}); e.at("Events/0/Message") != "Test message." {
		t.Errorf("test event: %v", e.json)
	}
	f.want(204, remove, a.Header().Get("Location"), nil)
	f.chassis[first].SetPower(state.PowerOff)
	select {
	case e := <-got:
		t.Errorf("after the end: %v", e)
	default:
	}
}

func TestSubscriptionsGoWhereTheirSystemGoes(t *testing.T) {
	f := newFixture(t)
	url, got := listener(t)
	f.want(201, post, subscriptionsPath, map[string]any{"Destination": url, "Protocol": "Redfish"})
	again := newFixture(t)
	systems, _ := f.fleet.All()
	again.fleet.set(systems)
	eventually(t, "the subscription elsewhere", func() bool {
		return again.want(200, get, subscriptionsPath, nil).at("Members@odata.count") == float64(1)
	})
	f.Close()
	systems[1].Chassis.(interface{ SetPower(p state.Power) }).SetPower(state.PowerOn)
	if e := (answer{json: <-got}); e.at("Events/0/MessageId") != "ResourceEvent.1.3.ResourcePoweredOn" {
		t.Errorf("event: %v", e.json)
	}
	again.fleet.set(systems[1:])
	eventually(t, "the subscription gone", func() bool {
		return again.want(200, get, subscriptionsPath, nil).at("Members@odata.count") == float64(0)
	})
}

func TestSubscriptionsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{
		`{"Destination":"file:///x","Protocol":"Redfish"}`, `{"Destination":"http://u:p@192.0.2.1/","Protocol":"Redfish"}`, `{"Protocol":"Redfish"}`,
		`{"Destination":"http://192.0.2.1/","Protocol":"SMTP"}`, `{"Destination":"http://192.0.2.1/","Protocol":"Redfish","HttpHeaders":[{"A":"b\r\nC: d"}]}`,
		`{"Destination":"http://192.0.2.1/","Protocol":"Redfish","HttpHeaders":["x"]}`, `{"Destination":"http://192.0.2.1/","Protocol":"Redfish","EventTypes":["Party"]}`,
	} {
		f.want(400, post, subscriptionsPath, body)
	}
	for range maxSubscriptions {
		f.want(201, post, subscriptionsPath, `{"Destination":"http://127.0.0.1:9/","Protocol":"Redfish"}`)
	}
	f.want(503, post, subscriptionsPath, `{"Destination":"http://127.0.0.1:9/","Protocol":"Redfish"}`)
}

func TestASubscriptionThatFailsMayEnd(t *testing.T) {
	f := newFixture(t)
	f.events.interval = 0
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	stays := f.want(201, post, subscriptionsPath, map[string]any{"Destination": gone.URL, "Protocol": "Redfish"}).Header().Get("Location")
	ends := f.want(201, post, subscriptionsPath, map[string]any{"Destination": gone.URL, "Protocol": "Redfish", "DeliveryRetryPolicy": "TerminateAfterRetries"}).Header().Get("Location")
	f.chassis[first].SetPower(state.PowerOn)
	eventually(t, "the end of the subscription", func() bool { return f.do(get, ends, nil).Code == 404 })
	f.want(200, get, stays, nil)
	if kept := recall[[]subscription](System{Chassis: f.chassis[first]}, subscriptionsKey); len(kept) != 1 {
		t.Errorf("kept: %+v", kept)
	}
}

func TestLocalDestinations(t *testing.T) {
	for address, local := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "169.254.169.254:80": true, "[fe80::1]:80": true, "0.0.0.0:80": true,
		"[::ffff:127.0.0.1]:80": true, "192.0.2.1:80": false, "10.0.0.1:443": false, "[2001:db8::1]:443": false} {
		if got := remoteOnly(address) != nil; got != local {
			t.Errorf("%s: refused %v, want %v", address, got, local)
		}
	}
}

func TestServerSentEvents(t *testing.T) {
	f := newFixture(t)
	server := httptest.NewServer(f)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), get, server.URL+eventServicePath+"/SSE", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(f.user, f.password)
	a, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(a.Body)
	lines.Scan() // the comment that opens the stream
	if got := f.want(200, get, subscriptionsPath, nil).at("Members@odata.count"); got != float64(1) {
		t.Errorf("got %v subscriptions, want that of the stream", got)
	}
	f.chassis[first].SetPower(state.PowerOn)
	var id, data string
	for found := false; !found && lines.Scan(); {
		if text, is := strings.CutPrefix(lines.Text(), "id: "); is {
			id = text
		}
		data, found = strings.CutPrefix(lines.Text(), "data: ")
	}
	if id == "" || !strings.Contains(data, "ResourcePoweredOn") {
		t.Errorf("stream: %q %q", id, data)
	}
	_ = a.Body.Close()
	eventually(t, "the stream's subscription gone", func() bool { return f.want(200, get, subscriptionsPath, nil).at("Members@odata.count") == float64(0) })
}

func TestChassisMadeAnewIsWatched(t *testing.T) {
	f := newFixture(t)
	systems, _ := f.fleet.All()
	fresh := newFixture(t).chassis[first]
	changed := append([]System(nil), systems...)
	changed[0].Chassis = fresh
	f.fleet.set(changed)
	eventually(t, "an entry of the new chassis", func() bool {
		fresh.SetPower(state.PowerOn)
		fresh.SetPower(state.PowerOff)
		return f.want(200, get, sys1+"/LogServices/EventLog/Entries", nil).at("Members@odata.count") != float64(0)
	})
	var _ bmc.Chassis = fresh
}
