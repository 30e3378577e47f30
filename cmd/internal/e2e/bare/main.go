//go:build cgo && libvirt_dlopen

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	libvirt "libvirt.org/go/libvirt"
)

func main() {
	count := flag.Int("n", 20, "nodes")
	parallel := flag.Int("parallel", 16, "workers")
	dir := flag.String("dir", "", "directory for volumes")
	api := flag.Bool("volume-api", true, "make volumes through libvirt, else make the files")
	flag.Parse()
	d, err := run(context.Background(), loop{n: *count, parallel: *parallel, dir: *dir, api: *api})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stdout, "%.3f\n", d.Seconds())
}

type loop struct {
	n, parallel int
	dir         string
	api         bool
	conn        *libvirt.Connect
	pool        *libvirt.StoragePool
}

// run makes a pool, a bridge and the nodes, takes them away again, and returns how
// long making took.
func run(ctx context.Context, l loop) (took time.Duration, err error) {
	if l.conn, err = libvirt.NewConnect("qemu:///system"); err != nil {
		return 0, err
	}
	began := time.Now()
	xml := fmt.Sprintf("<pool type='dir'><name>bare</name><target><path>%s</path></target></pool>", l.dir)
	if l.pool, err = l.conn.StoragePoolDefineXML(xml, 0); err != nil {
		return 0, err
	}
	if err := l.pool.Create(0); err != nil {
		return 0, err
	}
	if err := ip(ctx, "link", "add", "brbare", "type", "bridge"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.clean(ctx)) }()
	g, working := errgroup.WithContext(ctx)
	g.SetLimit(l.parallel)
	for i := range l.n {
		g.Go(func() error { return l.node(working, i) })
	}
	err = g.Wait()
	return time.Since(began), err
}

func (l *loop) node(ctx context.Context, i int) error {
	name := fmt.Sprintf("bare%d", i)
	volume := filepath.Join(l.dir, name+"vol0")
	if l.api {
		xml := fmt.Sprintf("<volume><name>%svol0</name><capacity>1073741824</capacity><allocation>0</allocation><target><format type='raw'/></target></volume>", name)
		v, err := l.pool.StorageVolCreateXML(xml, 0)
		if err != nil {
			return err
		}
		if err := v.Free(); err != nil {
			return err
		}
	} else if err := sparse(volume); err != nil {
		return err
	}
	if err := links(name); err != nil {
		return err
	}
	d, err := l.conn.DomainDefineXML(domain(name, volume))
	if err != nil {
		return err
	}
	if err := d.Free(); err != nil {
		return err
	}
	c, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", fmt.Sprintf("127.0.0.1:%d", 30000+i))
	if err != nil {
		return err
	}
	return c.Close()
}

func sparse(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(1<<30), f.Close())
}

// domain has the devices that a node of Tenks has.
func domain(name, volume string) string {
	return fmt.Sprintf(`<domain type='qemu'><name>%[1]s</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><bios useserial='yes'/></os><features><acpi/><apic/></features><cpu mode='maximum'/>
<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
<devices><disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source file='%[2]s'/><target dev='vda' bus='virtio'/><boot order='1'/></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/><readonly/><boot order='3'/></disk>
<interface type='direct'><source dev='%[1]s-tap' mode='passthrough'/><model type='virtio'/><boot order='2'/></interface>
<serial type='pty'><log file='%[2]s.log' append='on'/><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>
<memballoon model='none'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>`, name, volume)
}

// clean removes what run made.
func (l *loop) clean(ctx context.Context) error {
	var errs error
	for i := range l.n {
		name := fmt.Sprintf("bare%d", i)
		if d, err := l.conn.LookupDomainByName(name); err == nil {
			errs = errors.Join(errs, d.Undefine())
		}
		errs = errors.Join(errs, ip(ctx, "link", "del", name+"-tap"), os.Remove(filepath.Join(l.dir, name+"vol0")))
	}
	errs = errors.Join(errs, ip(ctx, "link", "del", "brbare"), l.pool.Destroy(), l.pool.Undefine())
	_, err := l.conn.Close()
	return errors.Join(errs, err)
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}
