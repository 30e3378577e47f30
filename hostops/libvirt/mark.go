package libvirt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// markNS is the XML namespace of our mark in a domain's metadata.
const markNS = "https://tenks.dev/xmlns/1"

// mark says whose a domain is and what it was made from.
type mark struct {
	// Mesh is the mesh's ID.
	Mesh  string
	Epoch uint64
	// Digest is that of the spec.
	Digest string
	// Hardware is the fingerprint of what the domain was defined with; a domain that
	// has another one was changed by somebody else.
	Hardware string
	// Overlay is the print of the XML that was merged over it; empty: none was.
	Overlay string
	// Vars is only in the mark of a domain that moves: what was put into its UEFI variables.
	Vars vars
}

// xml returns the element, to be put into <metadata>.
func (m mark) xml() string {
	var b strings.Builder
	b.WriteString(`<tenks:node xmlns:tenks="` + markNS + `"`)
	all := [][2]string{{"mesh", m.Mesh}, {"epoch", strconv.FormatUint(m.Epoch, 10)}, {"digest", m.Digest}, {"hardware", m.Hardware}}
	if m.Overlay != "" {
		all = append(all, [2]string{"overlay", m.Overlay})
	}
	if m.Vars != (vars{}) {
		all = append(all, [2]string{"secure", strconv.FormatBool(m.Vars.Secure)}, [2]string{"keys", m.Vars.Keys}, [2]string{"keys-at", strconv.FormatUint(m.Vars.KeysAt, 10)})
	}
	for _, a := range all {
		b.WriteString(" " + a[0] + `="`)
		_ = xml.EscapeText(&b, []byte(a[1])) // a Builder takes everything
		b.WriteString(`"`)
	}
	b.WriteString("/>")
	return b.String()
}

// element is the mark without a namespace, as virDomainSetMetadata takes it.
func (m mark) element() string {
	return "<node" + strings.TrimPrefix(m.xml(), `<tenks:node xmlns:tenks="`+markNS+`"`)
}

// readMark finds our mark in the inside of <metadata>.
func readMark(metadata string) (m mark, ok bool, err error) {
	err = eachElement(metadata, func(e xml.StartElement, _ string) {
		if !isMark(e) {
			return
		}
		ok = true
		m = markOf(e)
	})
	return m, ok && err == nil, err
}

func isMark(e xml.StartElement) bool { return e.Name.Space == markNS && e.Name.Local == "node" }

func markOf(e xml.StartElement) mark {
	var m mark
	for _, a := range e.Attr {
		switch a.Name.Local {
		case "mesh":
			m.Mesh = a.Value
		case "epoch":
			m.Epoch, _ = strconv.ParseUint(a.Value, 10, 64) // what is no number is an old epoch
		case "digest":
			m.Digest = a.Value
		case "hardware":
			m.Hardware = a.Value
		case "overlay":
			m.Overlay = a.Value
		case "secure":
			m.Vars.Secure = a.Value == "true"
		case "keys":
			m.Vars.Keys = a.Value
		case "keys-at":
			m.Vars.KeysAt, _ = strconv.ParseUint(a.Value, 10, 64) // what is no number: they are set again
		}
	}
	return m
}

// replaceMark returns metadata with m instead of our mark, and all else as it is.
func replaceMark(metadata string, m mark) (string, error) {
	out := m.xml()
	err := eachElement(metadata, func(e xml.StartElement, text string) {
		if !isMark(e) {
			out += text
		}
	})
	return out, err
}

// eachElement calls on for each outermost element of a fragment with its text.
func eachElement(fragment string, on func(e xml.StartElement, text string)) error {
	d := xml.NewDecoder(strings.NewReader(fragment))
	for {
		begin := d.InputOffset()
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		e, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		e = e.Copy()
		if err := d.Skip(); err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		on(e, fragment[begin:d.InputOffset()])
	}
}
