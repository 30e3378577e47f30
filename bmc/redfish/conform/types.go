package conform

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// schemas is a folder of CSDL files that are read when a name in them is asked for.
// It is not safe for concurrent use.
type schemas struct {
	dir    string
	read   map[string]error // by schema, such as "ComputerSystem"
	spaces map[string]*space
	// newests remembers what newest has found.
	newests map[[2]string]*typ
}

func openSchemas(dir string) *schemas {
	return &schemas{dir: dir, read: map[string]error{}, spaces: map[string]*space{}, newests: map[[2]string]*typ{}}
}

// add takes in a document that does not come from the folder, as an OEM schema.
func (s *schemas) add(document []byte) error {
	spaces, err := parseCSDL(document)
	for _, sp := range spaces {
		s.spaces[sp.name] = sp
		s.read[schemaOf(sp.name)] = nil
	}
	return err
}

// schemaOf returns the name of the schema of a namespace or a type.
func schemaOf(name string) string {
	schema, _, _ := strings.Cut(name, ".")
	return schema
}

var fileName = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// load reads the file of a schema once.
func (s *schemas) load(schema string) error {
	if err, ok := s.read[schema]; ok {
		return err
	}
	s.read[schema] = nil
	if !fileName.MatchString(schema) {
		s.read[schema] = fmt.Errorf("schema %q: not a name", schema)
		return s.read[schema]
	}
	b, err := os.ReadFile(filepath.Join(s.dir, schema+"_v1.xml"))
	if err == nil {
		err = s.add(b)
	}
	if err != nil {
		s.read[schema] = fmt.Errorf("schema %q: %w", schema, err)
	}
	return s.read[schema]
}

// space returns a namespace, or nil.
func (s *schemas) space(name string) *space {
	if err := s.load(schemaOf(name)); err != nil {
		return nil
	}
	return s.spaces[name]
}

// typ returns a type by its full name, or nil.
func (s *schemas) typ(full string) *typ {
	i := strings.LastIndexByte(full, '.')
	if i < 0 {
		return nil
	}
	sp := s.space(full[:i])
	if sp == nil {
		return nil
	}
	return sp.types[full[i+1:]]
}

// props returns the properties of a type with those of its bases.
func (s *schemas) props(t *typ) map[string]*prop {
	if t.flat != nil {
		return t.flat
	}
	t.flat = map[string]*prop{} // a circle of bases ends here
	if base := s.typ(t.base); base != nil {
		maps.Copy(t.flat, s.props(base))
	}
	maps.Copy(t.flat, t.props)
	return t.flat
}

// note returns what the type or the nearest of its bases says, as told by has.
func (s *schemas) note(t *typ, has func(notes) bool) notes {
	for range maxDepth {
		if has(t.notes) {
			return t.notes
		}
		if t = s.typ(t.base); t == nil {
			break
		}
	}
	return notes{}
}

// maxDepth bounds how many bases a type has: every version adds one.
const maxDepth = 200

// derives says whether t is base, or is made from it.
func (s *schemas) derives(t *typ, base string) bool {
	for range maxDepth {
		if t == nil || t.full() == base {
			break
		}
		t = s.typ(t.base)
	}
	return t != nil && t.full() == base
}

// newest returns the type that stands for the declared one in a resource whose type
// is of the namespace in: the newest that is made from it. In the resource's own schema
// it is no newer than the resource (DSP0266 §13.1, "Schema versions").
func (s *schemas) newest(declared, in string) *typ {
	key := [2]string{declared, in}
	if t, ok := s.newests[key]; ok {
		return t
	}
	best := s.typ(declared)
	if best != nil && (best.kind == kindComplex || best.kind == kindEntity) {
		best = s.newer(best, in)
	}
	s.newests[key] = best
	return best
}

func (s *schemas) newer(base *typ, in string) *typ {
	schema, best := schemaOf(base.space), base
	for name, sp := range s.spaces {
		t := sp.types[base.name]
		if t == nil || schemaOf(name) != schema || schema == schemaOf(in) && older(in, name) {
			continue
		}
		if older(best.space, name) && s.derives(t, base.full()) {
			best = t
		}
	}
	return best
}

// version is the three numbers of "v1_20_0".
type version [3]int

var versions = regexp.MustCompile(`v(\d+)_(\d+)_(\d+)$`)

// versionOf returns the version of a namespace; one without has version 0.
func versionOf(space string) version {
	var v version
	m := versions.FindStringSubmatch(space)
	for i := range v {
		if m != nil {
			_, _ = fmt.Sscan(m[i+1], &v[i]) // the pattern has only digits
		}
	}
	return v
}

// older says whether the version of a is older than that of b.
func older(a, b string) bool {
	x, y := versionOf(a), versionOf(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}
