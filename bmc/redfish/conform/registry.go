package conform

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// registry is a message registry that the service serves (DSP0266 §9.11).
type registry struct {
	prefix, version string
	messages        map[string]any
}

// readRegistries finds the message registries among what was read.
func (c *crawl) readRegistries() {
	c.registry = map[string]*registry{}
	for _, r := range c.of("MessageRegistry") {
		prefix, _ := r.body["RegistryPrefix"].(string)
		v, _ := r.body["RegistryVersion"].(string)
		messages, _ := r.body["Messages"].(map[string]any)
		if prefix == "" || messages == nil {
			c.failf("registry", r.uri, "has no RegistryPrefix or no Messages")
			continue
		}
		reg := &registry{prefix: prefix, version: v, messages: messages}
		c.registry[prefix] = reg
		for _, id := range slices.Sorted(maps.Keys(messages)) {
			reg.check(c, r.uri, id)
		}
	}
	for _, r := range c.of("MessageRegistryFile") {
		c.checkRegistryFile(r)
	}
	if c.registry["Base"] == nil {
		c.failf("registry", rootURI+"Registries", "the Base registry is not served")
	}
}

// checkRegistryFile checks that the file's name is that of what it leads to.
func (c *crawl) checkRegistryFile(r *resource) {
	name, _ := r.body["Registry"].(string)
	locations, _ := r.body["Location"].([]any)
	if len(locations) == 0 {
		c.failf("registry", r.uri, "has no Location")
	}
	for _, l := range locations {
		uri, _ := at(l, "Uri").(string)
		if uri == "" && at(l, "PublicationUri") == nil {
			c.failf("registry", r.uri, "a Location has neither Uri nor PublicationUri")
		}
		end := c.resources[uri]
		if end == nil || end.body == nil {
			continue
		}
		prefix, _ := end.body["RegistryPrefix"].(string)
		v, _ := end.body["RegistryVersion"].(string)
		major, _, _ := strings.Cut(v, ".")
		minor := strings.Join(strings.SplitN(v, ".", 3)[:min(2, strings.Count(v, ".")+1)], ".")
		if prefix != "" && name != prefix+"."+minor && name != prefix+"."+major && name != prefix+"."+v {
			c.failf("registry", r.uri, "Registry is %q, but %s is version %s of %s", name, uri, v, prefix)
		}
	}
}

var argument = regexp.MustCompile(`%(\d+)`)

// check checks an entry: its text has as many arguments as it says.
func (reg *registry) check(c *crawl, uri, id string) {
	c.report.Checked["messages"]++
	text, _ := at(reg.messages[id], "Message").(string)
	n, ok := at(reg.messages[id], "NumberOfArgs").(json.Number)
	used := 0
	for _, m := range argument.FindAllStringSubmatch(text, -1) {
		i, _ := strconv.Atoi(m[1]) // the pattern has only digits
		used = max(used, i)
	}
	if want := strconv.Itoa(used); ok && n.String() != want {
		c.find(Finding{Resource: uri, Property: "Messages." + id, Rule: "registry", Text: fmt.Sprintf("says it has %s arguments, the text %s", n, want)})
	}
}

var messageID = regexp.MustCompile(`^([A-Za-z0-9_]+)\.(\d+\.\d+)(\.\d+)?\.([A-Za-z0-9_]+)$`)

// entry returns the registry's entry for a MessageId, and the problem if there is none.
func (c *crawl) entry(id string) (map[string]any, string) {
	m := messageID.FindStringSubmatch(id)
	if m == nil {
		return nil, fmt.Sprintf("MessageId %q: want Prefix.Major.Minor.Key", id)
	}
	reg := c.registry[m[1]]
	if reg == nil {
		return nil, fmt.Sprintf("MessageId %q: registry %s is not served", id, m[1])
	}
	if reg.version != m[2] && !strings.HasPrefix(reg.version, m[2]+".") {
		return nil, fmt.Sprintf("MessageId %q: the registry served is %s", id, reg.version)
	}
	entry, _ := reg.messages[m[4]].(map[string]any)
	if entry == nil {
		return nil, fmt.Sprintf("MessageId %q: not in the registry served", id)
	}
	return entry, ""
}

