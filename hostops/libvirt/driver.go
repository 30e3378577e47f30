//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Driver implements driver.Driver. It is safe for concurrent use.
type Driver struct {
	cfg     driver.Config
	opts    options
	conns   *connector
	records *records
	locks   nodeLocks
	stops   stops
	pool    pool
	groups  groups
	cache   cache
	vars    varsCache
	archs   archs
	jobs    jobs
	sums    sums
	// logs is held while console logs are rotated, and while those of a node are deleted.
	logs sync.Mutex
	// tpms is where libvirt keeps the state of TPMs.
	tpms string
	// qemu is the version of QEMU, as libvirt counts; 0: not known yet.
	qemu atomic.Uint32
	// alive ends in Close.
	alive context.Context //nolint:containedctx // what is done in the background lives as long as the driver
	stop  context.CancelFunc
}

// Open returns the driver. It connects with the first call, so it works while
// libvirtd is down.
func Open(c driver.Config) (driver.Driver, error) { return open(c) }

func open(c driver.Config) (*Driver, error) {
	opts, err := parseOptions(c.Options, hostHasKVM())
	if err != nil {
		return nil, err
	}
	if c.Mesh == "" || !filepath.IsAbs(c.DataDir) || !filepath.IsAbs(c.ConsoleDir) {
		return nil, fmt.Errorf("libvirt: mesh %q, data directory %q, console directory %q: must be given, directories as absolute paths", c.Mesh, c.DataDir, c.ConsoleDir)
	}
	recs, err := openRecords(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("libvirt: %w", err)
	}
	d := &Driver{cfg: c, opts: opts, conns: newConnector(opts.uri), records: recs,
		locks: nodeLocks{held: map[string]*nodeLock{}}, cache: cache{views: map[string]cached{}, seen: map[string]bool{}},
		vars: varsCache{all: map[string]cachedVars{}}, tpms: tpmDir}
	d.sums.all = map[content]string{}
	d.pool = pool{mode: opts.poolMode, path: opts.poolPath, mesh: c.Mesh, file: filepath.Join(c.DataDir, "pool.json")}
	d.groups.file = filepath.Join(c.DataDir, "groups.json")
	d.groups.wipe = overwrite
	d.alive, d.stop = context.WithCancel(context.Background()) //nolint:forbidigo // ends in Close
	d.jobs = jobs{start: d.conns.start, alive: d.alive, patience: jobPatience, all: map[string]*job{}}
	return d, nil
}

// Close ends calls as far as libvirt lets it, waits for them, and closes the
// connection. A call to a libvirtd that hangs takes until its connection is given up.
func (d *Driver) Close() {
	d.stop()
	d.conns.close()
	_ = d.records.close() // what was acknowledged is on disk
}

// Info implements driver.Driver.
func (d *Driver) Info(ctx context.Context) (driver.Info, error) {
	return call(ctx, d.conns, func(_ context.Context, s *session) (driver.Info, error) {
		lib, err := s.conn.GetLibVersion()
		if err != nil {
			return driver.Info{}, fmt.Errorf("libvirt: version: %w", err)
		}
		// libvirtd may look at every QEMU for seconds to answer this. A call that its
		// caller gave up goes on, and the next one has the answer.
		qemu := d.qemu.Load()
		if qemu == 0 {
			if qemu, err = s.conn.GetVersion(); err != nil {
				return driver.Info{}, fmt.Errorf("libvirt: QEMU version: %s: is QEMU installed (qemu-system-x86)? %w", message(err), err)
			}
			d.qemu.Store(qemu)
		}
		node, err := s.conn.GetNodeInfo()
		if err != nil {
			return driver.Info{}, fmt.Errorf("libvirt: node info: %w", err)
		}
		free := diskOf(d.opts.poolPath)
		return driver.Info{Name: Name, Version: versionText(lib),
			Capacity: state.Resources{VCPUs: int(node.Cpus), MemoryMB: node.Memory / 1024, DiskGB: free >> 30}, //nolint:gosec // a host has few CPUs
			Facts: map[string]string{"libvirt": versionText(lib), "qemu": versionText(qemu), "uri": d.opts.uri,
				"domain_type": d.opts.domainType, "pool_path": d.opts.poolPath, "cpu": node.Model,
				"kvm":            strconv.FormatBool(hostHasKVM()),
				driver.FactArchs: strings.Join(d.archs.get(s, time.Now(), func() ([]string, error) { return askArchs(s) }), " ")}}, nil
	})
}

