package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// mediaKey is where what clients set of the drive is kept.
const mediaKey = "redfish/media"

// mediaSettings is what clients set of the drive, besides what is in it.
type mediaSettings struct {
	// Verify is VerifyCertificate; Certificates are what it trusts, by ID, none: the host's.
	Verify       bool `json:",omitempty"`
	Certificates []keptCertificate
	Last         int `json:",omitempty"`
	// UserName is who the image was fetched as. Passwords are not kept.
	UserName string `json:",omitempty"`
	// Image is one that is not inserted.
	Image string `json:",omitempty"`
}

// mediaTable has the CD-ROM drive under the system and, for old clients, under its
// manager. A USB stick is left out: no chassis has one.
func mediaTable() []Resource {
	return append(mediaRows(systemsPath+"/{system}", ConfigureComponents), mediaRows(managersPath+"/{system}", ConfigureManager)...)
}

func mediaRows(parent string, change Privilege) []Resource {
	base := parent + "/VirtualMedia"
	rows := []Resource{
		{Path: base, Type: "#VirtualMediaCollection.VirtualMediaCollection", Link: "VirtualMedia", Name: "Virtual Media",
			Members: func(*Request) ([]string, error) { return []string{"Cd"}, nil }},
		{Path: base + "/Cd", Type: "#VirtualMedia.v1_6_3.VirtualMedia", Get: getMedia, Writable: mediaRules(false), Patch: patchMedia, Change: change,
			Actions: []Action{
				{Name: "VirtualMedia.InsertMedia", Parameters: mediaRules(true), Do: insertMedia},
				{Name: "VirtualMedia.EjectMedia", Do: func(r *Request, _ Values) (*Result, error) { return nil, ejectMedia(r, "") }},
			}},
	}
	if parent == managersPath+"/{system}" {
		return rows // the schema has certificates under the system only
	}
	return append(rows, certificateRows(base+"/Cd/Certificates", change, certificateStore{
		all: func(r *Request) []keptCertificate { return recall[mediaSettings](r.System, mediaKey).Certificates },
		revise: func(r *Request, change func([]keptCertificate, int) ([]keptCertificate, int, error)) error {
			return revise(r.Context(), r.Service, r.System, mediaKey, func(m *mediaSettings) (err error) {
				m.Certificates, m.Last, err = change(m.Certificates, m.Last)
				return err
			})
		},
	})...)
}

// mediaRules are those of PATCH, or of InsertMedia.
func mediaRules(action bool) Rules {
	rules := Rules{
		"Image": {Kind: String, Max: 4096, Null: !action, Required: action}, "Inserted": {Kind: Bool}, "WriteProtected": {Kind: Bool},
		"UserName": {Kind: String, Max: 256, Null: true}, "Password": {Kind: String, Max: 1024, Null: true, Secret: true},
		"TransferMethod":       {Kind: String, Values: []string{"Upload", "Stream"}, Null: !action},
		"TransferProtocolType": {Kind: String, Values: []string{"HTTP", "HTTPS"}, Null: !action},
	}
	if !action {
		rules["VerifyCertificate"] = Rule{Kind: Bool}
	}
	return rules
}

func getMedia(r *Request) (Object, error) {
	is, set := r.Chassis().Media(), recall[mediaSettings](r.System, mediaKey)
	image, name, connected, user, protocol := any(nil), any(nil), "NotConnected", any(nil), any(nil)
	shown := set.Image
	if is.Inserted {
		shown, connected = is.URL, "URI"
	}
	if shown != "" {
		image = shown
		if base := nameOfImage(shown); base != "" {
			name = base
		}
		protocol = protocolOf(shown)
		if set.UserName != "" {
			user = set.UserName
		}
	}
	return Object{{"Id", "Cd"}, {"Name", "Virtual CD"}, {"MediaTypes", []string{"CD", "DVD"}}, {"ConnectedVia", connected}, {"Inserted", is.Inserted},
		{"Image", image}, {"ImageName", name}, {"WriteProtected", true}, {"UserName", user}, {"Password", nil},
		{"Certificates", link(r.systemPath() + "/VirtualMedia/Cd/Certificates")},
		{"TransferMethod", "Upload"}, {"TransferProtocolType", protocol}, {"VerifyCertificate", set.Verify}, {"Status", healthy()}}, nil
}

