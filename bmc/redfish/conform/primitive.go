package conform

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	guid     = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	dateTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)
	// No years and no months (DSP0266 §9.3.8).
	duration = regexp.MustCompile(`^P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$`)
)

// primitive checks a value of a type of OData's (DSP0266 §9.3).
func (p *payload) primitive(path, typ string, n notes, v any) {
	p.report.Checked["values"]++
	switch typ {
	case "Edm.Boolean":
		if _, ok := v.(bool); !ok {
			p.fail(path, "type", "is %s, want true or false", show(v))
		}
	case "Edm.Int64", "Edm.Decimal":
		p.number(path, typ, n, v)
	case "Edm.PrimitiveType":
		switch v.(type) {
		case map[string]any, []any:
			p.fail(path, "type", "is %s, want a string, a number or a Boolean", show(v))
		}
	default:
		p.text(path, typ, n, v)
	}
}

func (p *payload) number(path, typ string, n notes, v any) {
	num, ok := v.(json.Number)
	if !ok {
		p.fail(path, "type", "is %s, want a number", show(v))
		return
	}
	if _, err := strconv.ParseInt(num.String(), 10, 64); typ == "Edm.Int64" && err != nil {
		p.fail(path, "type", "is %s, want an integer", num)
		return
	}
	f, err := num.Float64()
	if err != nil {
		p.fail(path, "type", "is %s, which is out of range", num)
	}
	if n.minimum != nil && f < *n.minimum {
		p.fail(path, "range", "is %s, less than %v", num, *n.minimum)
	}
	if n.maximum != nil && f > *n.maximum {
		p.fail(path, "range", "is %s, more than %v", num, *n.maximum)
	}
}

func (p *payload) text(path, typ string, n notes, v any) {
	s, ok := v.(string)
	if !ok {
		p.fail(path, "type", "is %s, want a string", show(v))
		return
	}
	if s == "" {
		// What clients write may be empty; anything else is left out, or null.
		if n.permission != "ReadWrite" || typ != "Edm.String" || n.pattern != nil && !n.pattern.MatchString(s) {
			p.fail(path, "empty-string", "is empty: leave it out, or say null")
		}
		return
	}
	if n.pattern != nil && !n.pattern.MatchString(s) {
		p.fail(path, "pattern", "%q does not fit %s", s, n.pattern)
	}
	if n.isURL && !isURL(s) {
		p.fail(path, "url", "%q is not a URL", s)
	}
	if want := format(typ, s); want != "" {
		p.fail(path, "format", "%q is not %s", s, want)
	}
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && !strings.ContainsAny(s, " \t\n") && (u.Scheme != "" || strings.HasPrefix(s, "/"))
}

// format returns what s should have been, or "".
func format(typ, s string) string {
	switch typ {
	case "Edm.Guid":
		if !guid.MatchString(s) {
			return "a UUID"
		}
	case "Edm.DateTimeOffset":
		if _, err := time.Parse(time.RFC3339, s); err != nil || !dateTime.MatchString(s) {
			return "a time with offset"
		}
	case "Edm.Duration":
		if !duration.MatchString(s) || strings.HasSuffix(s, "T") || s == "P" {
			return "a duration of days and smaller"
		}
	}
	return ""
}
