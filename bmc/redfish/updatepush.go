package redfish

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// maxUpdate bounds an image that is pushed, in bytes.
	maxUpdate = 256 << 20
	// maxUpdateParameters and maxManifest bound what is kept of it meanwhile.
	maxUpdateParameters = 64 << 10
	maxManifest         = 64 << 10
	// pushTime is how long a push may take.
	pushTime = 10 * time.Minute
)

// manifest may be the image: a JSON object that says what it is.
type manifest struct{ Component, Version string }

// pushUpdate takes an image as multipart/form-data (DSP0266 §17.2.2). UpdateParameters come
// first, so that whoever has the system gets all of it from there on.
func pushUpdate(r *Request, w http.ResponseWriter) error {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(pushTime)) // there may be no connection
	media, params, err := mime.ParseMediaType(r.HTTP.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return fail(http.StatusUnsupportedMediaType, msg("HeaderInvalid", "Content-Type"))
	}
	body := http.MaxBytesReader(w, r.HTTP.Body, maxUpdate+maxUpdateParameters)
	tee := &tee{from: body}
	parts := multipart.NewReader(tee, params["boundary"])
	targets, err := updateParameters(parts)
	if err != nil {
		return err
	}
	up, err := targeted(r, targets)
	if err != nil {
		return err
	}
	if up.system.Chassis == nil {
		r.HTTP.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(tee.kept.Bytes()), body), r.HTTP.Body}
		return r.Service.forward(w, r, up.system)
	}
	tee.done()
	if up, err = up.file(parts); err != nil {
		return err
	}
	result, err := r.startUpdate(up)
	if err != nil {
		return err
	}
	return r.Service.answer(w, r, result)
}

// tee keeps what is read until done.
type tee struct {
	from io.Reader
	kept bytes.Buffer
	over bool
}

func (t *tee) Read(b []byte) (int, error) {
	n, err := t.from.Read(b)
	if !t.over {
		t.kept.Write(b[:n])
	}
	return n, err
}

func (t *tee) done() { t.over, t.kept = true, bytes.Buffer{} }

// pushProblem says what is wrong with a body that could not be read.
func pushProblem(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return fail(http.StatusRequestEntityTooLarge, msg("PayloadTooLarge"))
	}
	return fail(http.StatusBadRequest, msg("UnrecognizedRequestBody"))
}

// updateParameters reads the first part.
func updateParameters(parts *multipart.Reader) (targets []string, err error) {
	part, err := parts.NextPart()
	if err != nil {
		return nil, pushProblem(err)
	}
	if part.FormName() != "UpdateParameters" {
		return nil, fail(http.StatusBadRequest, msg("PropertyMissing", "UpdateParameters").about("UpdateParameters"))
	}
	raw, err := io.ReadAll(io.LimitReader(part, maxUpdateParameters+1))
	switch {
	case err != nil:
		return nil, pushProblem(err)
	case len(raw) > maxUpdateParameters:
		return nil, fail(http.StatusRequestEntityTooLarge, msg("PayloadTooLarge"))
	case len(bytes.TrimSpace(raw)) == 0:
		return nil, nil
	}
	body, err := decodeObject(raw)
	if err != nil {
		return nil, err
	}
	c := checker{}
	values := c.check(Rules{"Targets": {Kind: List, Max: 64, Elements: &Rule{Kind: String}}, "ForceUpdate": {Kind: Bool}, "@Redfish.OperationApplyTime": {Kind: Any}}, body, nil, "")
	if len(c.rejected) > 0 {
		return nil, fail(http.StatusBadRequest, c.rejected...)
	}
	targets, _ = values.Strings("Targets")
	return targets, nil
}

// file reads the image, of which nothing is kept but what it is.
func (up update) file(parts *multipart.Reader) (update, error) {
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return up, fail(http.StatusBadRequest, msg("PropertyMissing", "UpdateFile").about("UpdateFile"))
		case err != nil:
			return up, pushProblem(err)
		case part.FormName() != "UpdateFile":
			continue // such as OemParameters
		}
		head, err := io.ReadAll(io.LimitReader(part, maxManifest))
		if err != nil {
			return up, pushProblem(err)
		}
		size, err := io.Copy(io.Discard, part)
		if err != nil {
			return up, pushProblem(err)
		}
		if len(head) == 0 {
			return up, fail(http.StatusBadRequest, msg("PropertyValueError", "UpdateFile").about("UpdateFile"))
		}
		return up.image(path.Base(strings.ReplaceAll(part.FileName(), `\`, "/")), head, size == 0)
	}
}

// image says what an image is by its manifest, if it is one, or by its name.
func (up update) image(name string, head []byte, whole bool) (update, error) {
	var m manifest
	if whole && json.Unmarshal(head, &m) == nil && m.Version != "" {
		if m.Component != "" && !isComponent(m.Component) || len(up.components) > 0 && m.Component != "" && !slices.Contains(up.components, m.Component) {
			return up, fail(http.StatusBadRequest, msg("PropertyValueConflict", "UpdateFile", "UpdateParameters").about("UpdateFile"))
		}
		version := printable(m.Version)
		if up = up.of(name); m.Component != "" {
			up.components = []string{m.Component}
		}
		up.version = version[:min(len(version), maxVersion)]
		return up, nil
	}
	return up.of(name), nil
}