// nameOfImage is the last part of a URL's path.
func nameOfImage(image string) string {
	u, err := url.Parse(image)
	if err != nil {
		return ""
	}
	return u.Path[strings.LastIndexByte(u.Path, '/')+1:]
}

func protocolOf(image string) any {
	scheme, _, _ := strings.Cut(image, ":")
	switch scheme = strings.ToUpper(scheme); scheme {
	case "HTTP", "HTTPS":
		return scheme
	}
	return nil
}

// wanted is an image that a client asks for.
type wanted struct {
	bmc.Media
	// shown is the URL without user and password; action is empty for PATCH.
	shown, action string
}

// wantedImage checks what goes with an image.
func wantedImage(v Values, image, action string) (wanted, error) {
	incorrect := func(name, value string) error {
		if action == "" {
			return fail(http.StatusBadRequest, msg("PropertyValueIncorrect", name, value).about(name))
		}
		return fail(http.StatusBadRequest, msg("ActionParameterValueConflict", name, value).about(name))
	}
	if protected, given := v.Bool("WriteProtected"); given && !protected {
		return wanted{}, incorrect("WriteProtected", "false") // a CD-ROM is never written
	}
	protocol, given := v.String("TransferProtocolType")
	if given && !strings.Contains(image, "://") {
		image = strings.ToLower(protocol) + "://" + strings.TrimPrefix(image, "//")
	}
	u, err := url.Parse(image)
	if err != nil || !isBootURI(image) || image == "" {
		if action == "" {
			return wanted{}, fail(http.StatusBadRequest, msg("PropertyValueError", "Image").about("Image"))
		}
		return wanted{}, fail(http.StatusBadRequest, msg("ActionParameterValueError", "Image", action).about("Image"))
	}
	if given && !strings.EqualFold(u.Scheme, protocol) {
		return wanted{}, incorrect("TransferProtocolType", protocol)
	}
	out := wanted{Media: bmc.Media{URL: image}, action: action}
	out.Username, _ = v.String("UserName")
	if password, given := v.String("Password"); given {
		out.Password = state.NewSecret(password)
	}
	u.User, u.Fragment = nil, ""
	out.shown = u.String()
	return out, nil
}

func insertMedia(r *Request, v Values) (*Result, error) {
	image, _ := v.String("Image")
	want, err := wantedImage(v, image, "InsertMedia")
	if err != nil {
		return nil, err
	}
	if inserted, given := v.Bool("Inserted"); given && !inserted {
		return nil, parkImage(r, want)
	}
	return fetchMedia(r, want)
}

// parkImage has an image in the resource that is not inserted.
func parkImage(r *Request, want wanted) error {
	if err := ejectMedia(r, want.shown); err != nil {
		return err
	}
	return revise(r.Context(), r.Service, r.System, mediaKey, func(m *mediaSettings) error {
		m.UserName = want.Username
		return nil
	})
}

// ejectMedia empties the drive; the image stays one that is not inserted unless it is
// empty.
func ejectMedia(r *Request, image string) error {
	if err := r.Chassis().EjectMedia(r.Context()); err != nil {
		return err
	}
	r.Service.insertions.forget(r.System.ID)
	set := recall[mediaSettings](r.System, mediaKey)
	if set.Image == image && (image != "" || set.UserName == "") {
		return nil
	}
	return revise(r.Context(), r.Service, r.System, mediaKey, func(m *mediaSettings) error {
		if m.Image = image; image == "" {
			m.UserName = ""
		}
		return nil
	})
}

