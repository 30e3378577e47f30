package overlay

import (
	"strings"
	"testing"
)

const base = `<domain type="kvm"><name>n</name><uuid>u</uuid><memory unit="KiB">1024</memory><cpu mode="maximum"><feature policy="disable" name="svm"/></cpu>` +
	`<clock offset="utc"/><devices><disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="/pool/n0"/><target dev="vda" bus="virtio"/></disk>` +
	`<interface type="direct"><mac address="52:54:00:00:00:01"/><source dev="p-n-0-tap" mode="passthrough"/><model type="virtio"/></interface>` +
	`<serial type="pty"><target type="isa-serial" port="0"/></serial><memballoon model="none"/></devices></domain>`

func TestMerge(t *testing.T) {
	tests := map[string]struct{ over, want string }{
		"adds what is not there":       {`<domain><iothreads>2</iothreads></domain>`, `<iothreads>2</iothreads></domain>`},
		"replaces an attribute":        {`<domain><cpu mode="host-model" check="none"/></domain>`, `<cpu mode="host-model" check="none"><feature policy="disable" name="svm"/></cpu>`},
		"tells features apart by name": {`<domain><cpu><feature name="svm" policy="require"/><feature name="vmx" policy="force"/></cpu></domain>`, `<cpu mode="maximum"><feature policy="require" name="svm"/><feature name="vmx" policy="force"/></cpu>`},
		"tells disks apart by target":  {`<domain><devices><disk><target dev="vda"/><driver iothread="1" queues="4"/></disk></devices></domain>`, `<driver name="qemu" type="raw" iothread="1" queues="4"/><source file="/pool/n0"/>`},
		"adds another disk":            {`<domain><devices><disk type="network" device="disk"><source protocol="rbd" name="p/i"/><target dev="vdx" bus="virtio"/></disk></devices></domain>`, `<disk type="network" device="disk"><source protocol="rbd" name="p/i"/><target dev="vdx" bus="virtio"/></disk></devices>`},
		"finds a NIC by its MAC":       {`<domain><devices><interface><mac address="52:54:00:00:00:01"/><driver queues="2"/></interface></devices></domain>`, `<model type="virtio"/><driver queues="2"/></interface>`},
		"adds what has no identity":    {`<domain><devices><hostdev mode="subsystem" type="pci"/></devices></domain>`, `<hostdev mode="subsystem" type="pci"/></devices>`},
		"replaces the one there is":    {`<domain><devices><memballoon model="virtio"/></devices></domain>`, `<memballoon model="virtio"/>`},
		"replaces a text":              {`<domain><description>a &amp; b</description></domain>`, `<description>a &amp; b</description>`},
		"keeps namespaces":             {`<domain xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><qemu:commandline><qemu:arg value="-a"/><qemu:arg value="-b"/></qemu:commandline></domain>`, `<qemu:commandline><qemu:arg value="-a"/><qemu:arg value="-b"/></qemu:commandline></domain>`},
		"leaves all as it is":          {`<domain/>`, base},
		"takes the same type again":    {`<domain><devices><disk type="file"><target dev="vda" bus="virtio"/></disk></devices></domain>`, base},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Merge(base, tt.over)
			if err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("got %s, %v, want %s in it", got, err, tt.want)
			}
			again, err := Merge(got, tt.over)
			if err == nil && len(again) < len(got) {
				t.Errorf("merged twice it gets shorter: %s", again)
			}
		})
	}
}

