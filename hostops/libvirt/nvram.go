package libvirt

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tenks/hostops/driver"
	"tenks/hostops/libvirt/varstore"
	"tenks/raftfsm/state"
)

// The values of Setup.Keys.
const (
	keysDefault = "default"
	keysNone    = "none"
	keysNoPK    = "no-pk"
	// keysCustom is a platform key that is not the firmware's; only seen, never asked for.
	keysCustom = "custom"
)

// vars is what of a Setup is in a node's UEFI variables.
type vars struct {
	// Secure says that the firmware enforces Secure Boot.
	Secure bool `json:"secure,omitempty"`
	// Keys is one of the values above; empty: as they are. KeysAt counts how often they were
	// set.
	Keys   string `json:"keys,omitempty"`
	KeysAt uint64 `json:"keys_at,omitempty"`
}

func varsOf(s driver.Spec) vars {
	if s.Machine.BootMode != state.BootUEFI {
		return vars{}
	}
	return vars{Secure: s.Setup.SecureBoot, Keys: s.Setup.Keys, KeysAt: s.Setup.KeysAt}
}

// due says which keys are to be written; empty: none. Those that the firmware enforces are
// written also when it begins to: firmware without Secure Boot lets a guest change all
// variables.
func (want vars) due(have vars) string {
	switch {
	case want.Keys != have.Keys && want.Keys != "", want.KeysAt != have.KeysAt:
		return cmp.Or(want.Keys, keysDefault)
	case want.Secure && !have.Secure:
		return cmp.Or(want.Keys, keysDefault)
	}
	return ""
}

// pendingKeys says which keys a running guest's variables get when it is off.
func pendingKeys(rec record) []string {
	keys := rec.Vars.due(rec.VarsNow)
	if keys == "" {
		return nil
	}
	return []string{"secure boot keys → " + keys}
}

// settleVars makes a node's UEFI variables what its record says; start says that the guest
// is about to be started. The guest is off.
func (r *records) settleVars(rec *record, start bool) error {
	nvram := nvramPath(*rec)
	if rec.PlainVars || rec.Vars == rec.VarsNow && !start || !slices.Contains(rec.Files, nvram) {
		return nil
	}
	keys, exists := rec.Vars.due(rec.VarsNow), fileExists(nvram)
	if keys != "" || exists && rec.Vars != rec.VarsNow || !exists && start {
		if err := writeKeys(nvram, keys, rec.Vars.Secure); err != nil {
			return fmt.Errorf("node %s: firmware variables: %w", rec.Name, err)
		}
	}
	if rec.VarsNow == rec.Vars {
		return nil
	}
	rec.VarsNow = rec.Vars
	return r.put(*rec)
}

// writeKeys puts keys into the variables in a file, and whether they are enforced: Debian's
// firmware without System Management Mode does Secure Boot as well. A file that is not there is
// made, with the keys that the firmware comes with; without any such keys it is left to libvirt.
func writeKeys(nvram, keys string, enforce bool) error {
	template := nvram
	fresh := !fileExists(nvram)
	if fresh {
		f, err := findFirmware(state.BootUEFI, false)
		if err != nil {
			return err
		}
		template = f.Vars
	}
	store, err := readVars(template)
	if err != nil {
		return err
	}
	if keys == keysDefault || fresh && keys != keysNone {
		from, err := defaultKeys(template)
		if err != nil {
			if keys == "" {
				return nil // there are none, and nobody asked for them
			}
			return err
		}
		if err := store.Enrol(from); err != nil {
			return err
		}
	}
	switch keys {
	case "", keysDefault:
	case keysNone:
		store.ClearKeys()
	case keysNoPK:
		store.DeletePK()
	default:
		return fmt.Errorf("keys %q: %w", keys, state.ErrUnsupported)
	}
	store.Enable(enforce)
	b, err := store.Bytes()
	if err != nil {
		return fmt.Errorf("%s: %w", nvram, err)
	}
	return replaceFile(nvram, b)
}

