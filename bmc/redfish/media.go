package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

// A mediaSlot is one of a system's drives.
type mediaSlot struct {
	id, name string
	types    []string
	// device is the drive as bmc.DriveOf knows it; key is where what clients set of it is
	// kept.
	device state.BootDevice
	key    string
}

var (
	slotCD  = mediaSlot{id: "Cd", name: "Virtual CD", types: []string{"CD", "DVD"}, device: state.BootCDROM, key: "redfish/media"}
	slotUSB = mediaSlot{id: "USB", name: "Virtual USB Stick", types: []string{"USBStick"}, device: state.BootUSB, key: "redfish/media-usb"}
)

// slotsOf are the drives that a chassis has.
func slotsOf(c bmc.Chassis) []mediaSlot {
	return slices.DeleteFunc([]mediaSlot{slotCD, slotUSB}, func(s mediaSlot) bool { return bmc.DriveOf(c, s.device) == nil })
}

// slotOf is the slot of a boot device that takes media.
func slotOf(device state.BootDevice) (s mediaSlot, ok bool) {
	switch device {
	case slotCD.device:
		return slotCD, true
	case slotUSB.device:
		return slotUSB, true
	case state.BootNone, state.BootPXE, state.BootDisk, state.BootSetup, state.BootSafe:
	}
	return s, false
}

// drive is the slot's, which it has while the resource is there; one that went meanwhile
// is busy.
func (s mediaSlot) drive(c bmc.Chassis) (bmc.Drive, error) {
	if d := bmc.DriveOf(c, s.device); d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("virtual media %s: %w", s.id, state.ErrBusy)
}

func (s mediaSlot) settings(sys System) mediaSettings { return recall[mediaSettings](sys, s.key) }

// mediaSettings is what clients set of a drive, besides what is in it.
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

// mediaTable has the CD-ROM drive and the USB stick under the system and, for old clients,
// under its manager.
func mediaTable() []Resource {
	return append(mediaRows(systemsPath+"/{system}", ConfigureComponents), mediaRows(managersPath+"/{system}", ConfigureManager)...)
}

func mediaRows(parent string, change Privilege) []Resource {
	rows := []Resource{
		{Path: parent + "/VirtualMedia", Type: "#VirtualMediaCollection.VirtualMediaCollection", Link: "VirtualMedia", Name: "Virtual Media",
			Members: func(r *Request) (ids []string, _ error) {
				for _, s := range slotsOf(r.Chassis()) {
					ids = append(ids, s.id)
				}
				return ids, nil
			}},
	}
	for _, s := range []mediaSlot{slotCD, slotUSB} {
		rows = append(rows, s.row(parent, change))
		if parent == systemsPath+"/{system}" { // the schema has certificates there only
			rows = append(rows, s.certificateRows(parent, change)...)
		}
	}
	return rows
}

func (s mediaSlot) row(parent string, change Privilege) Resource {
	return Resource{Path: parent + "/VirtualMedia/" + s.id, Type: "#VirtualMedia.v1_6_3.VirtualMedia", Change: change,
		Present: func(r *Request) bool { return bmc.DriveOf(r.Chassis(), s.device) != nil },
		Get:     s.get, Writable: mediaRules(false), Patch: s.patch,
		Actions: []Action{
			{Name: "VirtualMedia.InsertMedia", Parameters: mediaRules(true), Do: s.insert},
			{Name: "VirtualMedia.EjectMedia", Do: func(r *Request, _ Values) (*Result, error) { return nil, s.eject(r, "") }},
		}}
}

func (s mediaSlot) certificateRows(parent string, change Privilege) []Resource {
	rows := certificateRows(parent+"/VirtualMedia/"+s.id+"/Certificates", change, certificateStore{
		all: func(r *Request) []keptCertificate { return s.settings(r.System).Certificates },
		revise: func(r *Request, change func([]keptCertificate, int) ([]keptCertificate, int, error)) error {
			return s.revise(r, func(m *mediaSettings) (err error) {
				m.Certificates, m.Last, err = change(m.Certificates, m.Last)
				return err
			})
		},
	})
	for i := range rows {
		rows[i].Present = s.with(rows[i].Present)
	}
	return rows
}

// with is present where the drive is, too.
func (s mediaSlot) with(present func(*Request) bool) func(*Request) bool {
	return func(r *Request) bool {
		return bmc.DriveOf(r.Chassis(), s.device) != nil && (present == nil || present(r))
	}
}

