package state

import (
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	tests := map[string]struct{ text, hex, err string }{
		"text":          {"secret", "736563726574" + strings.Repeat("00", 14), ""},
		"twenty":        {"12345678901234567890", "3132333435363738393031323334353637383930", ""},
		"digits":        {"0xFF00", "ff00" + strings.Repeat("00", 18), ""},
		"forty digits":  {"0x" + strings.Repeat("ab", 20), strings.Repeat("ab", 20), ""},
		"nothing":       {"", "", "want 1 to 20 characters"},
		"no digits":     {"0x", "", "want 1 to 20 characters"},
		"too long":      {strings.Repeat("k", 21), "", "want 1 to 20 characters"},
		"an odd number": {"0xabc", "", "even number of hexadecimal digits"},
		"not ASCII":     {"schlüssel", "", "want printable ASCII"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			key, err := ParseKey(tt.text)
			if got := (Account{Key: key}).KeyHex(); got != tt.hex {
				t.Errorf("%q, want %q", got, tt.hex)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}
