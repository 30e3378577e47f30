//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Foreign implements driver.Adopter.
func (d *Driver) Foreign(ctx context.Context, names []string) ([]driver.Foreign, error) {
	return call(ctx, d.conns, func(ctx context.Context, s *session) ([]driver.Foreign, error) {
		var out []driver.Foreign
		for _, name := range names {
			if ctx.Err() != nil {
				return nil, hung(ctx)
			}
			dom, err := s.conn.LookupDomainByName(name)
			if errors.Is(err, lv.ERR_NO_DOMAIN) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("domain %s: look up: %w", name, err)
			}
			one, _, ours, err := d.foreign(s, dom)
			if err = errors.Join(err, dom.Free()); err != nil {
				return nil, fmt.Errorf("domain %s: %w", name, err)
			}
			if !ours {
				out = append(out, one)
			}
		}
		return out, nil
	})
}

// foreign looks at a domain, as if it were to be taken over.
func (d *Driver) foreign(s *session, dom *lv.Domain) (one driver.Foreign, f *found, ours bool, err error) {
	if f, err = readForeign(dom); err != nil {
		return one, nil, false, err
	}
	one = driver.Foreign{Name: f.def.Name, UUID: f.def.UUID, Power: state.PowerOff}
	if f.running {
		one.Power = state.PowerOn
	}
	switch {
	case !f.persistent:
		one.Problem = "is transient: it has no definition that outlives it"
	case f.def.Devices == nil || f.def.OS == nil:
		one.Problem = "has no devices or no firmware"
	}
	if f.def.Metadata != nil {
		m, marked, err := readMark(f.def.Metadata.XML)
		if err != nil {
			return one, nil, false, err
		}
		if ours = marked && m.Mesh == d.cfg.Mesh; marked && !ours {
			one.Problem = "is a node of another mesh"
		}
	}
	if ours || one.Problem != "" {
		return one, f, ours, nil
	}
	err = d.hardwareOfForeign(s, f.def, &one)
	return one, f, false, err
}

// readForeign reads a domain, whoever's it is.
func readForeign(dom *lv.Domain) (*found, error) {
	f := &found{dom: dom, def: &libvirtxml.Domain{}}
	var err error
	if f.running, err = dom.IsActive(); err != nil {
		return nil, err
	}
	if f.persistent, err = dom.IsPersistent(); err != nil {
		return nil, err
	}
	if f.text, err = dom.GetXMLDesc(lv.DOMAIN_XML_INACTIVE | lv.DOMAIN_XML_SECURE); err != nil {
		return nil, err
	}
	return f, f.def.Unmarshal(f.text)
}

func (d *Driver) hardwareOfForeign(s *session, def *libvirtxml.Domain, one *driver.Foreign) error {
	h := hardwareOf(def)
	one.MemoryMB, one.VCPUs, one.BootMode, one.NVRAM = h.MemoryKiB/1024, int(h.VCPUs), h.Firmware, nvramOf(def) //nolint:gosec // a domain has few
	if def.OS.Firmware == "efi" {
		one.BootMode = state.BootUEFI
	}
	one.NICs, one.Problem = foreignNICs(def)
	for _, k := range foreignDisks(def) {
		if k.problem != "" {
			one.Problem = k.problem
			continue
		}
		if k.pool != "" {
			path, err := volumePath(s, k.pool, k.volume)
			if err != nil {
				one.Problem = err.Error()
				continue
			}
			k.path = path
		}
		size, err := volumeSize(volume{Path: k.path, Format: k.format})
		if err != nil {
			one.Problem = fmt.Sprintf("disk %s: %s", k.path, err)
			continue
		}
		one.Volumes = append(one.Volumes, driver.ForeignVolume{Path: k.path, Format: k.format, CapacityBytes: size})
	}
	return nil
}

// volumePath is the file of a volume of a pool.
func volumePath(s *session, pool, name string) (string, error) {
	p, err := s.conn.LookupStoragePoolByName(pool)
	if err != nil {
		return "", fmt.Errorf("pool %s: %w", pool, err)
	}
	defer p.Free() //nolint:errcheck // a handle of ours
	v, err := p.LookupStorageVolByName(name)
	if err != nil {
		return "", fmt.Errorf("volume %s of pool %s: %w", name, pool, err)
	}
	defer v.Free() //nolint:errcheck // as above
	return v.GetPath()
}

// adopt makes a domain ours that another tool made, if it is still what it was: the mark is
// put on the running guest, too, which is not touched otherwise. Its definition follows.
func (d *Driver) adopt(s *session, spec driver.Spec) (*found, error) {
	dom, err := s.conn.LookupDomainByUUIDString(spec.UUID)
	if err != nil {
		return nil, fmt.Errorf("domain %s: look up: %w", spec.Name, err)
	}
	one, f, _, err := d.foreign(s, dom)
	if err == nil {
		err = sameAs(one, spec)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("domain %s: cannot be taken over: %w", spec.Name, err), dom.Free())
	}
	rec, err := d.planRecord(s, spec, f)
	if err == nil {
		err = d.records.put(rec) // what is recorded as ours is ours before it says so
	}
	if err != nil {
		f.free()
		return nil, err
	}
	if !f.running {
		return f, nil
	}
	m := mark{Mesh: d.cfg.Mesh, Epoch: spec.Epoch}
	if err := dom.SetMetadata(lv.DOMAIN_METADATA_ELEMENT, m.element(), "tenks", markNS, lv.DOMAIN_AFFECT_LIVE); err != nil {
		f.free()
		return nil, fmt.Errorf("domain %s: mark the running guest: %w", spec.Name, err)
	}
	return f, nil
}
