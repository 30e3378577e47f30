package cmd_test

import (
	"regexp"
	"strings"
	"testing"

	"tenks/config"
)

// yamlBlock is a block of YAML in Markdown, and shown the file that a console session shows.
var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	shown     = regexp.MustCompile(`(?ms)^# cat \S+\.yml\n(.*?)^# `)
)

// around is what a reader has around an example that is part of a file.
const around = `cluster: around
ironic: {cloud: mycloud}
node_types:
  compute: {memory_mb: 4096, vcpus: 2, volumes: [{capacity: 20GiB}]}
specs: [{type: compute, count: 1}]
`

// An example that a reader copies is one that is accepted.
func TestExamplesOfClusterFilesInNotesAreAccepted(t *testing.T) {
	for name, want := range map[string]int{"README.md": 1, "docs/cluster-file.md": 3, "docs/ironic.md": 1} {
		b := text(t, name)
		found := append(yamlBlock.FindAllStringSubmatch(b, -1), shown.FindAllStringSubmatch(b, -1)...)
		if len(found) < want {
			t.Errorf("%s: %d examples, want %d", name, len(found), want)
		}
		for _, m := range found {
			example := m[1]
			if !strings.Contains(example, "cluster: ") {
				example = around + example
				if strings.Contains(m[1], "node_types:") {
					example = "cluster: around\nironic: {cloud: mycloud}\n" + m[1]
				}
			}
			if _, err := config.LoadCluster(name, []byte(example)); err != nil {
				t.Errorf("%v:\n%s", err, example)
			}
		}
	}
}

var (
	// command is a command of ours in Markdown, in a line or in a session, and flag one of its flags.
	command = regexp.MustCompile("`tenks [^`\n]*`|(?m)^\\S*[#$] (?:bin/)?tenks .*$")
	flag    = regexp.MustCompile(`--[a-z][a-z-]+`)
)

// A flag that a reader is told of is one that there is.
func TestFlagsThatNotesNameExist(t *testing.T) {
	help, checked := text(t, "cmd/tenks/testdata/help.golden"), 0
	for _, file := range files(t) {
		if !strings.HasSuffix(file, ".md") {
			continue
		}
		for _, line := range command.FindAllString(text(t, file), -1) {
			for _, name := range flag.FindAllString(line, -1) {
				checked++
				if !regexp.MustCompile(name + `\b[^-]`).MatchString(help) {
					t.Errorf("%s: %s: there is no %s", file, line, name)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d flags found", checked)
	}
}
