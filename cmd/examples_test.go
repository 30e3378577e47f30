package cmd_test

import (
	"os"
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
		b, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		found := append(yamlBlock.FindAllStringSubmatch(string(b), -1), shown.FindAllStringSubmatch(string(b), -1)...)
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
