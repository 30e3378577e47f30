//go:build cgo && libvirt_dlopen

package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Ensure implements driver.Driver.
func (d *Driver) Ensure(ctx context.Context, spec driver.Spec) error {
	if err := checkSpec(spec); err != nil {
		return fmt.Errorf("libvirt: %w", err)
	}
	return d.change(ctx, spec.UUID, func(ctx context.Context, s *session) error {
		f, err := d.find(s, spec.UUID)
		if errors.Is(err, errForeign) && !spec.Origin.IsZero() {
			f, err = d.adopt(s, spec)
		}
		if err != nil {
			return err
		}
		defer f.free()
		if f != nil && f.def.Name != spec.Name {
			return fmt.Errorf("domain %s: is named %s now: rename it back with virsh domrename", spec.Name, f.def.Name)
		}
		rec, err := d.prepare(ctx, s, spec, f)
		if err != nil && f == nil {
			return cmp.Or(nameTaken(s, spec), err)
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return hung(ctx)
		}
		if err := d.ensureDomain(ctx, s, spec, rec, f); err != nil {
			return err
		}
		if f != nil && f.running {
			return d.replug(ctx, rec, f)
		}
		return nil
	})
}

// nameTaken says that a domain could not be defined because another has its name; nil:
// it was something else.
func nameTaken(s *session, spec driver.Spec) error {
	dom, err := s.conn.LookupDomainByName(spec.Name)
	if err != nil {
		return nil // what went wrong before is told
	}
	defer dom.Free() //nolint:errcheck // a handle of ours
	other, err := dom.GetUUIDString()
	if err != nil || other == spec.UUID {
		return nil // as above
	}
	return fmt.Errorf("domain %s: there is one of this name already, with UUID %s: %w", spec.Name, other, errForeign)
}

// prepare makes all that the domain needs. What will be ours is recorded first.
func (d *Driver) prepare(ctx context.Context, s *session, spec driver.Spec, f *found) (record, error) {
	rec, err := d.planRecord(s, spec, f)
	if err != nil {
		return record{}, err
	}
	if err := d.records.put(rec); err != nil {
		return record{}, err
	}
	if err := os.MkdirAll(d.cfg.ConsoleDir, 0o755); err != nil { //nolint:gosec // virtlogd's user writes there
		return record{}, fmt.Errorf("console directory: %w", err)
	}
	if len(rec.Volumes) > 0 || spec.Machine.BootMode == state.BootUEFI {
		if err := d.pool.ensure(s); err != nil {
			return record{}, err
		}
	}
	if err := d.settle(ctx, s, &rec, f != nil && f.running); err != nil {
		return record{}, err
	}
	if f == nil || !f.running {
		if err := d.records.settleVars(&rec, false); err != nil {
			return record{}, err
		}
	}
	if err := d.unstage(&rec); err != nil {
		return record{}, err
	}
	return rec, nil
}

