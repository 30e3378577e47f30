//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// nvramName is what the file of UEFI variables is called on its way to another host.
const nvramName = "nvram"

// Luggage implements driver.Mover. Its notes are the domain's XML: what a guest's
// operating system has seen of the machine goes with it.
func (d *Driver) Luggage(ctx context.Context, uuid string) (driver.Luggage, error) {
	return call(ctx, d.conns, func(ctx context.Context, s *session) (driver.Luggage, error) {
		unlock, err := d.locks.lock(ctx, uuid)
		if err != nil {
			return driver.Luggage{}, err
		}
		defer unlock()
		f, err := d.find(s, uuid)
		if err != nil {
			return driver.Luggage{}, err
		}
		defer f.free()
		rec, known := d.records.get(uuid)
		switch {
		case f == nil, !known, rec.Stage != "":
			return driver.Luggage{}, fmt.Errorf("domain %s: not all of it is here: %w", uuid, state.ErrNotFound)
		case f.running:
			return driver.Luggage{}, fmt.Errorf("domain %s: it is on: %w", f.def.Name, state.ErrWrongState)
		}
		notes, err := note(f, rec)
		if err != nil {
			return driver.Luggage{}, fmt.Errorf("domain %s: %w", f.def.Name, err)
		}
		l := driver.Luggage{Notes: notes}
		for _, v := range rec.Volumes {
			if err := v.movable(); err != nil {
				return driver.Luggage{}, fmt.Errorf("domain %s: %w", f.def.Name, err)
			}
			f := driver.File{Name: v.Name, Path: v.Path, Image: v.backing()}
			if v.Format != "" { // what was there before is a difference to nothing
				f.Image = ""
			}
			l.Files = append(l.Files, f)
		}
		// libvirt makes it with the first start.
		if nvram := nvramPath(rec); slices.Contains(rec.Files, nvram) && fileExists(nvram) {
			l.Files = append(l.Files, driver.File{Name: nvramName, Path: nvram})
		}
		// The same holds for that of the TPM.
		if state := d.tpmState(uuid); hardwareOf(f.def).TPM != "" && fileExists(state) {
			l.Files = append(l.Files, driver.File{Name: tpmName, Path: state})
		}
		return l, nil
	})
}

// stagePath is where a node's files are put that is to be imported: renamed, they are
// in their places.
func stagePath(r record) string { return filepath.Join(r.Pool, "."+r.Name+".move") }

// Stage implements driver.Mover.
func (d *Driver) Stage(ctx context.Context, spec driver.Spec) (dir string, err error) {
	if err := checkSpec(spec); err != nil {
		return "", fmt.Errorf("libvirt: %w", err)
	}
	err = d.change(ctx, spec.UUID, func(_ context.Context, s *session) error {
		dir, err = d.stage(s, spec)
		return err
	})
	return dir, err
}

func (d *Driver) stage(s *session, spec driver.Spec) (string, error) {
	f, err := d.find(s, spec.UUID)
	if err != nil {
		return "", err
	}
	defer f.free()
	rec, known := d.records.get(spec.UUID)
	switch {
	case f != nil && rec.Stage == "":
		return "", nil
	case known && rec.Stage == "":
		return "", fmt.Errorf("node %s: files of it are here that did not come with this move: %v", spec.Name, rec.paths())
	case !known:
		if err := d.checkImport(s, spec); err != nil {
			return "", err
		}
		rec = record{UUID: spec.UUID, Name: spec.Name, Epoch: spec.Epoch, Pool: d.opts.poolPath}
		rec.Stage = stagePath(rec)
		if err := d.records.put(rec); err != nil {
			return "", err
		}
	}
	if err := d.pool.ensure(s); err != nil {
		return "", err
	}
	if err := os.Mkdir(rec.Stage, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("node %s: %w", spec.Name, err)
	}
	return rec.Stage, nil
}

// checkImport says why a node could not be imported once its files were here.
func (d *Driver) checkImport(s *session, spec driver.Spec) error {
	if d.opts.group != "" {
		return fmt.Errorf("node %s: volumes of this host are in the volume group %s (pool_type: logical), where no node moves to: %w", spec.Name, d.opts.group, state.ErrUnsupported)
	}
	if err := nameTaken(s, spec); err != nil {
		return err
	}
	if _, err := d.planRecord(s, spec, nil); err != nil {
		return err
	}
	for _, v := range spec.Machine.Volumes {
		if v.Image == "" || v.Copy {
			continue
		}
		if _, err := readImage(v.Image); err != nil {
			return fmt.Errorf("node %s: %w", spec.Name, err)
		}
	}
	_, err := firmwareFor(spec.Machine, spec.Setup.SecureBoot)
	return errors.Join(err, checkTPM(spec.Machine.TPM))
}

