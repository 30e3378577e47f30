package overlay

import (
	"fmt"
	"slices"
	"strings"
)

// identities are the elements that there can be several of, by the path of what they are in
// and their name, with what tells them apart: "a@b" is attribute b of child a, "@b" one of the
// element itself, "a" the text of child a. Several of one line must all be equal; the first
// line that the overlay's element has all of counts. An element without any is added.
var identities = map[string][][]string{
	"domain/devices/disk":                 {{"target@dev"}},
	"domain/devices/interface":            {{"mac@address"}, {"target@dev"}},
	"domain/devices/controller":           {{"@type", "@index"}, {"@type"}},
	"domain/devices/filesystem":           {{"target@dir"}},
	"domain/devices/channel":              {{"target@name"}},
	"domain/devices/serial":               {{"target@port"}},
	"domain/devices/parallel":             {{"target@port"}},
	"domain/devices/console":              {{"target@port"}},
	"domain/devices/graphics":             {{"@type"}},
	"domain/devices/input":                {{"@type", "@bus"}, {"@type"}},
	"domain/devices/rng":                  {{"@model"}},
	"domain/devices/sound":                {{"@model"}},
	"domain/devices/audio":                {{"@id"}},
	"domain/devices/watchdog":             {{"@model"}},
	"domain/devices/shmem":                {{"@name"}},
	"domain/devices/panic":                {{"@model"}},
	"domain/devices/hub":                  {{"@type"}},
	"domain/devices/video":                {{"model@type"}},
	"domain/devices/memory":               nil,
	"domain/devices/hostdev":              nil,
	"domain/devices/redirdev":             nil,
	"domain/devices/smartcard":            nil,
	"domain/devices/lease":                {{"key"}},
	"domain/cpu/feature":                  {{"@name"}},
	"domain/cpu/cache":                    {{"@level"}},
	"domain/cpu/numa/cell":                {{"@id"}},
	"domain/clock/timer":                  {{"@name"}},
	"domain/cputune/vcpupin":              {{"@vcpu"}},
	"domain/cputune/iothreadpin":          {{"@iothread"}},
	"domain/cputune/vcpusched":            {{"@vcpus"}},
	"domain/numatune/memnode":             {{"@cellid"}},
	"domain/memoryBacking/hugepages/page": {{"@nodeset"}, {"@size"}},
	"domain/iothreadids/iothread":         {{"@id"}},
	"domain/blkiotune/device":             {{"path"}},
	"domain/os/boot":                      {{"@dev"}},
	"domain/sysinfo":                      {{"@type"}},
	"domain/sysinfo/bios/entry":           {{"@name"}},
	"domain/sysinfo/system/entry":         {{"@name"}},
	"domain/sysinfo/baseBoard/entry":      {{"@name"}},
	"domain/sysinfo/chassis/entry":        {{"@name"}},
	"domain/sysinfo/oemStrings/entry":     nil,
	"domain/sysinfo/entry":                {{"@name"}},
	"domain/seclabel":                     {{"@model"}},
	"domain/qemu:commandline/qemu:arg":    nil,
	"domain/qemu:commandline/qemu:env":    {{"@name"}},
	"domain/qemu:override/qemu:device":    {{"@alias"}},
	"domain/qemu:override/qemu:device/qemu:frontend/qemu:property": {{"@name"}},
}

// value is what an identity's part is of an element; ok is whether it has it.
func (e *element) value(part string) (text string, ok bool) {
	child, name, isAttr := strings.Cut(part, "@")
	if child != "" {
		if e = e.child(child); e == nil {
			return "", false
		}
	}
	if !isAttr {
		return strings.TrimSpace(e.text), true
	}
	text, ok = e.attr(name)
	return strings.ToLower(text), ok
}

