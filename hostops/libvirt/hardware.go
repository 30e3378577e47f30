package libvirt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"tenks/raftfsm/state"
)

// hardware is what of a domain we decide, as it is read back.
type hardware struct {
	Type      string
	MemoryKiB uint64
	VCPUs     uint
	Firmware  state.BootMode
	// Secure is firmware with Secure Boot, TPM the version of the TPM; without them the
	// fingerprint is what it was before there were any.
	Secure bool   `json:",omitempty"`
	TPM    string `json:",omitempty"`
	Disks  []disk
	NICs   []nic
	// Setup is what the firmware setup made of it.
	Setup []string `json:",omitempty"` // as disk.Serial
	// Machine is what the node's type says of it beyond its size.
	Machine []string `json:",omitempty"`
}

type disk struct {
	Dev, Path, Format string
	Serial            string `json:",omitempty"` // later than the others: fingerprints without it stay
	// Bus, Cache, Discard and WWN are empty where they are as they are anyway.
	Bus     string `json:",omitempty"`
	Cache   string `json:",omitempty"`
	Discard string `json:",omitempty"`
	WWN     string `json:",omitempty"`
}

type nic struct {
	MAC, Link string
	MTU       int `json:",omitempty"` // as disk.Serial
}

// fingerprint is equal for equal hardware.
func (h hardware) fingerprint() string {
	b, err := json.Marshal(h)
	if err != nil { // only strings and numbers: cannot happen
		panic(fmt.Sprintf("fingerprint: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func hardwareOf(d *libvirtxml.Domain) hardware {
	h := hardware{Type: d.Type, Firmware: state.BootBIOS, MemoryKiB: kib(d.Memory)}
	if d.VCPU != nil {
		h.VCPUs = d.VCPU.Value
	}
	if d.OS != nil && d.OS.Loader != nil && d.OS.Loader.Type == "pflash" {
		h.Firmware, h.Secure = state.BootUEFI, d.OS.Loader.Secure == "yes"
	}
	if d.Devices == nil {
		return h
	}
	for _, t := range d.Devices.TPMs {
		if t.Backend != nil && t.Backend.Emulator != nil {
			h.TPM = t.Backend.Emulator.Version
		}
	}
	h.Disks, h.NICs, h.Setup, h.Machine = disksOf(d.Devices.Disks), nicsOf(d), setupOf(d), machineOf(d)
	return h
}

func disksOf(all []libvirtxml.DomainDisk) []disk {
	var out []disk
	for _, k := range all {
		if k.Device == "cdrom" || k.Target == nil || isStick(k) {
			continue
		}
		one := disk{Dev: k.Target.Dev, Serial: k.Serial, WWN: k.WWN}
		if k.Target.Bus != busVirtio {
			one.Bus = k.Target.Bus
		}
		switch {
		case k.Source != nil && k.Source.File != nil:
			one.Path = k.Source.File.File
		case k.Source != nil && k.Source.Block != nil:
			one.Path = k.Source.Block.Dev
		}
		if k.Driver != nil {
			one.Format, one.Cache = k.Driver.Type, k.Driver.Cache
			if k.Driver.Discard != discardUnmap {
				one.Discard = k.Driver.Discard
			}
		}
		out = append(out, one)
	}
	return out
}

func nicsOf(d *libvirtxml.Domain) []nic {
	var out []nic
	for i, n := range d.Devices.Interfaces {
		one := nic{MTU: mtuOf(d, i)}
		if n.MAC != nil {
			one.MAC = strings.ToLower(n.MAC.Address)
		}
		if n.Source != nil && n.Source.Direct != nil {
			one.Link = n.Source.Direct.Dev
		}
		out = append(out, one)
	}
	return out
}

// kib returns memory in KiB, whatever unit it is written in.
func kib(m *libvirtxml.DomainMemory) uint64 {
	if m == nil {
		return 0
	}
	v := uint64(m.Value)
	switch m.Unit {
	case "b", "bytes":
		return v >> 10
	case "MiB", "M":
		return v << 10
	case "GiB", "G":
		return v << 20
	case "TiB", "T":
		return v << 30
	}
	return v
}

// pending says in words what of next is not in live yet.
func pending(live, next hardware) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if live.MemoryKiB != next.MemoryKiB {
		say("memory %s → %s", memoryText(live.MemoryKiB), memoryText(next.MemoryKiB))
	}
	if live.VCPUs != next.VCPUs {
		say("vCPUs %d → %d", live.VCPUs, next.VCPUs)
	}
	if live.Firmware != next.Firmware {
		say("boot mode %s → %s", live.Firmware, next.Firmware)
	}
	if live.Secure != next.Secure {
		say("secure boot %s → %s", onOff(live.Secure), onOff(next.Secure))
	}
	if live.TPM != next.TPM {
		say("TPM %s → %s", cmp.Or(live.TPM, "none"), cmp.Or(next.TPM, "none"))
	}
	if live.Type != next.Type {
		say("domain type %s → %s", live.Type, next.Type)
	}
	out = append(out, pendingDisks(live.Disks, next.Disks)...)
	if !slices.Equal(live.Setup, next.Setup) {
		say("firmware setup: %s → %s", setupText(live.Setup), setupText(next.Setup))
	}
	out = append(out, lacking(live.Machine, next.Machine, "is added")...)
	out = append(out, lacking(next.Machine, live.Machine, "is removed")...)
	return append(out, pendingNICs(live.NICs, next.NICs)...)
}

// lacking says of what have lacks of want what happens to it.
func lacking(have, want []string, what string) (out []string) {
	for _, w := range want {
		if !slices.Contains(have, w) {
			out = append(out, w+" "+what)
		}
	}
	return out
}

func pendingDisks(live, next []disk) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for i := range max(len(live), len(next)) {
		switch {
		case i >= len(live):
			say("disk %s is added", next[i].Dev)
		case i >= len(next):
			say("disk %s is removed", live[i].Dev)
		case live[i].Path == "" && live[i].Dev == next[i].Dev:
			// A volume that is named by its pool: a domain of another tool's, taken over.
		case live[i] != next[i] && live[i].Path == next[i].Path:
			say("disk %s: %s → %s", live[i].Dev, live[i].text(), next[i].text())
		case live[i] != next[i]:
			say("disk %s: %s → %s", live[i].Dev, live[i].Path, next[i].Path)
		}
	}
	return out
}

// text is a disk but for its file.
func (k disk) text() string {
	out := []string{k.Dev, k.Format, cmp.Or(k.Bus, busVirtio)}
	for _, word := range [][2]string{{"cache ", k.Cache}, {"discard ", k.Discard}, {"serial ", k.Serial}, {"WWN ", k.WWN}} {
		if word[1] != "" {
			out = append(out, word[0]+word[1])
		}
	}
	return strings.Join(out, " ")
}

func setupText(words []string) string {
	if len(words) == 0 {
		return "as it was declared"
	}
	return strings.Join(words, ", ")
}

// pendingNICs compares by MAC: one that was plugged in anew comes last in live.
func pendingNICs(live, next []nic) []string {
	var out []string
	at := func(all []nic, mac string) int {
		return slices.IndexFunc(all, func(n nic) bool { return n.MAC == mac })
	}
	for i, n := range next {
		switch l := at(live, n.MAC); {
		case l < 0:
			out = append(out, fmt.Sprintf("NIC %d (%s) is added", i, n.MAC))
		case live[l].Link != n.Link:
			out = append(out, fmt.Sprintf("NIC %d (%s): %s → %s", i, n.MAC, live[l].Link, n.Link))
		case live[l].MTU != n.MTU:
			out = append(out, fmt.Sprintf("NIC %d (%s): MTU %d → %d", i, n.MAC, cmp.Or(live[l].MTU, usualMTU), cmp.Or(n.MTU, usualMTU)))
		}
	}
	for _, n := range live {
		if at(next, n.MAC) < 0 {
			out = append(out, fmt.Sprintf("NIC %s is removed", n.MAC))
		}
	}
	return out
}

// usualMTU is a NIC's that is told nothing.
const usualMTU = 1500

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func memoryText(kib uint64) string {
	if kib%1024 == 0 {
		return fmt.Sprintf("%d MiB", kib/1024)
	}
	return fmt.Sprintf("%d KiB", kib)
}

// view is what Instances keeps of one XML document.
type view struct {
	hardware hardware
	mark     mark
	// ours is whether there is a mark; of which mesh, is to be checked.
	ours  bool
	order bootOrder
	// taps are the host's ends of the NICs of a running guest, "" where there is none.
	taps []string
	// media is the file in the CD-ROM drive, usb the one on the USB stick.
	media, usb string
	// display is where the screen of a running guest is shared; empty: nowhere.
	display string
}

// viewOf reads an XML document of a domain.
func viewOf(text string) (view, error) {
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(text); err != nil {
		return view{}, fmt.Errorf("domain XML: %w", err)
	}
	if d.Devices == nil {
		d.Devices = &libvirtxml.DomainDeviceList{}
	}
	v := view{hardware: hardwareOf(d), order: getOrder(d), media: mediaIn(drive(d)), usb: mediaIn(stick(d)), display: displayOf(d)}
	for _, n := range d.Devices.Interfaces {
		tap := ""
		if n.Target != nil {
			tap = n.Target.Dev
		}
		v.taps = append(v.taps, tap)
	}
	if d.Metadata == nil {
		return v, nil
	}
	var err error
	v.mark, v.ours, err = readMark(d.Metadata.XML)
	return v, err
}

// lostNICs returns the NICs of a running guest whose end on the host is gone.
func (v view) lostNICs(exists func(link string) bool) []int {
	var lost []int
	for i, tap := range v.taps {
		if tap != "" && !exists(tap) {
			lost = append(lost, i)
		}
	}
	return slices.Clip(lost)
}
