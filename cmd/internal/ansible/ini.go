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
			name, ok := strings.CutSuffix(strings.TrimSpace(withoutComment(text[1:])), "]")
			if !ok || name == "" {
				im.add(fault, at, "", "want a section such as [libvirt], found %.64q", text)
				continue
			}
			section, what, _ = strings.Cut(name, ":")
			if what == "" {
				what = "hosts"
			}
			if what != "hosts" && what != "vars" && what != "children" {
				im.add(fault, at, "", "section %.64q: only :vars and :children are known", name)
				what = "hosts"
			}
			inv.group(section)
		case what == "children":
			inv.group(withoutComment(text))
			inv.group(section).children = append(inv.group(section).children, withoutComment(text))
		case what == "vars":
			key, val, ok := strings.Cut(text, "=")
			if !ok {
				im.add(fault, at, "", "want a variable such as bridge_type=linuxbridge, found %.64q", text)
				continue
			}
			inv.group(section).set(im.literal(at, strings.TrimSpace(key), strings.TrimSpace(val)))
		default:
			im.hostLine(at, text, inv, section)
		}
	}
	if err := s.Err(); err != nil {
		im.add(fault, &value{file: f.Name}, "", "%s", err)
	}
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
	var out []string
	var b strings.Builder
	inWord := false
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				out = append(out, b.String())
			}
			b.Reset()
			inWord = false
		case quote == 0 && c == '#' && !inWord:
			i = len(s)
		default:
			b.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quotation mark is not closed: %.64q", s)
	}
	if inWord {
		out = append(out, b.String())
	}
	return out, nil
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
	first, err1 := strconv.Atoi(parts[0])
	last, err2 := strconv.Atoi(parts[1])
	switch {
	case err1 == nil && err2 == nil && first >= 0 && last >= first && (last-first)/step < maxHosts:
		for n := first; n <= last; n += step {
			out = append(out, fmt.Sprintf("%s%0*d%s", s[:open], len(parts[0]), n, s[end+1:]))
		}
	case len(parts[0]) == 1 && len(parts[1]) == 1 && err1 != nil && err2 != nil && parts[0] <= parts[1]:
		for c := int(parts[0][0]); c <= int(parts[1][0]); c += step {
			out = append(out, s[:open]+string(rune(c))+s[end+1:])
		}
	default:
		return nil, bad
	}
	return out, nil
}