// planRecord decides what is going to be the node's.
func (d *Driver) planRecord(s *session, spec driver.Spec, f *found) (record, error) {
	old, known := d.records.get(spec.UUID)
	if !known {
		old = record{UUID: spec.UUID, Pool: d.opts.poolPath}
		switch {
		case !spec.Origin.IsZero():
			originRecord(&old, spec)
		case f != nil:
			old.Volumes, old.Files = adopt(f.def, d.opts.poolPath), adoptFiles(f.def)
		}
	}
	rec := old
	rec.Name, rec.Epoch = spec.Name, spec.Epoch
	rec.Volumes, rec.Start, rec.Vars = volumesOf(rec.Pool, spec), startingOf(spec.Setup), varsOf(spec)
	rec.PlainVars = spec.Machine.Arch() == state.ArchARM
	rec.LogBytes, rec.LogKeep = spec.Machine.Hardware.ConsoleLogBytes, spec.Machine.Hardware.ConsoleLogKeep
	if err := d.place(s, rec, old); err != nil {
		return record{}, fmt.Errorf("node %s: %w", spec.Name, err)
	}
	rec.TPM = old.TPM || spec.Machine.TPM != ""
	surplus, err := planVolumes(old.Volumes, rec.Volumes)
	if err != nil {
		return record{}, fmt.Errorf("node %s: %w", spec.Name, err)
	}
	rec.Filling = stillFilling(slices.Concat(old.Filling, toFill(rec, old)), rec.Volumes)
	rec.Surplus = slices.Concat(old.Surplus, surplus)
	rec.Surplus = slices.DeleteFunc(rec.Surplus, func(path string) bool {
		return slices.ContainsFunc(rec.Volumes, func(v volume) bool { return v.Path == path })
	})
	rec.Files = []string{consoleLog(d.cfg.ConsoleDir, spec.Name)}
	if nvram := nvramPath(rec); spec.Machine.BootMode == state.BootUEFI || old.owns(nvram) {
		rec.Files = append(rec.Files, nvram)
	}
	if err := d.groups.taken(s, rec, old); err != nil {
		return record{}, fmt.Errorf("node %s: %w", spec.Name, err)
	}
	for _, path := range slices.Concat(rec.paths(), rec.Files[1:]) {
		if !old.owns(path) && fileExists(path) {
			return record{}, fmt.Errorf("node %s: file %s: exists, and is not of this node: move it away", spec.Name, path)
		}
	}
	return rec, nil
}

// place says where the volumes of a node are made that are not there yet, and refuses what this
// host has no disks for.
func (d *Driver) place(s *session, rec, old record) error {
	if err := placeVolumes(s, rec.Volumes); err != nil {
		return err
	}
	if err := placeInGroup(d.opts.group, rec.Volumes, old.Volumes); err != nil {
		return err
	}
	if err := checkNVMe(rec.Volumes, s.conn.GetLibVersion); err != nil {
		return err
	}
	if other, path := sharedDisk(rec, d.records.others(rec)); other != "" {
		return fmt.Errorf("%s is a disk of node %s: two guests that write to it destroy what is on it", path, other)
	}
	return nil
}

func (r record) paths() []string {
	var out []string
	for _, v := range r.Volumes {
		if !v.Keep {
			out = append(out, v.Path)
		}
	}
	return out
}

func nvramPath(r record) string { return cmp.Or(r.NVRAM, filepath.Join(r.Pool, r.Name+"_VARS.fd")) }

// adoptFiles returns the other files of such a domain.
func adoptFiles(def *libvirtxml.Domain) []string {
	if def.OS == nil || def.OS.NVRam == nil || def.OS.NVRam.NVRam == "" {
		return nil
	}
	return []string{def.OS.NVRam.NVRam}
}

// settle makes a node's files what its record says. Volumes get larger, and go, only
// while the guest is off.
func (d *Driver) settle(ctx context.Context, s *session, rec *record, running bool) error {
	changed := false
	rec.Volumes = slices.Clone(rec.Volumes) // those that there are are the record's that was put
	for i, v := range rec.Volumes {
		if v.Keep {
			if err := settleKept(&rec.Volumes[i]); err != nil {
				return fmt.Errorf("node %s: %w", rec.Name, err)
			}
			continue
		}
		if v.Group != "" { // taken back while it was being overwritten
			if err := d.jobs.join(ctx, overwriteKey(v.Path)); err != nil {
				return fmt.Errorf("node %s: %w", rec.Name, err)
			}
		}
		if !fileExists(v.Path) || slices.Contains(rec.Filling, v.Name) { // one that is there needs its image's file as it is, and no other
			changed = true
			if err := d.makeFile(ctx, s, rec, i); err != nil {
				return fmt.Errorf("node %s: %w", rec.Name, err)
			}
		}
		if running {
			continue
		}
		if err := growVolume(ctx, v); err != nil {
			return fmt.Errorf("node %s: %w", rec.Name, err)
		}
	}
	if !running && len(rec.Surplus) > 0 {
		changed = true
		if err := d.removeSurplus(ctx, rec); err != nil {
			return err
		}
	}
	if changed {
		d.refreshPool()
	}
	return nil
}

