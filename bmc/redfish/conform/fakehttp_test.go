package conform

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// serve answers a request that was let in. f.mu is held.
func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	uri := r.URL.Path
	if uri == "/redfish/v1" {
		uri = rootURI
	}
	if f.is("root differs") && r.URL.Path == "/redfish/v1" {
		uri = "/redfish"
	}
	if uri == sessionsURI {
		f.docs[uri] = list("Session", sessionsURI, slices.Sorted(maps.Keys(f.ids()))...)
	}
	body, _ := io.ReadAll(r.Body) // a short body is no JSON
	doc, ok := f.docs[uri]
	switch {
	case strings.HasSuffix(uri, "/Actions/Widget.Spin"):
		f.action(w, r, body)
	case r.Method == http.MethodPost && (uri == sessionsURI || uri == sessionsURI+"/Members"):
		f.login(w, body)
	case !ok:
		f.refuse(w, http.StatusNotFound, "ResourceMissingAtURI", uri)
	case r.URL.RawQuery != "" && strings.Contains(f.docs[rootURI], "SelectQuery") && !f.is("any query") && !strings.Contains(r.URL.RawQuery, "unknown"):
		if !f.query(w, doc, r.URL.Query()) {
			f.refuse(w, http.StatusBadRequest, "QueryNotSupported")
		}
	case strings.Contains(r.URL.RawQuery, "$") && !f.is("any query"):
		f.refuse(w, http.StatusNotImplemented, "QueryNotSupported")
	default:
		f.resource(w, r, uri, doc, body)
	}
}

// ids are the last segments of the sessions' URIs.
func (f *fake) ids() map[string]bool {
	out := map[string]bool{}
	for uri := range f.sess {
		out[uri[strings.LastIndexByte(uri, '/')+1:]] = true
	}
	return out
}