// fetchMedia inserts an image. What takes long, or is asked for with "Prefer:
// respond-async" (RFC 7240), becomes a task. It goes on without the client.
func fetchMedia(r *Request, want wanted) (*Result, error) {
	set := recall[mediaSettings](r.System, mediaKey)
	want.VerifyCertificate, want.CACert = set.Verify, bundle(set.Certificates)
	is := &r.Service.insertions
	in, err := r.Service.beginInsert(r.System, want)
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(asyncAfter(r.HTTP))
	defer wait.Stop()
	select {
	case <-in.done:
		return nil, want.refused(is.told(in))
	case <-r.Context().Done():
		return nil, unavailable(busyRetry)
	case <-wait.C:
	}
	return r.Start("Insert Media", func(ctx context.Context, _ *Task) error {
		select {
		case <-in.done:
			return want.refused(in.err)
		case <-ctx.Done():
			in.cancel()
			if <-in.done; in.err == nil {
				return nil // it was there already
			}
			return ctx.Err()
		}
	})
}

// asyncAfter is how long an answer waits: as long as the client prefers, at most.
func asyncAfter(r *http.Request) time.Duration {
	wait := mediaWait
	for _, header := range r.Header.Values("Prefer") {
		for part := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), "=")
			seconds, err := strconv.ParseUint(value, 10, 16)
			switch {
			case strings.EqualFold(name, "respond-async"):
				wait = 0
			case strings.EqualFold(name, "wait") && err == nil:
				return min(time.Duration(seconds)*time.Second, mediaWait)
			}
		}
	}
	return wait
}

// insertImage puts an image into the drive, and remembers whose it is.
func (s *Service) insertImage(ctx context.Context, sys System, want wanted) error {
	if err := sys.Chassis.InsertMedia(ctx, want.Media); err != nil {
		return fmt.Errorf("system %s: %w", sys.ID, err)
	}
	return revise(ctx, s, sys, mediaKey, func(m *mediaSettings) error {
		m.Image, m.UserName = "", want.Username
		return nil
	})
}

// refused says what kept an image from being inserted: what was asked for (400), or what
// the image's server did, which may be over later.
func (w wanted) refused(err error) error {
	switch {
	case err == nil, errors.Is(err, state.ErrBusy), errors.Is(err, state.ErrUnsupported), errors.Is(err, context.Canceled):
		return err
	case !errors.Is(err, state.ErrRefused):
		return &Error{Status: http.StatusInternalServerError, Messages: []Message{msg("CouldNotEstablishConnection", brief(w.shown)).about("Image")}, Cause: err}
	case w.action == "":
		return fail(http.StatusBadRequest, msg("PropertyValueError", "Image").about("Image"))
	}
	return fail(http.StatusBadRequest, msg("ActionParameterValueError", "Image", w.action).about("Image"))
}

// patchMedia does what the actions do: an Image is inserted unless Inserted is false.
func patchMedia(r *Request, v Values) error {
	if verify, given := v.Bool("VerifyCertificate"); given {
		err := revise(r.Context(), r.Service, r.System, mediaKey, func(m *mediaSettings) error {
			m.Verify = verify
			return nil
		})
		if err != nil {
			return err
		}
	}
	image, given := v["Image"]
	name, isName := image.(string)
	switch {
	case !given:
		return patchInserted(r, v)
	case !isName:
		return ejectMedia(r, "")
	}
	want, err := wantedImage(v, name, "")
	if err != nil {
		return err
	}
	if inserted, given := v.Bool("Inserted"); given && !inserted {
		return parkImage(r, want)
	}
	r.Instead, err = fetchMedia(r, want)
	return err
}

// patchInserted takes the image out, or puts the one that was taken out in.
func patchInserted(r *Request, v Values) error {
	is, parked := r.Chassis().Media(), recall[mediaSettings](r.System, mediaKey).Image
	inserted, given := v.Bool("Inserted")
	switch {
	case given && !inserted && is.Inserted:
		return ejectMedia(r, is.URL)
	case given && inserted && !is.Inserted && parked == "":
		return fail(http.StatusBadRequest, msg("PropertyMissing", "Image").about("Image"))
	case given && inserted && !is.Inserted:
		want, err := wantedImage(v, parked, "")
		if err != nil {
			return err
		}
		r.Instead, err = fetchMedia(r, want)
		return err
	}
	_, err := wantedImage(v, "http://localhost", "") // what there is beside the image
	return err
}