// removeSurplus deletes the volumes that a node no longer has.
func (d *Driver) removeSurplus(ctx context.Context, rec *record) error {
	files, err := d.removeLVs(ctx, rec.Surplus)
	if err != nil {
		return fmt.Errorf("node %s: %w", rec.Name, err)
	}
	for _, path := range files {
		d.jobs.stop(copyKey(path))
		if err := errors.Join(removeFile(path), removeFile(unfinished(path))); err != nil {
			return fmt.Errorf("node %s: volume: %w", rec.Name, err)
		}
	}
	rec.Surplus = nil
	return d.records.put(*rec)
}

// ensureDomain defines the domain unless it is as it should be.
func (d *Driver) ensureDomain(ctx context.Context, s *session, spec driver.Spec, rec record, f *found) error {
	if err := d.settleCDROMs(ctx, &rec, spec); err != nil {
		return err
	}
	want, err := d.wanted(spec, rec, f)
	if err != nil {
		return err
	}
	if f != nil && f.persistent && same(f, want) {
		return nil
	}
	dom, err := define(s, want)
	if err != nil {
		// Looked for only now: it costs a round trip, and libvirt refuses it by itself.
		return cmp.Or(nameTaken(s, spec), err)
	}
	if spec.Machine.Hardware.XMLOverlay != "" {
		err = d.mark(s, dom, want)
	}
	return errors.Join(err, dom.Free())
}

// wanted is a node's domain as it should be; f is the one that there is, or nil.
func (d *Driver) wanted(spec driver.Spec, rec record, f *found) (*libvirtxml.Domain, error) {
	fw, err := firmwareFor(spec.Machine, spec.Setup.SecureBoot)
	if err == nil {
		err = checkTPM(spec.Machine.TPM)
	}
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", spec.Name, err)
	}
	b := blueprint{Mesh: d.cfg.Mesh, Spec: spec, DomainType: d.opts.domainType, Volumes: rec.Volumes, Firmware: fw,
		NVRAM: nvramPath(rec), ConsoleLog: consoleLog(d.cfg.ConsoleDir, spec.Name), ScreenAddress: d.opts.vncAddress, CDROMs: rec.CDROMs}
	if f == nil {
		return b.build(nil)
	}
	if rec.NVRAM != "" && f.def.OS != nil && f.def.OS.Loader != nil && !b.Firmware.Secure { // its variables go with this firmware
		b.Firmware.Code = f.def.OS.Loader.Path
	}
	return b.build(f.def)
}

// mark writes the mark of a domain with an overlay again, if libvirt wrote what the overlay says
// otherwise, such as an amount in another unit: it would count as changed for ever.
func (d *Driver) mark(s *session, dom *lv.Domain, want *libvirtxml.Domain) error {
	f, err := d.inspect(dom)
	if err != nil {
		return fmt.Errorf("domain %s: read: %w", want.Name, err)
	}
	is := hardwareOf(f.def).fingerprint()
	if is == f.mark.Hardware {
		return nil
	}
	f.mark.Hardware = is
	text, err := replaceMark(f.def.Metadata.XML, f.mark)
	if err != nil {
		return fmt.Errorf("domain %s: %w", want.Name, err)
	}
	f.def.Metadata.XML = text
	again, err := define(s, f.def)
	if err != nil {
		return err
	}
	return again.Free()
}

// same reports whether a domain is what want describes.
func same(f *found, want *libvirtxml.Domain) bool {
	m, ok, err := readMark(want.Metadata.XML)
	m.Hardware = cmp.Or(overlaidPrint(m, f.mark), m.Hardware)
	return err == nil && ok && m == f.mark && hardwareOf(f.def).fingerprint() == m.Hardware && getOrder(f.def).equal(getOrder(want))
}