// replaceFile writes a file whole or not at all, and keeps its owner: QEMU's user has it.
func replaceFile(path string, b []byte) error {
	old, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	next := unfinished(path)
	if err := removeFile(next); err != nil {
		return err
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if old != nil {
		var s unix.Stat_t
		if err = unix.Stat(path, &s); err == nil {
			err = errors.Join(f.Chown(int(s.Uid), int(s.Gid)), f.Chmod(old.Mode().Perm()))
		}
	}
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, removeFile(next))
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func readVars(path string) (*varstore.Store, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := varstore.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// defaultKeys are the variables with the firmware's keys, for a store as in the file path.
func defaultKeys(path string) (*varstore.Store, error) {
	s, err := findSecure(path)
	if err != nil {
		return nil, err
	}
	return readVars(s.Keys)
}

// varsCache keeps what was read of files with variables.
type varsCache struct {
	mu  sync.Mutex // guards all
	all map[string]cachedVars
}

type cachedVars struct {
	at   time.Time
	size int64
	seen seenVars
}

// seenVars is what there is to say of variables.
type seenVars struct {
	keys     string
	enforces bool
	// facts are Instance.Firmware of what is in the databases.
	facts map[string]string
	// bad says that they cannot be read.
	bad bool
}

// look reads a file's variables unless that was done already.
func (c *varsCache) look(path string) (seenVars, bool) {
	i, err := os.Stat(path)
	if err != nil {
		return seenVars{}, false
	}
	c.mu.Lock()
	have, ok := c.all[path]
	c.mu.Unlock()
	if ok && have.at.Equal(i.ModTime()) && have.size == i.Size() {
		return have.seen, !have.seen.bad
	}
	s := seeVars(path)
	if s.bad && ok { // a guest that runs may be writing
		return have.seen, !have.seen.bad
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[path] = cachedVars{i.ModTime(), i.Size(), s}
	return s, !s.bad
}

// forget drops what was read of a file.
func (c *varsCache) forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, path)
}

func seeVars(path string) seenVars {
	store, err := readVars(path)
	if err != nil {
		return seenVars{bad: true}
	}
	s := seenVars{keys: string(store.Keys()), enforces: store.Enforces(), facts: map[string]string{}}
	if store.Keys() == varstore.KeysTaken {
		s.keys = keysCustom
		if from, err := defaultKeys(path); err == nil && store.SameKeys(from) {
			s.keys = keysDefault
		}
	}
	for _, name := range varstore.Databases() {
		all, err := store.Database(name)
		if err != nil {
			continue // a guest's own
		}
		var certificates, hashes strings.Builder
		for _, g := range all {
			certificates.WriteString(g.PEM())
			if g.Type == varstore.CertSHA256 {
				hashes.WriteString(hex.EncodeToString(g.Data) + "\n")
			}
		}
		for kind, text := range map[string]string{driver.FirmwareCertificates: certificates.String(), driver.FirmwareHashes: hashes.String()} {
			if text != "" {
				s.facts[kind+name] = text
			}
		}
	}
	return s
}

// firmwareFacts are Instance.Firmware of a node that is off, or nil where there is nothing to say: the
// firmware is no UEFI's, or this host has none with Secure Boot.
func (c *varsCache) firmwareFacts(nvram string) map[string]string {
	path := nvram
	if !fileExists(nvram) { // that is what the first start makes
		f, err := findFirmware(state.BootUEFI, true)
		if err != nil {
			return nil
		}
		s, err := findSecure(f.Vars)
		if err != nil {
			return nil
		}
		path = s.Keys
	}
	if _, err := findSecure(path); err != nil {
		return nil
	}
	s, ok := c.look(path)
	if !ok {
		return nil
	}
	facts := map[string]string{driver.FirmwareKeys: s.keys, driver.FirmwareSecureBoot: driver.SecureBootOff}
	maps.Copy(facts, s.facts)
	return facts
}

// enforces reports whether firmware with Secure Boot enforces it on these variables.
func (c *varsCache) enforces(nvram string) bool {
	s, ok := c.look(nvram)
	return ok && s.enforces
}
