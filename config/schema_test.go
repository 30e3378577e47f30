package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// beyondSchema has the bad cluster files that JSON Schema lets pass, and why.
var beyondSchema = map[string]string{
	"bmc-addresses-families":       "addresses are only compared once they are read",
	"bmc-addresses-host-bits":      "addresses are only compared once they are read",
	"bmc-addresses-huge":           "addresses are only counted once they are read",
	"bmc-addresses-huge-sum":       "addresses are only counted once they are read",
	"bmc-addresses-overlap":        "addresses are only compared once they are read",
	"bmc-addresses-reversed":       "addresses are only compared once they are read",
	"bmc-addresses-unusable":       "the pattern does not know which addresses hosts have",
	"capacity-huge":                "sizes are only compared once their unit is applied",
	"capacity-small-text":          "sizes are only compared once their unit is applied",
	"count-total":                  "a sum over specs",
	"duplicate-key":                "JSON has lost the first of two equal keys",
	"duplicate-node-type":          "JSON has lost the first of two equal keys",
	"flavor-huge":                  "a bound of another key",
	"flavor-name-twice":            "equality but for the case",
	"flavor-node-type-unknown":     "a reference to another key of the file",
	"flavor-spec-ours":             "the pattern has no exceptions",
	"flavor-trait-both":            "a comparison of two lists",
	"extra-infinite":               "has no form in JSON",
	"ironic-endpoint-port":         "the pattern is no URL parser",
	"port-group-address-of-many":   "a sum over another key",
	"port-group-name-twice":        "equality of one key",
	"port-group-physnets":          "a reference to another key of the file",
	"port-group-port":              "a reference to another key of the file",
	"port-group-pxe":               "a reference to another key of the file",
	"port-group-shared-port":       "equality over items",
	"pxe-enabled-port":             "a reference to another key of the file",
	"network-data-address":         "depends on the count",
	"network-data-link":            "a reference to another key of the file",
	"network-data-port":            "a reference to another key of the file",
	"root-device-twice":            "one key in two places",
	"named-nodes-twice":            "compares nodes of several specs",
	"prefix-uuid":                  "depends on the numbers that follow the prefix",
	"machine-bus-nvme":             "which bus a volume is on is only known with its type",
	"machine-path-shared":          "a type is only looked at again where specs name it",
	"stop-after-short":             "times are only compared once their unit is applied",
	"spec-twice":                   "equality but for the count",
	"machine-bus-ide":              "depends on other keys of the type",
	"machine-bus-ide-five":         "a count over volumes",
	"machine-bus-scsi-many":        "a count over volumes",
	"machine-console-log":          "depends on other keys of the type",
	"machine-cpu-model-alone":      "depends on other keys of the type",
	"machine-cpu-model-missing":    "depends on other keys of the type",
	"machine-topology":             "a product of other keys",
	"machine-type-other-arch":      "depends on other keys of the type",
	"machine-volume-cdrom":         "depends on other keys of the volume",
	"machine-volume-copy-backing":  "depends on other keys of the volume",
	"machine-volume-format-raw":    "depends on other keys of the volume",
	"machine-volume-image-twice":   "depends on other keys of the volume",
	"pdu-unknown":                  "a reference to another key of the file",
	"spec-type-unknown":            "a reference to another key of the file",
	"spec-type-without-node-types": "a reference to another key of the file",
	"yaml-merge-scalar":            "merge keys are YAML's, and gone in JSON",
	"yaml-tag":                     "tags are YAML's, and gone in JSON",
	"yaml-key-is-a-list":           "has no form in JSON",
	"yaml-alias-bomb":              "not readable as JSON in bounds",
	"yaml-alias-loop":              "not readable as JSON in bounds",
	"yaml-indent":                  "not YAML",
	"yaml-tab":                     "not YAML",
	"yaml-unclosed-list":           "not YAML",
	"yaml-unclosed-quote":          "not YAML",
	"yaml-two-colons":              "not YAML",
	"yaml-control-character":       "not YAML",
	"yaml-unknown-anchor":          "not YAML",
	"yaml-two-documents":           "not one document",
	"yaml-broken-second-document":  "not one document",
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("cluster.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON returns the values of a file as JSON has them; nil if it is not readable.
func asJSON(data []byte) any {
	r := &reader{}
	root := r.parse(data)
	if root == nil {
		return nil
	}
	return jsonOf(root)
}

func jsonOf(n *node) any {
	switch n.kind {
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = jsonOf(item)
		}
		return out
	case mapping:
		out := map[string]any{}
		for _, item := range n.items {
			out[item.name] = jsonOf(item)
		}
		return out
	case null:
		return nil
	}
	switch {
	case n.tag == "!!bool":
		return n.text == "true"
	case n.isText():
		return n.text
	}
	if v, err := strconv.ParseInt(n.text, 0, 64); err == nil {
		return json.Number(strconv.FormatInt(v, 10))
	}
	return json.Number(n.text)
}

func TestSchemaIsDraft2020AndStable(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", doc["$schema"])
	}
	if !bytes.Equal(Schema(), Schema()) {
		t.Error("two calls differ")
	}
	for _, want := range []string{`"default": "tk"`, `"default": "uefi"`, `"default": "hold"`, `"rescue_interface"`} {
		if !bytes.Contains(Schema(), []byte(want)) {
			t.Errorf("schema has no %s", want)
		}
	}
}

func TestSchemaTakesEveryGoodFile(t *testing.T) {
	s := compileSchema(t)
	files, _ := filepath.Glob("testdata/cluster.*good.yml")
	for _, path := range files {
		if err := s.Validate(asJSON(readFile(t, path))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(files) < 5 {
		t.Errorf("%d good files, want at least 5", len(files))
	}
}

func TestSchemaRefusesEveryBadFileThatItCan(t *testing.T) {
	s := compileSchema(t)
	files, _ := filepath.Glob("testdata/cluster.*.bad.yml")
	refused, seen := 0, map[string]bool{}
	for _, path := range files {
		rule := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "cluster."), ".bad.yml")
		seen[rule] = true
		value := asJSON(readFile(t, path))
		reason, beyond := beyondSchema[rule]
		if strings.HasPrefix(reason, "not ") {
			if value != nil {
				t.Errorf("%s is %q, but was read as %v", path, reason, value)
			}
			continue
		}
		err := s.Validate(value)
		if beyond && err != nil {
			t.Errorf("%s: refused (%v), although beyond JSON Schema: %s", path, err, reason)
		}
		if !beyond && err == nil {
			t.Errorf("%s: taken, want refused", path)
		}
		if err != nil {
			refused++
		}
	}
	for rule := range beyondSchema {
		if !seen[rule] {
			t.Errorf("exception %q has no file", rule)
		}
	}
	t.Logf("%d bad files: %d refused by the schema, %d beyond it", len(files), refused, len(beyondSchema))
}
