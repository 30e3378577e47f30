package libvirt

import (
	"fmt"
	"slices"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// originRecord notes files that were there before as the node's.
func originRecord(r *record, spec driver.Spec) {
	for i, v := range spec.Origin.Volumes {
		one := volume{Name: volumeName(i), Path: v.Path, Format: v.Format}
		if i < len(spec.Machine.Volumes) {
			one.Capacity = spec.Machine.Volumes[i].CapacityBytes
		}
		r.Volumes = append(r.Volumes, one)
	}
	if r.NVRAM = spec.Origin.NVRAM; r.NVRAM != "" {
		r.Files = append(r.Files, r.NVRAM)
	}
}

// foreignDisk is where a disk of a domain that is not ours is: a file, or a volume of a
// pool.
type foreignDisk struct {
	path, format, pool, volume string
	problem                    string
}

// foreignDisks are the disks of a domain, but for drives of media.
func foreignDisks(def *libvirtxml.Domain) []foreignDisk {
	var out []foreignDisk
	for _, k := range def.Devices.Disks {
		if k.Device == "cdrom" || k.Device == "floppy" || k.Target == nil {
			continue
		}
		one := foreignDisk{format: formatRaw}
		if k.Driver != nil && k.Driver.Type != "" {
			one.format = k.Driver.Type
		}
		switch {
		case k.Source != nil && k.Source.File != nil:
			one.path = k.Source.File.File
		case k.Source != nil && k.Source.Volume != nil:
			one.pool, one.volume = k.Source.Volume.Pool, k.Source.Volume.Volume
		default:
			one.problem = fmt.Sprintf("disk %s is neither a file nor a volume of a pool", k.Target.Dev)
		}
		if one.format != formatRaw && one.format != formatQcow {
			one.problem = fmt.Sprintf("disk %s is in format %s: raw and qcow2 can be taken over", k.Target.Dev, one.format)
		}
		out = append(out, one)
	}
	return out
}

// foreignNICs are the NICs of a domain, and what is wrong with them.
func foreignNICs(def *libvirtxml.Domain) (out []driver.ForeignNIC, problem string) {
	for i, n := range def.Devices.Interfaces {
		if n.Source == nil || n.Source.Direct == nil || n.Source.Direct.Mode != "passthrough" || n.MAC == nil {
			problem = fmt.Sprintf("NIC %d is no macvtap in passthrough mode", i)
		}
	}
	for _, n := range nicsOf(def) {
		out = append(out, driver.ForeignNIC{MAC: n.MAC, Link: n.Link})
	}
	return out, problem
}

// nvramOf is the file of a domain's firmware variables; empty: there is none.
func nvramOf(def *libvirtxml.Domain) string {
	if def.OS == nil || def.OS.NVRam == nil {
		return ""
	}
	return def.OS.NVRam.NVRam
}

// sameAs says what of a domain is not as it was when somebody decided to take it over.
func sameAs(f driver.Foreign, spec driver.Spec) error {
	switch {
	case f.Problem != "":
		return fmt.Errorf("%s", f.Problem)
	case f.Name != spec.Name:
		return fmt.Errorf("is named %s", f.Name)
	}
	var paths, want []string
	for _, v := range f.Volumes {
		paths = append(paths, v.Path+" "+v.Format)
	}
	for _, v := range spec.Origin.Volumes {
		want = append(want, v.Path+" "+v.Format)
	}
	if !slices.Equal(paths, want) {
		return fmt.Errorf("has disks %q, and had %q", paths, want)
	}
	var nics []driver.ForeignNIC
	for _, p := range spec.Ports {
		nics = append(nics, driver.ForeignNIC{MAC: p.MAC, Link: p.Link})
	}
	if !slices.Equal(f.NICs, nics) {
		return fmt.Errorf("has NICs %v, and had %v", f.NICs, nics)
	}
	if f.NVRAM != spec.Origin.NVRAM {
		return fmt.Errorf("has firmware variables in %q, and had them in %q", f.NVRAM, spec.Origin.NVRAM)
	}
	return nil
}

// alone says why a volume that was there before cannot go without another file.
func (v volume) alone() error {
	base, err := backingOf(v.Path)
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Path, err)
	}
	if base != "" {
		return fmt.Errorf("volume %s: is a difference to %s, which is not the mesh's: the node moves once its disk is whole (qemu-img rebase -b '' while it is off): %w", v.Path, base, state.ErrUnsupported)
	}
	return nil
}

// inFormats gives volumes that came from another host the formats that they had there: those
// that were made by another tool need not have the one of a node of this type. had are the
// disks of the domain there, in the same order.
func inFormats(volumes []volume, had []disk) error {
	if len(had) != len(volumes) {
		for _, k := range had {
			if !slices.ContainsFunc(volumes, func(v volume) bool { return v.format() == k.Format }) {
				return fmt.Errorf("it has %d disks there and %d here: which of them are in format %s?", len(had), len(volumes), k.Format)
			}
		}
		return nil
	}
	for i := range volumes {
		if f := had[i].Format; volumes[i].format() != f && (f == formatRaw || f == formatQcow) && !volumes[i].Keep {
			volumes[i].Format = f
		}
	}
	return nil
}
