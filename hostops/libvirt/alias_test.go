package libvirt

import "testing"

func TestSerialAlias(t *testing.T) {
	for name, c := range map[string]struct{ xml, want string }{
		"one":     {`<domain><devices><serial type="pty"><alias name="serial0"/></serial></devices></domain>`, "serial0"},
		"off":     {`<domain><devices><serial type="pty"/></devices></domain>`, ""},
		"none":    {`<domain/>`, ""},
		"not XML": {`x`, ""},
	} {
		got, err := aliasIn(c.xml)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
	if got, want := breakCommand("serial0"), `{"execute":"chardev-send-break","arguments":{"id":"charserial0"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