func (f *fake) resource(w http.ResponseWriter, r *http.Request, uri, doc string, body []byte) {
	allow := "GET, HEAD"
	switch {
	case strings.HasPrefix(uri, widgetURI[:len(widgetURI)-1]) && !strings.HasSuffix(uri, "Info"):
		allow += ", PATCH"
	case uri == sessionsURI:
		allow += ", POST"
	case strings.HasPrefix(uri, sessionsURI):
		allow += ", DELETE"
	}
	if f.is("allows too much") && uri == widgetURI {
		allow += ", DELETE"
	}
	if f.is("no PATCH") && uri == widgetURI {
		allow = "GET, HEAD"
	}
	h := w.Header()
	h.Set("Allow", allow)
	tag := fmt.Sprintf(`W/"%d"`, len(doc))
	if !f.is("no ETag") {
		h.Set("ETag", tag)
	}
	var typed struct {
		Type string `json:"@odata.type"`
	}
	_ = json.Unmarshal([]byte(doc), &typed) // $metadata is XML
	if name := strings.TrimPrefix(typed.Type, "#"); name != "" && !f.is("no Link") {
		h.Set("Link", "<http://redfish.dmtf.org/schemas/v1/"+name[:strings.LastIndexByte(name, '.')]+".json>; rel=describedby")
	}
	if uri == metadataURI {
		h.Set("Content-Type", "application/xml")
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		f.get(w, r, tag, doc)
	case r.Method == http.MethodDelete && f.sess[uri] != "":
		delete(f.docs, uri)
		if !f.is("sessions stay") {
			delete(f.sess, uri)
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPatch && strings.Contains(allow, "PATCH"):
		f.patch(w, r, tag, body)
	case f.is("any method"):
		w.WriteHeader(http.StatusNoContent)
	default:
		if f.is("405 without Allow") {
			h.Del("Allow")
		}
		f.refuse(w, http.StatusMethodNotAllowed, "GeneralError")
	}
}

func (f *fake) get(w http.ResponseWriter, r *http.Request, tag, doc string) {
	if v := r.Header.Get("If-None-Match"); v != "" && strings.TrimPrefix(v, "W/") == strings.TrimPrefix(tag, "W/") && !f.is("no 304") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodHead && f.is("no HEAD") {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, doc) // the client has gone
}

func (f *fake) patch(w http.ResponseWriter, r *http.Request, tag string, body []byte) {
	v, err := decode(body)
	match := r.Header.Get("If-Match")
	bad, good := []string{}, 0
	for k, value := range v {
		_, text := value.(string)
		switch {
		case strings.HasPrefix(k, "@"):
		case k == "Tag" && text:
			good++
		default:
			bad = append(bad, k)
		}
	}
	switch {
	case f.is("PATCH takes anything"):
		w.WriteHeader(http.StatusNoContent)
	case err != nil || !strings.Contains(r.Header.Get("Content-Type"), "json"):
		f.refuse(w, http.StatusBadRequest, "MalformedJSON")
	case match != "" && match != "*" && strings.TrimPrefix(match, "W/") != strings.TrimPrefix(tag, "W/") && !f.is("no 412"):
		f.refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case f.is("weak only") && match != "" && match != "*" && !strings.HasPrefix(match, "W/"):
		f.refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case good > 0 && len(bad) > 0 && !f.is("mixed refused"):
		_, _ = io.WriteString(w, `{"NoSuchProperty@Message.ExtendedInfo":[{"MessageId":"Base.1.19.PropertyUnknown"}]}`) // the client has gone
	case good > 0 && len(bad) == 0:
		w.WriteHeader(http.StatusNoContent)
	case len(bad) > 0:
		key := "PropertyUnknown"
		if bad[0] == "Tag" {
			key = "PropertyValueTypeError"
		}
		f.refuse(w, http.StatusBadRequest, key, bad[0])
	default:
		f.refuse(w, http.StatusBadRequest, "NoOperation")
	}
}

func (f *fake) login(w http.ResponseWriter, body []byte) {
	v, err := decode(body)
	user, text := v["UserName"].(string)
	password, said := v["Password"].(string)
	switch {
	case err != nil:
		f.refuse(w, http.StatusBadRequest, "MalformedJSON")
	case v["UserName"] != nil && !text:
		f.refuse(w, http.StatusBadRequest, "PropertyValueTypeError", "UserName")
	case v["Oem"] != nil && f.is("creates anything"):
		w.WriteHeader(http.StatusCreated)
	case !said:
		f.refuse(w, http.StatusBadRequest, "CreateFailedMissingReqProperties", "Password")
	case user != fakeUser || password != fakePassword:
		f.refuse(w, http.StatusUnauthorized, "GeneralError")
	default:
		f.next++
		uri := fmt.Sprintf("%s/%d", sessionsURI, f.next)
		f.sess[uri] = fmt.Sprintf("0123456789abcdef0123456789-%d", f.next)
		f.docs[uri] = fmt.Sprintf(`{"@odata.id":%q,"@odata.type":"#Session.v1_0_0.Session","Id":"%d","Name":"Session","UserName":%q,"Password":null}`,
			uri, f.next, user)
		if f.is("password shown") {
			f.docs[uri] = strings.Replace(f.docs[uri], "null", quote(password), 1)
		}
		w.Header().Set("Location", uri)
		w.Header().Set("X-Auth-Token", f.sess[uri])
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, f.docs[uri]) // the client has gone
	}
}

func (f *fake) action(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Allow", "POST")
	v, err := decode(body)
	direction, text := v["Direction"].(string)
	switch {
	case r.Method != http.MethodPost:
		f.refuse(w, http.StatusMethodNotAllowed, "GeneralError")
	case f.is("action takes anything"):
		w.WriteHeader(http.StatusNoContent)
	case err != nil:
		f.refuse(w, http.StatusBadRequest, "MalformedJSON")
	case v["NoSuchParameter"] != nil:
		f.refuse(w, http.StatusBadRequest, "ActionParameterUnknown", "NoSuchParameter")
	case v["Direction"] == nil:
		f.refuse(w, http.StatusBadRequest, "ActionParameterMissing", "Direction")
	case !text:
		f.refuse(w, http.StatusBadRequest, "ActionParameterValueTypeError", "Direction")
	case direction != "Left" && direction != "Right":
		f.refuse(w, http.StatusBadRequest, "ActionParameterValueNotInList", "Direction")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
