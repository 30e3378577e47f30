package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
	"golang.org/x/term"
)

// table is what people see of data.
type table struct {
	head []string
	rows [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// checkOutput refuses an --output that print does not know, before anything is done.
func (t *tool) checkOutput() error {
	switch t.output {
	case "table", "json", "yaml":
		return nil
	}
	return usagef("--output %q: not one of table, json, yaml", t.output)
}

// print writes data as --output says; only the table form uses tab.
func (t *tool) print(data any, tab func() table) error {
	switch t.output {
	case "json":
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(data)
	case "yaml":
		return writeYAML(t.out, data)
	}
	return writeTable(t.out, tab())
}

// writeYAML goes through JSON, so that both forms have the same keys.
func writeYAML(w io.Writer, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return err
	}
	return e.Close()
}

func writeTable(w io.Writer, t table) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(t.head) > 0 {
		if _, err := fmt.Fprintln(tw, strings.Join(t.head, "\t")); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		for i, cell := range r {
			if cell == "" {
				r[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(tw, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// progress shows how far long work is: one line that is written over on a
// terminal, a plain line per change elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
}

func (t *tool) progress() *progress {
	f, ok := t.err.(*os.File)
	return &progress{w: t.err, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) show(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if line == p.last {
		return
	}
	p.last = line
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// done leaves the last line standing.
func (p *progress) done() {
	if p.terminal && p.last != "" {
		fmt.Fprintln(p.w)
	}
}

// bar draws n of total in 20 characters.
func bar(n, total int) string {
	const width = 20
	if total <= 0 {
		return strings.Repeat("=", width)
	}
	full := width * n / total
	return strings.Repeat("=", full) + strings.Repeat(" ", width-full)
}