func (s mediaSlot) revise(r *Request, change func(*mediaSettings) error) error {
	return revise(r.Context(), r.Service, r.System, s.key, change)
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

func (s mediaSlot) get(r *Request) (Object, error) {
	d, err := s.drive(r.Chassis())
	if err != nil {
		return nil, err
	}
	is, set := d.Media(), s.settings(r.System)
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
	return Object{{"Id", s.id}, {"Name", s.name}, {"MediaTypes", s.types}, {"ConnectedVia", connected}, {"Inserted", is.Inserted},
		{"Image", image}, {"ImageName", name}, {"WriteProtected", true}, {"UserName", user}, {"Password", nil},
		{"Certificates", link(r.systemPath() + "/VirtualMedia/" + s.id + "/Certificates")},
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
		return wanted{}, incorrect("WriteProtected", "false") // no drive is ever written
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

func (s mediaSlot) insert(r *Request, v Values) (*Result, error) {
	image, _ := v.String("Image")
	want, err := wantedImage(v, image, "InsertMedia")
	if err != nil {
		return nil, err
	}
	if inserted, given := v.Bool("Inserted"); given && !inserted {
		return nil, s.park(r, want)
	}
	return s.fetch(r, want)
}

// park has an image in the resource that is not inserted.
func (s mediaSlot) park(r *Request, want wanted) error {
	if err := s.eject(r, want.shown); err != nil {
		return err
	}
	return s.revise(r, func(m *mediaSettings) error {
		m.UserName = want.Username
		return nil
	})
}

// eject empties the drive; the image stays one that is not inserted unless it is
// empty.
func (s mediaSlot) eject(r *Request, image string) error {
	d, err := s.drive(r.Chassis())
	if err != nil {
		return err
	}
	if err := d.EjectMedia(r.Context()); err != nil {
		return err
	}
	r.Service.insertions.forget(r.System.ID, s)
	set := s.settings(r.System)
	if set.Image == image && (image != "" || set.UserName == "") {
		return nil
	}
	return s.revise(r, func(m *mediaSettings) error {
		if m.Image = image; image == "" {
			m.UserName = ""
		}
		return nil
	})
}

// fetch inserts an image. What takes long, or is asked for with "Prefer:
// respond-async" (RFC 7240), becomes a task. It goes on without the client.
func (s mediaSlot) fetch(r *Request, want wanted) (*Result, error) {
	set := s.settings(r.System)
	want.VerifyCertificate, want.CACert = set.Verify, bundle(set.Certificates)
	is := &r.Service.insertions
	in, err := r.Service.beginInsert(r.System, s, want)
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

// insertImage puts an image into a drive, and remembers whose it is.
func (s *Service) insertImage(ctx context.Context, sys System, slot mediaSlot, want wanted) error {
	d, err := slot.drive(sys.Chassis)
	if err == nil {
		err = d.InsertMedia(ctx, want.Media)
	}
	if err != nil {
		return fmt.Errorf("system %s: %w", sys.ID, err)
	}
	return revise(ctx, s, sys, slot.key, func(m *mediaSettings) error {
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

// patch does what the actions do: an Image is inserted unless Inserted is false.
func (s mediaSlot) patch(r *Request, v Values) error {
	if verify, given := v.Bool("VerifyCertificate"); given {
		err := s.revise(r, func(m *mediaSettings) error {
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
		return s.patchInserted(r, v)
	case !isName:
		return s.eject(r, "")
	}
	want, err := wantedImage(v, name, "")
	if err != nil {
		return err
	}
	if inserted, given := v.Bool("Inserted"); given && !inserted {
		return s.park(r, want)
	}
	r.Instead, err = s.fetch(r, want)
	return err
}

// patchInserted takes the image out, or puts the one that was taken out in.
func (s mediaSlot) patchInserted(r *Request, v Values) error {
	d, err := s.drive(r.Chassis())
	if err != nil {
		return err
	}
	is, parked := d.Media(), s.settings(r.System).Image
	inserted, given := v.Bool("Inserted")
	switch {
	case given && !inserted && is.Inserted:
		return s.eject(r, is.URL)
	case given && inserted && !is.Inserted && parked == "":
		return fail(http.StatusBadRequest, msg("PropertyMissing", "Image").about("Image"))
	case given && inserted && !is.Inserted:
		want, err := wantedImage(v, parked, "")
		if err != nil {
			return err
		}
		r.Instead, err = s.fetch(r, want)
		return err
	}
	_, err = wantedImage(v, "http://localhost", "") // what there is beside the image
	return err
}