// Import implements driver.Mover. The files are recorded as the node's before they are
// moved to their places, and the stage goes last: whatever a crash leaves, a repeat goes
// on from there.
func (d *Driver) Import(ctx context.Context, spec driver.Spec, l driver.Luggage) error {
	if err := checkSpec(spec); err != nil {
		return fmt.Errorf("libvirt: %w", err)
	}
	return d.change(ctx, spec.UUID, func(ctx context.Context, s *session) error {
		f, err := d.find(s, spec.UUID)
		if err != nil {
			return err
		}
		defer f.free()
		rec, known := d.records.get(spec.UUID)
		switch {
		case f != nil && rec.Stage == "":
			return nil
		case !known || rec.Stage == "":
			return fmt.Errorf("node %s: is not staged: %w", spec.Name, state.ErrNotFound)
		}
		if rec, err = d.planRecord(s, spec, nil); err != nil {
			return err
		}
		if f == nil {
			if f, err = noted(l.Notes); err != nil {
				return fmt.Errorf("node %s: %w", spec.Name, err)
			}
			if f != nil {
				rec.VarsNow = f.mark.Vars
				if err := inFormats(rec.Volumes, hardwareOf(f.def).Disks); err != nil {
					return fmt.Errorf("node %s: %w", spec.Name, err)
				}
			}
		}
		if err := d.records.put(rec); err != nil {
			return err
		}
		if err := errors.Join(d.moveIn(ctx, rec, l.Files), d.importTPM(rec)); err != nil {
			return fmt.Errorf("node %s: %w", spec.Name, err)
		}
		return d.importDomain(ctx, s, spec, rec, f)
	})
}

// moveIn puts files from the stage into their places; those that are not in the stage
// are there already. A pool of the operator's may be on another file system: the file is copied.
func (d *Driver) moveIn(ctx context.Context, rec record, files []driver.File) error {
	places := map[string]string{nvramName: nvramPath(rec)}
	for _, v := range rec.Volumes {
		places[v.Name] = v.Path
	}
	for _, f := range files {
		place, wanted := places[f.Name]
		if !wanted || f.Name == nvramName && !rec.owns(place) {
			continue // a volume that the node no longer has
		}
		from := filepath.Join(rec.Stage, f.Name)
		err := os.Rename(from, place)
		if errors.Is(err, os.ErrNotExist) && fileExists(place) {
			continue
		}
		if errors.Is(err, unix.EXDEV) {
			err = d.jobs.run(ctx, copyKey(place), func(ctx context.Context, tell telling) error { return placeFile(ctx, from, place, tell) })
		}
		if err != nil {
			return err
		}
	}
	return syncDir(rec.Pool)
}

// note is the domain as it goes along, with what was put into its variables in the mark.
func note(f *found, rec record) ([]byte, error) {
	if rec.VarsNow == (vars{}) {
		return []byte(f.text), nil
	}
	m := f.mark
	m.Vars = rec.VarsNow
	text, err := replaceMark(f.def.Metadata.XML, m)
	if err != nil {
		return nil, err
	}
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(f.text); err != nil {
		return nil, err
	}
	d.Metadata = &libvirtxml.DomainMetadata{XML: text}
	out, err := d.Marshal()
	return []byte(out), err
}

// noted is the domain that the node was on the other host, as far as it holds here.
func noted(notes []byte) (*found, error) {
	if len(notes) == 0 {
		return nil, nil //nolint:nilnil // it is made anew then
	}
	f := &found{def: &libvirtxml.Domain{}}
	if err := f.def.Unmarshal(string(notes)); err != nil {
		return nil, fmt.Errorf("its domain on the other host: %w", err)
	}
	if f.def.Devices == nil || f.def.OS == nil {
		return nil, errors.New("its domain on the other host: not one of ours")
	}
	if f.def.Metadata != nil {
		var err error
		if f.mark, _, err = readMark(f.def.Metadata.XML); err != nil {
			return nil, fmt.Errorf("its domain on the other host: %w", err)
		}
	}
	f.def.Devices.Emulator = ""
	plugStick(f.def, "")
	for i := range f.def.Devices.Disks { // what is in the drive is a file of the other host
		if f.def.Devices.Disks[i].Device == "cdrom" {
			f.def.Devices.Disks[i].Source = nil
		}
	}
	return f, nil
}

func (d *Driver) importDomain(ctx context.Context, s *session, spec driver.Spec, rec record, f *found) error {
	if err := os.MkdirAll(d.cfg.ConsoleDir, 0o755); err != nil { //nolint:gosec // virtlogd's user writes there
		return fmt.Errorf("console directory: %w", err)
	}
	if err := d.settle(ctx, s, &rec, false); err != nil {
		return err
	}
	if err := d.ensureDomain(ctx, s, spec, rec, f); err != nil {
		return err
	}
	d.refreshPool()
	return d.unstage(&rec)
}

// unstage deletes what was put into a node's stage, and that there was one.
func (d *Driver) unstage(rec *record) error {
	if rec.Stage == "" {
		return nil
	}
	if err := os.RemoveAll(rec.Stage); err != nil {
		return fmt.Errorf("node %s: %w", rec.Name, err)
	}
	rec.Stage = ""
	return d.records.put(*rec)
}