func TestMergeRefuses(t *testing.T) {
	tests := map[string]struct{ over, want string }{
		"another root":          {`<network/>`, "the root is <network>, want <domain>"},
		"what is no XML":        {`<domain>`, "<domain> does not end"},
		"crossed elements":      {`<domain><a></domain></a>`, "</domain> ends what does not begin"},
		"two roots":             {`<domain/><domain/>`, "there are two roots"},
		"a document type":       {`<!DOCTYPE domain [<!ENTITY a "b">]><domain/>`, "a document type is not taken"},
		"an entity":             {`<domain><name>&a;</name></domain>`, "invalid character entity"},
		"text around it":        {`a<domain/>`, "text outside of the root"},
		"an attribute twice":    {`<domain a="1" a="2"/>`, "<domain> has a twice"},
		"what is too deep":      {"<domain>" + strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40) + "</domain>", "too large"},
		"nothing":               {``, "no element"},
		"a name":                {`<domain><name>x</name></domain>`, "domain/name is Tenks' own: leave it out"},
		"a UUID":                {`<domain><uuid>x</uuid></domain>`, "domain/uuid is Tenks' own"},
		"a mark":                {`<domain><metadata/></domain>`, "domain/metadata is Tenks' own"},
		"the domain's type":     {`<domain type="qemu"/>`, "domain@type is Tenks' own"},
		"memory":                {`<domain><memory>1</memory></domain>`, "domain/memory is Tenks' own"},
		"firmware":              {`<domain><os><loader>/x</loader></os></domain>`, "domain/os/loader is Tenks' own"},
		"firmware, said late":   {`<domain><os/><os><loader>/x</loader></os></domain>`, "domain/os/loader is Tenks' own"},
		"a format, said late":   {`<domain><devices><disk><target dev="vda"/><driver cache="none"/><driver type="qcow2"/></disk></devices></domain>`, "disk vda: driver@type is Tenks' own"},
		"the source of a disk":  {`<domain><devices><disk><target dev="vda"/><source file="/etc/shadow"/></disk></devices></domain>`, "disk vda: source is Tenks' own"},
		"the format of a disk":  {`<domain><devices><disk><target dev="vda"/><driver type="qcow2"/></disk></devices></domain>`, "disk vda: driver@type is Tenks' own"},
		"the source of a NIC":   {`<domain><devices><interface><mac address="52:54:00:00:00:01"/><source dev="eth0"/></interface></devices></domain>`, "interface 52:54:00:00:00:01: source is Tenks' own"},
		"the log of a console":  {`<domain><devices><serial><target port="0"/><log file="/x"/></serial></devices></domain>`, "log is Tenks' own"},
		"a MAC in capitals too": {`<domain><devices><interface><mac address="52:54:00:00:00:01"/><target dev="t"/></interface></devices></domain>`, "target is Tenks' own"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Merge(base, tt.over)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s, %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestLost(t *testing.T) {
	got, err := Lost(`<domain><cpu mode="a"/></domain>`, `<domain xmlns:q="x"><cpu mode="b" new="1"/><newer/></domain>`)
	if err != nil || strings.Join(got, " ") != "/domain/cpu/@new /domain/newer" {
		t.Errorf("got %v, %v", got, err)
	}
}

// FuzzMerge holds that whatever is merged is a domain again, whose own parts are as they were.
func FuzzMerge(f *testing.F) {
	f.Add(`<domain><cpu mode="host-model"/></domain>`)
	f.Add(`<domain><devices><disk><target dev="vda"/><driver cache="none"/></disk><disk/></devices></domain>`)
	f.Add(`<domain xmlns:qemu="u"><qemu:commandline><qemu:arg value="&lt;"/></qemu:commandline></domain>`)
	f.Add(`<domain><name/></domain>`)
	f.Fuzz(func(t *testing.T, over string) {
		got, err := Merge(base, over)
		if err != nil {
			return
		}
		root, err := parse(got)
		if err != nil {
			t.Fatalf("%q merged is no domain: %v\n%s", over, err, got)
		}
		for path, want := range map[string]string{"name": "n", "uuid": "u", "memory": "1024"} {
			if e := root.find(path); e == nil || e.text != want {
				t.Errorf("%q changes %s: %s", over, path, got)
			}
		}
		if source := root.find("devices", "disk", "source"); source == nil || source.String() != `<source file="/pool/n0"/>` {
			t.Errorf("%q changes the first disk's source: %s", over, got)
		}
		if source := root.find("devices", "interface", "source"); source == nil || source.String() != `<source dev="p-n-0-tap" mode="passthrough"/>` {
			t.Errorf("%q changes the first NIC's source: %s", over, got)
		}
	})
}