// checkMessage holds a message against the registry: text, arguments, severity.
func (c *crawl) checkMessage(where Finding, obj map[string]any) {
	c.report.Checked["messages"]++
	say := func(format string, args ...any) {
		where.Text = fmt.Sprintf(format, args...)
		c.find(where)
	}
	id, _ := obj["MessageId"].(string)
	entry, problem := c.entry(id)
	if entry == nil {
		say("%s", problem)
		return
	}
	text, _ := entry["Message"].(string)
	args, _ := obj["MessageArgs"].([]any)
	// From the back, so that %1 does not spoil %10.
	for i := len(args) - 1; i >= 0; i-- {
		s, _ := args[i].(string)
		text = strings.ReplaceAll(text, "%"+strconv.Itoa(i+1), s)
	}
	if got, _ := obj["Message"].(string); got != "" && got != text {
		say("%s: Message is %q, the registry says %q", id, got, text)
	}
	if n, ok := entry["NumberOfArgs"].(json.Number); ok && n.String() != strconv.Itoa(len(args)) {
		say("%s: %d MessageArgs, want %s", id, len(args), n)
	}
	want := cmp.Or(fmt.Sprint(entry["MessageSeverity"]), fmt.Sprint(entry["Severity"]))
	if got, ok := obj["MessageSeverity"].(string); ok && got != want {
		say("%s: MessageSeverity is %q, the registry says %q", id, got, want)
	}
}

// checkError checks an error (DSP0266 §9.4) and returns the keys of its messages.
func (c *crawl) checkError(q string, uri string, a answer) []string {
	where := Finding{Resource: uri, Property: q, Rule: "error"}
	say := func(format string, args ...any) {
		where.Text = fmt.Sprintf(format, args...)
		c.find(where)
	}
	e, _ := a.body["error"].(map[string]any)
	code, _ := e["code"].(string)
	text, _ := e["message"].(string)
	infos, _ := e["@Message.ExtendedInfo"].([]any)
	if e == nil || code == "" || text == "" || len(infos) == 0 {
		say("%d without error.code, error.message and error.@Message.ExtendedInfo: %.80s", a.status, a.raw)
		return nil
	}
	if t := a.header.Get("Content-Type"); !strings.HasPrefix(t, jsonType) {
		say("Content-Type is %q", t)
	}
	if _, problem := c.entry(code); problem != "" {
		say("code: %s", problem)
	}
	var keys []string
	p := &payload{schemas: c.schemas, report: &c.report, uri: uri}
	for i, info := range infos {
		path := fmt.Sprintf("%s error.@Message.ExtendedInfo[%d]", q, i)
		obj, _ := info.(map[string]any)
		delete(obj, "Severity") // deprecated, but what old clients read
		p.value(path, &prop{typ: "Message.Message"}, info)
		c.checkMessage(Finding{Resource: uri, Property: path, Rule: "message"}, obj)
		id, _ := obj["MessageId"].(string)
		keys = append(keys, id[strings.LastIndexByte(id, '.')+1:])
		if s, _ := obj["Resolution"].(string); s == "" {
			c.warnf("message", uri, "%s: %s has no Resolution", q, id)
		}
	}
	return keys
}

// expect makes a request that must be refused: with the status, and one of the
// messages if any are named.
func (c *crawl) expect(rule, name string, q request, status []int, keys ...string) answer {
	a := c.do(q)
	c.report.Checked["refusals"]++
	if c.err != nil {
		return a
	}
	name = q.method + " " + name
	if !slices.Contains(status, a.status) {
		c.find(Finding{Resource: q.uri, Property: name, Rule: rule, Text: fmt.Sprintf("answers %d, want %v", a.status, status)})
		return a
	}
	if q.method == http.MethodHead || a.status < 400 {
		return a
	}
	got := c.checkError(name, q.uri, a)
	if len(keys) > 0 && got != nil && !slices.ContainsFunc(got, func(k string) bool { return slices.Contains(keys, k) }) {
		c.find(Finding{Resource: q.uri, Property: name, Rule: rule, Text: fmt.Sprintf("message is %v, want one of %v", got, keys)})
	}
	return a
}

// checkMessages looks for messages in a resource, such as log entries, and holds them
// against the registries.
func (c *crawl) checkMessages(r *resource, path string, v any) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			c.checkMessages(r, fmt.Sprintf("%s[%d]", path, i), e)
		}
	case map[string]any:
		if id, ok := v["MessageId"].(string); ok && id != "" {
			c.checkMessage(Finding{Resource: r.uri, Property: join(path, "MessageId"), Rule: "message"}, v)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			c.checkMessages(r, join(path, key), v[key])
		}
	}
}
