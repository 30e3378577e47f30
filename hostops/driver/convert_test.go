package driver

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

func TestErrorsKeepTheirTextAndKindOverTheWire(t *testing.T) {
	kinds := []error{state.ErrBusy, state.ErrNotFound, state.ErrWrongState, state.ErrUnsupported}
	for i, want := range kinds {
		err := fmt.Errorf("node %q: power on: %w", "n1", want)
		got := fromStatus(toStatus(err))
		if got.Error() != err.Error() {
			t.Errorf("got text %q, want %q", got, err)
		}
		for j, kind := range kinds {
			if is := errors.Is(got, kind); is != (i == j) {
				t.Errorf("%q: errors.Is %q: got %t", err, kind, is)
			}
		}
	}
	plain := errors.New("pool: disk full")
	if got := fromStatus(toStatus(plain)); got.Error() != plain.Error() || errors.Is(got, state.ErrBusy) {
		t.Errorf("got %v, want %v of no kind", got, plain)
	}
	if fromStatus(toStatus(nil)) != nil {
		t.Error("no error became one")
	}
}

func TestWhatRanOutOfTimeIsBusy(t *testing.T) {
	for _, err := range []error{
		toStatus(fmt.Errorf("libvirt: list domains: %w", context.DeadlineExceeded)),
		toStatus(fmt.Errorf("libvirt: list domains: %w", context.Canceled)),
		status.Error(codes.DeadlineExceeded, "context deadline exceeded"),
		status.Error(codes.Canceled, "context canceled"),
		status.Error(codes.Unavailable, "connection refused"),
	} {
		if got := fromStatus(err); !errors.Is(got, state.ErrBusy) {
			t.Errorf("%v: got %v, want one that is %q", err, got, state.ErrBusy)
		}
	}
}

func TestErrorTextIsValidOnTheWire(t *testing.T) {
	got := fromStatus(toStatus(errors.New("image /\xff\xfe: not there"))).Error()
	if !utf8.ValidString(got) || !strings.Contains(got, "not there") {
		t.Errorf("got %q, want valid text with the rest of the message", got)
	}
}

// wire sends a message through its encoding.
func wire[M proto.Message](t *testing.T, m, into M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
	return into
}

// allHardware has every field set.
func allHardware() state.Hardware {
	return state.Hardware{Arch: "aarch64", MachineType: "virt", CPUMode: "custom", CPUModel: "m", Topology: state.Topology{Sockets: 1, Cores: 2, Threads: 3},
		ClockOffset: "localtime", DiskBus: "scsi", DiskCache: "unsafe", NICModel: "e1000", NoConsoleLog: true, NewConsoleLog: true, ConsoleLogBytes: 4,
		ConsoleLogKeep: 5, VNC: true, Spice: true, GuestAgent: true, TrustGuestRXFilters: true, XMLOverlay: "<domain/>", VolumePrefix: "disk",
		SMBIOS:     state.SMBIOS{Manufacturer: "m", Product: "p", Version: "v", Serial: "s", SKU: "k", Family: "f", Asset: "a"},
		USBDevices: []state.USBDevice{{Vendor: "0403", Product: "6001"}}, CDROMs: []state.CDROM{{Image: "/i.iso", Checksum: "md5:00", Bus: "scsi"}}}
}

func TestEveryFieldOfHardwareIsOfTheDigest(t *testing.T) {
	all := reflect.ValueOf(allHardware())
	for i := range all.NumField() {
		var h state.Hardware
		name := all.Type().Field(i).Name
		if all.Field(i).IsZero() {
			t.Errorf("%s is not set by allHardware", name)
		}
		reflect.ValueOf(&h).Elem().Field(i).Set(all.Field(i))
		if h.IsZero() || h.Equal(state.Hardware{}) {
			t.Errorf("%s does not count in Equal", name)
		}
		if (Spec{Machine: state.Machine{Hardware: h}}).Digest() == (Spec{}).Digest() {
			t.Errorf("%s is not part of the digest", name)
		}
		if got := hardwareFromPB(hardwareToPB(h)); !got.Equal(h) {
			t.Errorf("%s over the wire: got %+v, want %+v", name, got, h)
		}
	}
}

