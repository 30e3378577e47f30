//go:build cgo && libvirt_dlopen

package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	lv "libvirt.org/go/libvirt"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// cache keeps what was read of domains, by their XML.
type cache struct {
	// mu guards what follows.
	mu    sync.Mutex
	views map[string]cached
	// seen are the UUIDs of our domains.
	seen map[string]bool
}

// cached is one document of a domain.
type cached struct {
	text string
	view view
}

// view returns what an XML document says; key is the domain and which of its two
// documents it is.
func (c *cache) view(key, text string) (view, error) {
	c.mu.Lock()
	old, ok := c.views[key]
	c.mu.Unlock()
	if ok && old.text == text {
		return old.view, nil
	}
	v, err := viewOf(text)
	if err != nil {
		return view{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views[key] = cached{text, v}
	return v, nil
}

// keep drops what is of other domains than all.
func (c *cache) keep(all, ours map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.views {
		if !all[key[:min(36, len(key))]] {
			delete(c.views, key)
		}
	}
	c.seen = ours
}

func (c *cache) ours(uuid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[uuid]
}

// Instances implements driver.Driver.
func (d *Driver) Instances(ctx context.Context) ([]driver.Instance, error) {
	return call(ctx, d.conns, d.instances)
}

func (d *Driver) instances(ctx context.Context, s *session) ([]driver.Instance, error) {
	doms, err := s.conn.ListAllDomains(0)
	if err != nil {
		return nil, fmt.Errorf("libvirt: list domains: %w", err)
	}
	defer free(doms)
	// A domain that is defined or undefined meanwhile is in one list or the other.
	transient, err := s.conn.ListAllDomains(lv.CONNECT_LIST_DOMAINS_TRANSIENT)
	if err != nil {
		return nil, fmt.Errorf("libvirt: list domains: %w", err)
	}
	defer free(transient)
	undefined := map[string]bool{}
	for i := range transient {
		uuid, err := transient[i].GetUUIDString()
		if err != nil {
			return nil, fmt.Errorf("libvirt: list domains: %w", err)
		}
		undefined[uuid] = true
	}
	recs := d.records.list()
	found, err := d.readAll(ctx, doms, undefined, recs)
	if err != nil {
		return nil, err
	}
	all, ours := map[string]bool{}, map[string]bool{}
	var out []driver.Instance
	for uuid, one := range found {
		all[uuid] = true
		if one != nil {
			ours[uuid] = true
			out = append(out, *one)
		}
	}
	d.cache.keep(all, ours)
	// What was begun and not finished is there to be removed, or finished.
	for uuid, rec := range recs {
		if rec.LogBytes > 0 || rec.LogKeep > 0 {
			d.logs.Lock()
			_ = boundLog(consoleLog(d.cfg.ConsoleDir, rec.Name), rec.LogBytes, rec.LogKeep) // the next look tries again
			d.logs.Unlock()
		}
		if !ours[uuid] {
			out = append(out, driver.Instance{UUID: uuid, Name: rec.Name, Epoch: rec.Epoch, Power: state.PowerOff})
		}
	}
	slices.SortFunc(out, func(a, b driver.Instance) int { return cmp.Compare(a.UUID, b.UUID) })
	return out, nil
}

// readers is how many domains are read at a time: libvirtd answers several, and XML
// is parsed meanwhile.
const readers = 4

// readAll reads domains by UUID; nil stands for one that is not ours.
func (d *Driver) readAll(ctx context.Context, doms []lv.Domain, undefined map[string]bool, recs map[string]record) (map[string]*driver.Instance, error) {
	var mu sync.Mutex // guards out
	out := map[string]*driver.Instance{}
	var g errgroup.Group
	g.SetLimit(readers)
	for i := range doms {
		g.Go(func() error {
			if ctx.Err() != nil {
				return hung(ctx)
			}
			uuid, err := doms[i].GetUUIDString()
			if err != nil {
				return fmt.Errorf("libvirt: list domains: %w", err)
			}
			one, ok, err := d.instance(&doms[i], uuid, undefined[uuid], recs[uuid])
			if errors.Is(err, lv.ERR_NO_DOMAIN) {
				return nil // it went meanwhile
			}
			if err != nil {
				return fmt.Errorf("domain %s: read: %w", uuid, err)
			}
			mu.Lock()
			defer mu.Unlock()
			out[uuid] = nil
			if ok {
				out[uuid] = &one
			}
			return nil
		})
	}
	return out, g.Wait()
}

func free(doms []lv.Domain) {
	for i := range doms {
		_ = doms[i].Free() // handles of ours
	}
}

// instance reads one domain; ok is false for one that is not ours.
func (d *Driver) instance(dom *lv.Domain, uuid string, undefined bool, rec record) (i driver.Instance, ok bool, err error) {
	text, err := dom.GetXMLDesc(lv.DOMAIN_XML_INACTIVE)
	if err != nil {
		return i, false, err
	}
	next, err := d.cache.view(uuid, text)
	if err != nil || !next.ours || next.mark.Mesh != d.cfg.Mesh {
		return i, false, err
	}
	name, err := dom.GetName()
	if err != nil {
		return i, false, err
	}
	i = driver.Instance{UUID: uuid, Name: name, Epoch: next.mark.Epoch, Power: state.PowerOff, Digest: next.mark.Digest, Media: next.media, USB: next.usb}
	if undefined || next.hardware.fingerprint() != next.mark.Hardware || rec.Name != name || missing(next.hardware) {
		i.Digest = ""
	}
	if next.hardware.Firmware == state.BootUEFI && !rec.PlainVars {
		i.Firmware = d.vars.firmwareFacts(nvramPath(rec))
	}
	if _, e := dom.GetID(); e != nil { // it was off when it was listed
		return i, true, nil //nolint:nilerr // see above
	}
	return d.runningInstance(dom, i, next, rec)
}

// runningInstance adds to i what there is to say of a guest that runs.
func (d *Driver) runningInstance(dom *lv.Domain, i driver.Instance, next view, rec record) (driver.Instance, bool, error) {
	live, err := dom.GetXMLDesc(0)
	if err != nil {
		return i, false, err
	}
	now, err := d.cache.view(i.UUID+" live", live)
	if err != nil {
		return i, false, err
	}
	i.Power, i.Media, i.USB, i.Display = state.PowerOn, now.media, now.usb, now.display
	i.Pending = slices.Concat(pending(now.hardware, next.hardware), pendingOverlay(now.mark, next.mark), growing(rec), pendingKeys(rec))
	if i.Firmware != nil && now.hardware.Secure && d.vars.enforces(nvramPath(rec)) {
		i.Firmware[driver.FirmwareSecureBoot] = driver.SecureBootEnforced
	}
	for _, n := range now.lostNICs(linkExists) {
		index := slices.IndexFunc(next.hardware.NICs, func(o nic) bool { return o.MAC == now.hardware.NICs[n].MAC })
		if index >= 0 { // else it goes anyway
			i.Pending = append(i.Pending, fmt.Sprintf("NIC %d needs a power cycle: its link was deleted", index))
		}
	}
	if unplugged(rec, now.hardware) {
		i.Digest = ""
	}
	return i, true, nil
}

// unplugged reports whether a NIC is out that is to come back.
func unplugged(rec record, live hardware) bool {
	return slices.ContainsFunc(rec.Replug, func(mac string) bool {
		return !slices.ContainsFunc(live.NICs, func(n nic) bool { return n.MAC == mac })
	})
}

// missing reports whether a file of the domain's disks is.
func missing(h hardware) bool {
	return slices.ContainsFunc(h.Disks, func(k disk) bool { return !fileExists(k.Path) })
}

// growing says which volumes of a running guest get larger when it is off.
func growing(rec record) []string {
	var out []string
	devs := diskDevs(rec.Volumes)
	for i, v := range rec.Volumes {
		size, err := volumeSize(v)
		if err == nil && size < v.Capacity {
			out = append(out, fmt.Sprintf("disk %s: %d → %d bytes", devs[i], size, v.Capacity))
		}
	}
	return out
}

func volumeSize(v volume) (uint64, error) {
	if v.Keep || v.Group != "" {
		return v.Capacity, nil
	}
	if v.format() != formatRaw {
		img, err := readImage(v.Path)
		return img.Size, err
	}
	i, err := os.Stat(v.Path)
	if err != nil {
		return 0, err
	}
	return uint64(max(i.Size(), 0)), nil
}