// diskOf returns the size of the file system that has, or will have, a path.
func diskOf(path string) uint64 {
	for {
		var s unix.Statfs_t
		if unix.Statfs(path, &s) == nil {
			return s.Blocks * uint64(max(s.Bsize, 0))
		}
		if path == "/" || path == "." {
			return 0
		}
		path = filepath.Dir(path)
	}
}

// found is a domain of ours.
type found struct {
	dom *lv.Domain
	// running, and persistent: it has a definition that outlives it.
	running, persistent bool
	// text is its definition, with what is secret in it; def is that, parsed.
	text string
	def  *libvirtxml.Domain
	mark mark
}

// errForeign is what a domain is that does not carry our mark.
var errForeign = errors.New("it is not of this mesh and stays untouched")

// find looks a domain up. It returns nil if there is none, and an error that wraps
// errForeign if it is somebody else's.
func (d *Driver) find(s *session, uuid string) (*found, error) {
	dom, err := s.conn.LookupDomainByUUIDString(uuid)
	if errors.Is(err, lv.ERR_NO_DOMAIN) {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("domain %s: look up: %w", uuid, err)
	}
	f, err := d.inspect(dom)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("domain %s: %w", uuid, err), dom.Free())
	}
	return f, nil
}

func (d *Driver) inspect(dom *lv.Domain) (*found, error) {
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
	if err := f.def.Unmarshal(f.text); err != nil {
		return nil, err
	}
	if f.def.Devices == nil || f.def.OS == nil {
		return nil, fmt.Errorf("named %s: %w", f.def.Name, errForeign)
	}
	ours := false
	if f.def.Metadata != nil {
		if f.mark, ours, err = readMark(f.def.Metadata.XML); err != nil {
			return nil, err
		}
	}
	if !ours || f.mark.Mesh != d.cfg.Mesh {
		return nil, fmt.Errorf("named %s: %w", f.def.Name, errForeign)
	}
	return f, nil
}

func (f *found) free() {
	if f != nil {
		_ = f.dom.Free() // a handle of ours; nothing depends on it
	}
}

// live returns the XML of a running guest, parsed.
func (f *found) live() (*libvirtxml.Domain, view, error) {
	text, err := f.dom.GetXMLDesc(lv.DOMAIN_XML_SECURE)
	if err != nil {
		return nil, view{}, fmt.Errorf("domain %s: read: %w", f.def.Name, err)
	}
	v, err := viewOf(text)
	if err != nil {
		return nil, view{}, fmt.Errorf("domain %s: %w", f.def.Name, err)
	}
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(text); err != nil {
		return nil, view{}, fmt.Errorf("domain %s: %w", f.def.Name, err)
	}
	return d, v, nil
}

// define makes d the domain's definition.
func define(s *session, d *libvirtxml.Domain) (*lv.Domain, error) {
	text, err := d.Marshal()
	if err != nil {
		return nil, fmt.Errorf("domain %s: write XML: %w", d.Name, err)
	}
	dom, err := s.conn.DomainDefineXML(text)
	if err != nil {
		return nil, fmt.Errorf("domain %s: define: %w", d.Name, err)
	}
	return dom, nil
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// nodeLocks makes what changes a node wait for what else does.
type nodeLocks struct {
	mu   sync.Mutex
	held map[string]*nodeLock
}

type nodeLock struct {
	// taken is full while somebody has the lock.
	taken chan struct{}
	// users have it or wait for it; guarded by nodeLocks.mu.
	users int
}

// lock waits for a node's lock; the caller calls unlock unless there is an error.
func (l *nodeLocks) lock(ctx context.Context, uuid string) (unlock func(), err error) {
	l.mu.Lock()
	n := l.held[uuid]
	if n == nil {
		n = &nodeLock{taken: make(chan struct{}, 1)}
		l.held[uuid] = n
	}
	n.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n.users--; n.users == 0 {
			delete(l.held, uuid)
		}
	}
	select {
	case n.taken <- struct{}{}:
		return func() { <-n.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("node %s: another change is under way: %w", uuid, state.ErrBusy)
	}
}

// change runs do with a node's lock and a connection.
func (d *Driver) change(ctx context.Context, uuid string, do func(ctx context.Context, s *session) error) error {
	_, err := call(ctx, d.conns, func(ctx context.Context, s *session) (struct{}, error) {
		unlock, err := d.locks.lock(ctx, uuid)
		if err != nil {
			return struct{}{}, err
		}
		defer unlock()
		return struct{}{}, do(ctx, s)
	})
	return err
}

// later runs do after a while, unless the driver is closed before.
func (d *Driver) later(after time.Duration, do func(ctx context.Context)) bool {
	return d.conns.start(func() { // ends after do, or in Close
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-d.alive.Done():
		case <-timer.C:
			do(d.alive)
		}
	})
}