func TestValuesAreTheSameBehindTheWire(t *testing.T) {
	spec := Spec{UUID: "u", Name: "n", Epoch: 1 << 60, Boot: state.Boot{Device: state.BootPXE, Persistent: true, EFI: true},
		Machine: state.Machine{Driver: "libvirt", MemoryMB: 1 << 40, VCPUs: 3, Physnets: []string{"a", "b"},
			BootMode: state.BootUEFI, IronicDriver: "ipmi", SecureBoot: true, TPM: state.TPM2,
			Volumes: []state.Volume{{CapacityBytes: 1 << 50}, {CapacityBytes: 7, Image: "/i.qcow2"},
				{Copy: true, Checksum: "md5:00", Format: "raw", Path: "/dev/sdb", Pool: "p", Bus: "scsi", Cache: "none", Discard: "ignore", Serial: "s", WWN: "w"}},
			Hardware: allHardware()},
		Ports: []Port{{MAC: "52:54:00:00:00:01", Physnet: "a", Link: "p-n-0-tap"}, {MAC: "m", Physnet: "b", Link: "l"}},
		Setup: Setup{SecureBoot: true, Keys: "no-pk", KeysAt: 3, BIOS: map[string]string{"ProcVirtualization": "Disabled"}, Order: []string{"nic0", "disk0"},
			Volumes: []RAIDVolume{{ID: "1", Level: "10", Disks: []int{0, 1}, CapacityBytes: 1 << 50, Serial: "s", Made: 7}, {ID: "2", Level: "0", CapacityBytes: 1, Made: 8}}}}
	got := specFromPB(wire(t, specToPB(spec), &pb.EnsureRequest{}))
	if diff := cmp.Diff(spec, got); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if spec.Digest() != got.Digest() {
		t.Errorf("digest: got %s, want %s: a driver would make every node anew", got.Digest(), spec.Digest())
	}
	empty := Spec{UUID: "u", Name: "n", Machine: state.Machine{Driver: "fake"}}
	if behind := specFromPB(wire(t, specToPB(empty), &pb.EnsureRequest{})); behind.Digest() != empty.Digest() {
		t.Errorf("digest of a node without ports and volumes: got %s, want %s", behind.Digest(), empty.Digest())
	}
	instance := Instance{UUID: "u", Name: "n", Epoch: 9, Power: state.PowerOn, Digest: "d", Pending: []string{"memory", "ports"}, Firmware: map[string]string{"keys": "none"}, Display: "vnc://127.0.0.1:5900"}
	if diff := cmp.Diff(instance, instanceFromPB(wire(t, instanceToPB(instance), &pb.Instance{}))); diff != "" {
		t.Errorf("instance (-want +got):\n%s", diff)
	}
	info := Info{Name: "libvirt", Version: "9.0", Capacity: state.Resources{VCPUs: 8, MemoryMB: 1 << 20, DiskGB: 900},
		Facts: map[string]string{"domain_type": "qemu"}}
	if diff := cmp.Diff(info, infoFromPB(wire(t, infoToPB(info), &pb.InfoReply{}))); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	event := Event{Type: EventPower, UUID: "u", Power: state.PowerOff, Cause: CauseHost}
	if diff := cmp.Diff(event, eventFromPB(wire(t, eventToPB(event), &pb.Event{}))); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	config := Config{Mesh: "m", DataDir: "/d", ConsoleDir: "/c", Options: map[string]string{"uri": "qemu:///system"}}
	if diff := cmp.Diff(config, configFromPB(wire(t, configToPB(config), &pb.ConfigureRequest{}))); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestDigestIsOfWhatTheNodeConsistsOf(t *testing.T) {
	spec := func(change func(*Spec)) string {
		s := Spec{UUID: "u", Name: "n", Epoch: 1, Machine: state.Machine{MemoryMB: 512, Volumes: []state.Volume{{CapacityBytes: 1}}},
			Ports: []Port{{MAC: "m", Link: "l"}}}
		change(&s)
		return s.Digest()
	}
	base := spec(func(*Spec) {})
	if want := "8c2fcc88aeb32f240b017b68"; base != want {
		t.Errorf("digest %s, want %s: every node there is would be made anew", base, want)
	}
	for name, change := range map[string]func(*Spec){
		"epoch":                  func(s *Spec) { s.Epoch = 2 },
		"setup without a change": func(s *Spec) { s.Setup = Setup{Volumes: []RAIDVolume{}, BIOS: map[string]string{}, Order: []string{}} },
		"boot":                   func(s *Spec) { s.Boot = state.Boot{Device: state.BootPXE, Persistent: true, EFI: true} },
	} {
		if spec(change) != base {
			t.Errorf("%s changes the digest", name)
		}
	}
	for name, change := range map[string]func(*Spec){
		"name":          func(s *Spec) { s.Name = "o" },
		"memory":        func(s *Spec) { s.Machine.MemoryMB++ },
		"volume":        func(s *Spec) { s.Machine.Volumes[0].CapacityBytes++ },
		"link":          func(s *Spec) { s.Ports[0].Link = "k" },
		"secure boot":   func(s *Spec) { s.Setup.SecureBoot = true },
		"the same keys": func(s *Spec) { s.Setup.KeysAt++ },
		"RAID":          func(s *Spec) { s.Setup.Volumes = []RAIDVolume{{ID: "1", Made: 1}} },
		"BIOS":          func(s *Spec) { s.Setup.BIOS = map[string]string{"a": "b"} },
		"order":         func(s *Spec) { s.Setup.Order = []string{"nic0"} },
	} {
		if spec(change) == base {
			t.Errorf("%s does not change the digest", name)
		}
	}
}