// values are what an identity's part is of an element that may say it several times.
func (e *element) values(part string) (out []string) {
	child, name, isAttr := strings.Cut(part, "@")
	all := []*element{e}
	if child != "" {
		all = e.findAll(child)
	}
	for _, one := range all {
		text, has := one.attr(name)
		if has || !isAttr {
			out = append(out, strings.ToLower(text))
		}
	}
	return out
}

// same reports whether two elements are one by a line of identities.
func same(a, b *element, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool {
		x, inA := a.value(part)
		y, inB := b.value(part)
		return !inA || !inB || x != y
	})
}

// counterpart is the element of base that one of an overlay is merged into; nil: it is added.
func counterpart(base, over *element, path string) *element {
	among := func(parts []string) *element {
		for _, c := range base.children {
			if c.name == over.name && same(c, over, parts) {
				return c
			}
		}
		return nil
	}
	lines, several := identities[path+"/"+over.name]
	if !several {
		return base.child(over.name)
	}
	if _, named := over.value("alias@name"); named {
		if c := among([]string{"alias@name"}); c != nil {
			return c
		}
	}
	for _, parts := range lines {
		if same(over, over, parts) { // it has all of them
			return among(parts)
		}
	}
	return nil
}

// merge puts over's attributes, text and children into base. path is that of both.
func merge(base, over *element, path string) error {
	for _, a := range over.attrs {
		i := slices.IndexFunc(base.attrs, func(b attr) bool { return b.name == a.name })
		if i < 0 {
			base.attrs = append(base.attrs, a)
			continue
		}
		base.attrs[i].value = a.value
	}
	if text := strings.TrimSpace(over.text); text != "" {
		base.text = over.text
	}
	for _, c := range over.children {
		at := path + "/" + c.name
		into := counterpart(base, c, path)
		if into == nil {
			base.children = append(base.children, c)
			continue
		}
		if err := ours(into, c, at); err != nil {
			return err
		}
		if err := merge(into, c, at); err != nil {
			return err
		}
	}
	return nil
}

// owned are elements and attributes that no overlay may have: they say which domain it is,
// what the scheduler counted, or where what is a node's own lies.
var owned = []string{
	"domain@type", "domain@id", "domain/name", "domain/uuid", "domain/metadata", "domain/memory", "domain/currentMemory", "domain/vcpu",
	"domain/os/loader", "domain/os/nvram", "domain/os/type", "domain/devices/tpm",
	"domain/on_poweroff", "domain/on_reboot", "domain/on_crash",
}

// ownedOf are those of a device that is a node's own already.
var ownedOf = map[string][]string{
	"domain/devices/disk":      {"@type", "@device", "driver@type", "source", "backingStore", "target@bus", "boot"},
	"domain/devices/interface": {"@type", "source", "target", "boot"},
	"domain/devices/serial":    {"@type", "source", "log"},
	"domain/devices/console":   {"@type", "source", "log"},
	"domain/devices/graphics":  {"@port", "@websocket"},
}

func checkOwned(root *element) error {
	for _, path := range owned {
		names, name, isAttr := strings.Cut(path, "@")
		for _, e := range root.findAll(strings.Split(names, "/")[1:]...) {
			if _, has := e.attr(name); !isAttr || has {
				return fmt.Errorf("xml_overlay: %s is Tenks' own: leave it out", path)
			}
		}
	}
	return nil
}

// ours refuses what an overlay may not say of a device of the node's own.
func ours(base, over *element, path string) error {
	for _, part := range ownedOf[path] {
		said := over.values(part)
		x, _ := base.value(part)
		if again := strings.Contains(part, "@") && !slices.ContainsFunc(said, func(y string) bool { return y != x }); len(said) == 0 || again {
			continue // it only says it again
		}
		name, _ := over.value("target@dev")
		if mac, ok := over.value("mac@address"); ok {
			name = mac
		}
		return fmt.Errorf("%s %s: %s is Tenks' own: leave it out", strings.TrimPrefix(path, "domain/devices/"), name, part)
	}
	return nil
}
