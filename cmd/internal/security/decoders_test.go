package security

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decodes is what a package does that reads what somebody else wrote.
var decodes = regexp.MustCompile(`json\.(Unmarshal|NewDecoder)|\.Unmarshal\(|yaml\.NewDecoder|xml\.NewDecoder|decoder\.|codec\.NewDecoder|gob\.NewDecoder|` +
	`x509\.Parse|pem\.Decode|binary\.(Big|Little)Endian\.Uint|netip\.ParseAddr\(|raft\.NewNetworkTransport`)

// decoders has the fuzz tests of each package that decodes what comes from the network or
// from another host, or why it has none.
var decoders = map[string]struct {
	fuzzed []string
	why    string
}{
	"bmc/address":           {fuzzed: []string{"FuzzParseARP", "FuzzParseAdvertisement", "FuzzParseRecord"}},
	"bmc/ipmi":              {fuzzed: []string{"FuzzPacket", "FuzzLogin", "FuzzCommand", "FuzzSealed", "FuzzMemory", "FuzzFRU", "FuzzSEL", "FuzzSDR", "FuzzSOL", "FuzzV15"}},
	"bmc/pdu":               {fuzzed: []string{"FuzzDatagram", "FuzzOperation"}},
	"bmc/redfish":           {fuzzed: []string{"FuzzURI", "FuzzBody", "FuzzFilter", "FuzzAuthorization", "FuzzPushUpdate", "FuzzVersion", "FuzzCertificate"}},
	"cluster":               {fuzzed: []string{"FuzzFrame", "FuzzJoin", "FuzzAnswers", "FuzzParseGeneration"}},
	"cluster/consensus":     {fuzzed: []string{"FuzzWire"}},
	"cluster/gossip":        {fuzzed: []string{"FuzzMeta", "FuzzState"}},
	"cluster/pki":           {fuzzed: []string{"FuzzParseToken", "FuzzParseBundle", "FuzzLoadAuthority", "FuzzIssue"}},
	"cmd/internal/ansible":  {fuzzed: []string{"FuzzOverride", "FuzzInventory", "FuzzState", "FuzzExpression"}},
	"cmd/internal/api":      {fuzzed: []string{"FuzzRequests"}},
	"cmd/internal/daemon":   {fuzzed: []string{"FuzzLuggage", "FuzzProgress"}},
	"config":                {fuzzed: []string{"FuzzLoadCluster", "FuzzLoadAgent"}},
	"hostops/libvirt":       {fuzzed: []string{"FuzzNoted", "FuzzMark"}},
	"ironic":                {fuzzed: []string{"FuzzIronicAnswers"}},
	"ironic/internal/cloud": {fuzzed: []string{"FuzzAnswers"}},
	"raftfsm":               {fuzzed: []string{"FuzzDecode", "FuzzRestore", "FuzzAnswer", "FuzzDecodePart"}},
	"bmc/bmcbench":          {why: "answers of its own child process; only for benchmarks"},
	"bmc/redfish/clients":   {why: "answers of the service that it tests; only for tests"},
	"bmc/redfish/conform":   {why: "answers of the service that it tests; only for tests"},
	"bmc/endpoint":          {why: "addresses of the state, which is decoded already"},
	"cmd/internal/declare":  {why: "addresses of the state, which is decoded already"},
	"raftfsm/state":         {why: "addresses of its rows, which are decoded already"},
	"sched":                 {why: "addresses of the state, which is decoded already"},
	"cmd/internal/client":   {why: "answers of this host's own agent, by a socket that only root makes"},
	"cmd/internal/testsum":  {why: "reads what go test prints"},
	"cmd/tenks":             {why: "files and input of who runs it"},
	"hostops":               {why: "its own database, in a directory of root's"},
	"hostops/fake":          {why: "its own file; only for tests"},
	"hostops/link":          {why: "addresses that the state was checked for when it was declared"},

	"hostops/libvirt/varstore": {fuzzed: []string{"FuzzParse"}},
	"hostops/libvirt/overlay":  {fuzzed: []string{"FuzzMerge"}},
}

func TestSecurityEveryDecoderThatFacesTheNetworkIsFuzzed(t *testing.T) {
	t.Parallel()
	found, fuzz := scan(t)
	for pkg, call := range found {
		d, known := decoders[pkg]
		if !known {
			t.Errorf("%s decodes (%s) and is not in the list: name its fuzz tests, or why it needs none", pkg, call)
		}
		if known && len(d.fuzzed) == 0 && d.why == "" {
			t.Errorf("%s: neither a fuzz test nor a reason", pkg)
		}
	}
	for pkg, d := range decoders {
		for _, name := range d.fuzzed {
			if !slices.Contains(fuzz[pkg], name) {
				t.Errorf("%s has no %s", pkg, name)
			}
		}
		if found[pkg] == "" {
			t.Errorf("%s decodes nothing any longer", pkg)
		}
	}
	t.Logf("%d packages decode, %d fuzz tests", len(found), len(slices.Concat(slices.Collect(maps.Values(fuzz))...)))
}

var fuzzTest = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]*)\(`)

// scan reads the whole tree: which packages decode, by which call, and the fuzz tests.
func scan(t *testing.T) (found map[string]string, fuzz map[string][]string) {
	t.Helper()
	found, fuzz = map[string]string{}, map[string][]string{}
	root := "../../.."
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") && file != root {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		switch {
		case strings.HasSuffix(file, "_test.go"):
			for _, m := range fuzzTest.FindAllSubmatch(b, -1) {
				fuzz[pkg] = append(fuzz[pkg], string(m[1]))
			}
		case forTests(pkg) || bytes.HasPrefix(b, []byte("// Code generated")):
		default:
			if m := decodes.Find(b); m != nil {
				found[pkg] = string(m)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, fuzz
}

// forTests are packages of which nothing is in the program.
func forTests(pkg string) bool {
	return strings.HasSuffix(path.Base(pkg), "test") || strings.HasSuffix(path.Base(pkg), "lab") || pkg == "cmd/internal/e2e" ||
		pkg == "cmd/internal/lab" || strings.HasPrefix(pkg, "cmd/internal/e2e/")
}
