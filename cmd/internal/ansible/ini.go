package ansible

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readINI reads an inventory in Ansible's INI form: "[group]", "[group:vars]" and
// "[group:children]", hosts with variables behind them, ranges such as hv[01:03].
func (im *importer) readINI(f File, inv *inventory) {
	s := bufio.NewScanner(bytes.NewReader(f.Data))
	s.Buffer(nil, maxBytes)
	section, what := "ungrouped", "hosts"
	for line := 1; s.Scan(); line++ {
		text := strings.TrimSpace(s.Text())
		at := &value{file: f.Name, line: line}
		switch {
		case text == "" || text[0] == '#' || text[0] == ';':
		case text[0] == '[':
			section, what = im.section(at, text)
			inv.group(section)
		case what == "children":
			inv.group(withoutComment(text))
			inv.group(section).children = append(inv.group(section).children, withoutComment(text))
		case what == "vars":
			im.groupVariable(at, text, inv.group(section))
		default:
			im.hostLine(at, text, inv, section)
		}
	}
	if err := s.Err(); err != nil {
		im.add(fault, &value{file: f.Name}, "", "%s", err)
	}
}

// section reads the head of a section: a group, and what of it follows.
func (im *importer) section(at *value, text string) (group, what string) {
	name, ok := strings.CutSuffix(strings.TrimSpace(withoutComment(text[1:])), "]")
	if !ok || name == "" {
		im.add(fault, at, "", "want a section such as [libvirt], found %.64q", text)
		return "ungrouped", "hosts"
	}
	group, what, _ = strings.Cut(name, ":")
	switch what {
	case "":
		return group, "hosts"
	case "hosts", "vars", "children":
		return group, what
	}
	im.add(fault, at, "", "section %.64q: only :vars and :children are known", name)
	return group, "hosts"
}

func (im *importer) groupVariable(at *value, text string, g *group) {
	key, val, ok := strings.Cut(text, "=")
	if !ok {
		im.add(fault, at, "", "want a variable such as bridge_type=linuxbridge, found %.64q", text)
		return
	}
	g.set(im.literal(at, strings.TrimSpace(key), strings.TrimSpace(val)))
}

func withoutComment(s string) string {
	s, _, _ = strings.Cut(s, " #")
	return strings.TrimSpace(s)
}

func (im *importer) hostLine(at *value, text string, inv *inventory, section string) {
	words, err := splitWords(text)
	if err != nil {
		im.add(fault, at, "", "%s", err)
		return
	}
	names, err := hostRange(words[0])
	if err != nil {
		im.add(fault, at, "", "%s", err)
		return
	}
	if len(inv.hosts)+len(names) > maxHosts {
		im.add(fault, at, "", "more than %d hosts", maxHosts)
		return
	}
	for _, name := range names {
		inv.host(section, name)
		for _, w := range words[1:] {
			key, val, ok := strings.Cut(w, "=")
			if !ok {
				im.add(fault, at, name, "want variables such as ansible_host=192.0.2.1 behind a host, found %.64q", w)
				continue
			}
			inv.setHost(name, im.literal(at, key, val))
		}
	}
}

// literal reads a variable's value as Ansible does, which takes Python's literals: YAML's
// flow style has the same form for all that is used.
func (im *importer) literal(at *value, key, text string) *value {
	var doc yaml.Node
	if strings.ContainsAny(text, "&*!|>%@`") || yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 {
		v := textValue(text).at(at)
		v.name = key
		return v
	}
	x := expander{im: im, file: at.file}
	v := x.expand(doc.Content[0], key, at.line)
	relocate(v, at.line)
	switch {
	case x.stopped != "":
		im.add(fault, at, key, "%s", x.stopped)
	case v.kind == mapping && isTemplate(text): // {{ x }} is a mapping of a mapping for YAML
		v = textValue(text).at(at)
		v.name = key
	}
	return v
}

func relocate(v *value, line int) {
	v.line = line
	for _, item := range v.items {
		relocate(item, line)
	}
}

// splitWords splits a line as a shell does; quotes may stand within a word.
func splitWords(s string) ([]string, error) {
	var w splitter
	for i := 0; i < len(s) && !w.comment; i++ {
		w.next(s[i])
	}
	if w.quote != 0 {
		return nil, fmt.Errorf("a quotation mark is not closed: %.64q", s)
	}
	w.end()
	return w.words, nil
}

// splitter is a line that is being split.
type splitter struct {
	words []string
	word  strings.Builder
	// inWord says that a word has begun, be it an empty one in quotes.
	inWord, comment bool
	quote           byte
}

func (w *splitter) next(c byte) {
	switch {
	case w.quote != 0 && c == w.quote:
		w.quote = 0
		return
	case w.quote != 0:
	case c == '"' || c == '\'':
		w.quote, w.inWord = c, true
		return
	case c == ' ' || c == '\t':
		w.end()
		return
	case c == '#' && !w.inWord:
		w.comment = true
		return
	}
	w.word.WriteByte(c)
	w.inWord = true
}

func (w *splitter) end() {
	if w.inWord {
		w.words = append(w.words, w.word.String())
	}
	w.word.Reset()
	w.inWord = false
}

const maxHosts = 10_000

// hostRange expands the first range of a host's name, as in hv[01:12] or hv[a:c].
func hostRange(s string) ([]string, error) {
	open := strings.IndexByte(s, '[')
	end := strings.IndexByte(s, ']')
	if open < 0 || end < open {
		return []string{s}, nil
	}
	parts := strings.Split(s[open+1:end], ":")
	bad := fmt.Errorf("host range %.64q: want one such as hv[01:12]", s)
	if len(parts) != 2 && len(parts) != 3 {
		return nil, bad
	}
	step := 1
	if len(parts) == 3 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 1 || n > maxHosts {
			return nil, bad
		}
		step = n
	}
	var out []string
	for _, middle := range counted(parts[0], parts[1], step) {
		out = append(out, s[:open]+middle+s[end+1:])
	}
	if out == nil {
		return nil, bad
	}
	return out, nil
}

// counted are the numbers, or letters, from first to last; nil: they are neither.
func counted(first, last string, step int) []string {
	var out []string
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err1 == nil && err2 == nil && from >= 0 && (to-from)/step < maxHosts {
		for n := from; n <= to; n += step {
			out = append(out, fmt.Sprintf("%0*d", len(first), n))
		}
	}
	if len(first) == 1 && len(last) == 1 && err1 != nil && err2 != nil {
		for c := int(first[0]); c <= int(last[0]); c += step {
			out = append(out, string(rune(c)))
		}
	}
	return out
}
