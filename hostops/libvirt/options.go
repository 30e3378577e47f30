package libvirt

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// Name is what agent.yml and cluster files call this driver.
const Name = "libvirt"

// The values of the option domain_type.
const (
	domainAuto = "auto"
	domainKVM  = "kvm"
	domainQEMU = "qemu"
)

// options are the driver's keys of agent.yml.
type options struct {
	uri string
	// domainType is kvm or qemu.
	domainType string
	// poolPath is where volumes and firmware variables are.
	poolPath string
	// group is the volume group that volumes are logical volumes of; empty: they are files.
	group string
	// poolMode is that of the directory.
	poolMode os.FileMode
	// vncAddress is where screens are shared.
	vncAddress string
}

// parseOptions checks all options; kvm says whether the host can run KVM guests.
func parseOptions(given map[string]string, kvm bool) (options, error) {
	o := options{uri: "qemu:///system", domainType: domainAuto, poolPath: "/var/lib/tenks/pool", poolMode: 0o711, vncAddress: "127.0.0.1"}
	faults := groupFaults(given["pool_type"], given["pool_source"])
	o.group = given["pool_source"]
	for key, value := range given {
		switch key {
		case "pool_type", "pool_source": // see above
		case "uri":
			o.uri = value
		case "domain_type":
			o.domainType = value
		case "pool_path":
			o.poolPath = filepath.Clean(value)
		case "pool_mode":
			if o.poolMode = modeOf(value); o.poolMode == 0 {
				faults = append(faults, fmt.Errorf("option pool_mode %q: must be octal, with 711 in it: QEMU's user gets through the directory", value))
			}
		case "vnc_address":
			if net.ParseIP(value) == nil {
				faults = append(faults, fmt.Errorf("option vnc_address %q: must be an IP address", value))
			}
			o.vncAddress = value
		default:
			faults = append(faults, fmt.Errorf("option %q: unknown (known: uri, domain_type, pool_type, pool_source, pool_path, pool_mode, vnc_address)", key))
		}
	}
	if o.domainType == domainAuto {
		o.domainType = usualDomain(kvm)
	}
	if !slices.Contains([]string{domainKVM, domainQEMU}, o.domainType) {
		faults = append(faults, fmt.Errorf("option domain_type %q: must be auto, kvm or qemu", o.domainType))
	}
	if !filepath.IsAbs(o.poolPath) || o.poolPath == "/" {
		faults = append(faults, fmt.Errorf("option pool_path %q: must be an absolute path", o.poolPath))
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(faults...); err != nil {
		return options{}, fmt.Errorf("libvirt: %w", err)
	}
	return o, nil
}

// groupFaults are those of the options of a volume group.
func groupFaults(kind, group string) (faults []error) {
	if !slices.Contains([]string{"", "dir", "logical"}, kind) {
		faults = append(faults, fmt.Errorf("option pool_type %q: must be dir or logical", kind))
	}
	if group != "" && !groupName.MatchString(group) {
		faults = append(faults, fmt.Errorf("option pool_source %q: must be the name of a volume group", group))
	}
	if (kind == "logical") != (group != "") {
		faults = append(faults, errors.New("options pool_type: logical and pool_source: one needs the other"))
	}
	return faults
}

func usualDomain(kvm bool) string {
	if kvm {
		return domainKVM
	}
	return domainQEMU
}

// modeOf reads the mode of the pool's directory; 0: it is none.
func modeOf(text string) os.FileMode {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o777 || mode&0o711 != 0o711 {
		return 0
	}
	return os.FileMode(mode)
}

var cpuVirt = regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`)

// hostHasKVM reports whether KVM guests run here. A /dev/kvm alone proves nothing: on
// some hosts it exists and guests hang in it.
func hostHasKVM() bool {
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	_, err = os.Stat("/dev/kvm")
	return err == nil && cpuVirt.Match(cpu)
}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$`)

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// checkSpec refuses what would make a path or a domain that nobody expects.
func checkSpec(s driver.Spec) error {
	switch {
	case !nodeName.MatchString(s.Name):
		return fmt.Errorf("node name %q: not usable as the name of a domain and of files", s.Name)
	case !uuidForm.MatchString(s.UUID):
		return fmt.Errorf("node %s: UUID %q: must be lower-case hexadecimal, 8-4-4-4-12", s.Name, s.UUID)
	case s.Machine.MemoryMB == 0 || s.Machine.VCPUs < 1:
		return fmt.Errorf("node %s: %d MiB memory and %d vCPUs: must be more than none", s.Name, s.Machine.MemoryMB, s.Machine.VCPUs)
	case len(s.Disks()) > maxDisks:
		return fmt.Errorf("node %s: %d volumes: at most %d", s.Name, len(s.Disks()), maxDisks)
	}
	return checkArch(s)
}

// checkArch refuses what there is no machine with.
func checkArch(s driver.Spec) error {
	switch {
	case s.Machine.TPM != "" && s.Machine.TPM != state.TPM2:
		return fmt.Errorf("node %s: TPM %q: must be %s or none: %w", s.Name, s.Machine.TPM, state.TPM2, state.ErrUnsupported)
	case s.Setup.SecureBoot && s.Machine.BootMode != state.BootUEFI:
		return fmt.Errorf("node %s: secure boot: needs boot mode uefi: %w", s.Name, state.ErrUnsupported)
	case s.Machine.Arch() != state.ArchX86 && s.Machine.Arch() != state.ArchARM:
		return fmt.Errorf("node %s: architecture %q: must be %s or %s: %w", s.Name, s.Machine.Arch(), state.ArchX86, state.ArchARM, state.ErrUnsupported)
	case s.Machine.Arch() == state.ArchARM && s.Machine.BootMode != state.BootUEFI:
		return fmt.Errorf("node %s: architecture %s: needs boot mode uefi: %w", s.Name, state.ArchARM, state.ErrUnsupported)
	case s.Machine.Arch() == state.ArchARM && s.Setup.SecureBoot:
		return fmt.Errorf("node %s: secure boot: the firmware of %s has none: %w", s.Name, state.ArchARM, state.ErrUnsupported)
	}
	return nil
}
