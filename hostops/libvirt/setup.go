package libvirt

import (
	"fmt"
	"slices"
	"strconv"

	"libvirt.org/go/libvirtxml"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// maxBootTimeout is the longest wait of the boot menu, in seconds: menuTimeout is another
// one's.
const maxBootTimeout = 59

// starting is what a Setup says of starts. The record has it: a start knows no Spec.
type starting struct {
	// Order is Setup.Order.
	Order []string `json:"order,omitempty"`
	// NoNetwork says that NICs are not started from.
	NoNetwork bool `json:"no_network,omitempty"`
	// Wait is for how long the boot menu waits, in milliseconds; empty: there is none.
	Wait string `json:"wait,omitempty"`
}

func (s starting) equal(o starting) bool {
	return s.NoNetwork == o.NoNetwork && s.Wait == o.Wait && slices.Equal(s.Order, o.Order)
}

func startingOf(s driver.Setup) starting {
	out := starting{Order: s.Order, NoNetwork: s.Off(driver.BIOSNetworkBoot)}
	if seconds, err := strconv.Atoi(s.BIOS[driver.BIOSBootTimeout]); err == nil && seconds > 0 {
		out.Wait = strconv.Itoa(min(seconds, maxBootTimeout) * 1000)
	}
	return out
}

// sort puts those of devices first that the order names, in its order.
func (s starting) sort(of map[state.BootDevice][]string) []string {
	disks, nics, cds, sticks := of[state.BootDisk], of[state.BootPXE], of[state.BootCDROM], of[state.BootUSB]
	names := map[string]string{}
	for kind, devices := range map[string][]string{"disk": disks, "nic": nics} {
		for i, dev := range devices {
			names[kind+strconv.Itoa(i)] = dev
		}
	}
	for name, devices := range map[string][]string{"cdrom": cds, "usb": sticks} {
		if len(devices) > 0 {
			names[name] = devices[0]
		}
	}
	var out []string
	for _, name := range s.Order {
		if dev, there := names[name]; there && !slices.Contains(out, dev) {
			out = append(out, dev)
		}
	}
	for _, dev := range slices.Concat(disks, nics, cds, sticks) {
		if !slices.Contains(out, dev) {
			out = append(out, dev)
		}
	}
	return out
}

// cpuFeatures are those that processors which cannot virtualize lack: Intel's and AMD's.
var cpuFeatures = []string{"svm", "vmx"}

// wideAddresses goes with them under TCG: without SVM, QEMU has no CPUID leaf 80000008h any
// longer, where a guest with 5-level paging finds how wide addresses are, and its processes
// fail.
const wideAddresses = "la57"

// vcpus is how many processors the guest has.
func vcpus(s driver.Spec) uint {
	n := uint(s.Machine.VCPUs) //nolint:gosec // it is checked
	if s.Setup.Off(driver.BIOSLogicalProc) && n > 1 {
		return n / 2
	}
	return n
}

// setUp makes the domain what attributes of the firmware setup say.
func (b blueprint) setUp(d *libvirtxml.Domain) {
	s := b.Spec.Setup
	if s.Off(driver.BIOSVirtualization) {
		names := cpuFeatures
		if b.DomainType != domainKVM {
			names = append(slices.Clone(names), wideAddresses)
		}
		for _, name := range names {
			d.CPU.Features = append(d.CPU.Features, libvirtxml.DomainCPUFeature{Policy: "disable", Name: name})
		}
	}
	if s.Off(driver.BIOSSerial) && d.OS.BIOS != nil {
		d.OS.BIOS.UseSerial = "no"
	}
	if s.Off(driver.BIOSNetworkBoot) {
		for i := range d.Devices.Interfaces {
			d.Devices.Interfaces[i].ROM = &libvirtxml.DomainROM{Enabled: "no"}
		}
	}
}

// setupOf is what of setUp a domain has, in words.
func setupOf(d *libvirtxml.Domain) []string {
	var out []string
	if d.CPU != nil {
		for _, f := range d.CPU.Features {
			if f.Policy == "disable" && slices.Contains(cpuFeatures, f.Name) {
				out = append(out, "no "+f.Name)
			}
		}
	}
	slices.Sort(out)
	if d.OS != nil && d.OS.BIOS != nil && d.OS.BIOS.UseSerial == "no" {
		out = append(out, "firmware without a serial console")
	}
	for i, n := range d.Devices.Interfaces {
		if n.ROM != nil && n.ROM.Enabled == "no" {
			out = append(out, fmt.Sprintf("NIC %d without a ROM", i))
		}
	}
	return out
}