// Remove implements driver.Driver.
func (d *Driver) Remove(ctx context.Context, uuid string) error {
	return d.change(ctx, uuid, func(ctx context.Context, s *session) error {
		f, err := d.find(s, uuid)
		rec, known := d.records.get(uuid)
		switch {
		case errors.Is(err, errForeign) && !known:
			return nil
		case errors.Is(err, errForeign) && rec.takenOver(): // that was not finished: what is another's stays so
			return errors.Join(d.records.drop(uuid), d.pool.remove(s, func() bool { return len(d.records.list()) > 0 }))
		}
		if err != nil {
			return err
		}
		defer f.free()
		if f != nil {
			if !known {
				rec = record{UUID: uuid, Name: f.def.Name, Pool: d.opts.poolPath, Volumes: adopt(f.def, d.opts.poolPath)}
				rec.Files = []string{consoleLog(d.cfg.ConsoleDir, rec.Name), nvramPath(rec)}
				if err := d.records.put(rec); err != nil {
					return err
				}
			}
			if err := d.undefine(ctx, f); err != nil {
				return err
			}
		}
		if err := d.removeFiles(ctx, s, rec); err != nil {
			return err
		}
		return errors.Join(d.closeGroups(s), d.pool.remove(s, func() bool { return len(d.records.list()) > 0 }))
	})
}

func (d *Driver) undefine(ctx context.Context, f *found) error {
	if f.running {
		d.stops.begin(ctx)
		err := f.dom.Destroy()
		d.stops.cancel()
		if err != nil && !gone(err) {
			return fmt.Errorf("domain %s: stop: %w", f.def.Name, err)
		}
	}
	if !f.persistent {
		return nil
	}
	err := f.dom.UndefineFlags(lv.DOMAIN_UNDEFINE_MANAGED_SAVE | lv.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
		lv.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | lv.DOMAIN_UNDEFINE_KEEP_NVRAM)
	if err != nil && !errors.Is(err, lv.ERR_NO_DOMAIN) {
		return fmt.Errorf("domain %s: undefine: %w", f.def.Name, err)
	}
	return nil
}

// gone reports whether an error says that a domain does not run, or does not exist.
func gone(err error) bool {
	return errors.Is(err, lv.ERR_OPERATION_INVALID) || errors.Is(err, lv.ERR_NO_DOMAIN)
}

func (d *Driver) removeFiles(ctx context.Context, s *session, rec record) error {
	if rec.UUID == "" {
		return nil
	}
	plain, err := d.removeLVs(ctx, slices.Concat(rec.Surplus, rec.Files, rec.paths()))
	if err != nil {
		return fmt.Errorf("node %s: %w", rec.Name, err)
	}
	var files []string
	for _, path := range plain {
		files = append(files, path, unfinished(path))
	}
	d.logs.Lock() // none is rotated meanwhile
	defer d.logs.Unlock()
	for _, path := range rec.Files { // virtlogd keeps old ones
		if strings.HasSuffix(path, ".log") {
			rotated, err := filepath.Glob(path + ".[0-9]*")
			if err != nil {
				return fmt.Errorf("node %s: %w", rec.Name, err)
			}
			files = append(files, rotated...)
		}
	}
	if rec.Stage != "" {
		if err := os.RemoveAll(rec.Stage); err != nil {
			return fmt.Errorf("node %s: %w", rec.Name, err)
		}
	}
	if rec.TPM { // libvirt deletes it as well, if it got as far as a domain
		if err := os.RemoveAll(d.tpmHome(rec.UUID)); err != nil {
			return fmt.Errorf("node %s: %w", rec.Name, err)
		}
	}
	d.vars.forget(nvramPath(rec))
	for _, path := range slices.Concat(rec.Surplus, rec.paths()) { // or they would come once more
		d.jobs.stop(copyKey(path))
	}
	for _, path := range files {
		if err := removeFile(path); err != nil {
			return fmt.Errorf("node %s: %w", rec.Name, err)
		}
	}
	d.refreshPool()
	if err := d.records.drop(rec.UUID); err != nil {
		return err
	}
	d.sweepImages(s, rec.Pool)
	return nil
}
