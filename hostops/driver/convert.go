package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// What goes over the wire, and back.

func configToPB(c Config) *pb.ConfigureRequest {
	return &pb.ConfigureRequest{Mesh: c.Mesh, DataDir: c.DataDir, ConsoleDir: c.ConsoleDir, Options: c.Options}
}

func configFromPB(r *pb.ConfigureRequest) Config {
	return Config{Mesh: r.GetMesh(), DataDir: r.GetDataDir(), ConsoleDir: r.GetConsoleDir(), Options: r.GetOptions()}
}

func infoToPB(i Info) *pb.InfoReply {
	return &pb.InfoReply{Name: i.Name, Version: i.Version, Vcpus: int64(i.Capacity.VCPUs),
		MemoryMb: i.Capacity.MemoryMB, DiskGb: i.Capacity.DiskGB, Facts: i.Facts}
}

func infoFromPB(r *pb.InfoReply) Info {
	return Info{Name: r.GetName(), Version: r.GetVersion(), Facts: r.GetFacts(),
		Capacity: state.Resources{VCPUs: int(r.GetVcpus()), MemoryMB: r.GetMemoryMb(), DiskGB: r.GetDiskGb()}}
}

func instanceToPB(i Instance) *pb.Instance {
	return &pb.Instance{Uuid: i.UUID, Name: i.Name, Epoch: i.Epoch, Power: string(i.Power), Digest: i.Digest, Pending: i.Pending, Media: i.Media, Usb: i.USB, Firmware: i.Firmware,
		Display: i.Display}
}

func instanceFromPB(i *pb.Instance) Instance {
	return Instance{UUID: i.GetUuid(), Name: i.GetName(), Epoch: i.GetEpoch(), Power: state.Power(i.GetPower()),
		Digest: i.GetDigest(), Pending: i.GetPending(), Media: i.GetMedia(), USB: i.GetUsb(), Firmware: i.GetFirmware(), Display: i.GetDisplay()}
}

func loadToPB(l Load) *pb.Load {
	return &pb.Load{Uuid: l.UUID, CpuNanoseconds: int64(l.CPU), Vcpus: int64(l.VCPUs)}
}

func loadFromPB(l *pb.Load) Load {
	return Load{UUID: l.GetUuid(), CPU: time.Duration(l.GetCpuNanoseconds()), VCPUs: int(l.GetVcpus())}
}

func bootToPB(b state.Boot) *pb.Boot {
	return &pb.Boot{Device: string(b.Device), Persistent: b.Persistent, Efi: b.EFI}
}

func bootFromPB(b *pb.Boot) state.Boot {
	return state.Boot{Device: state.BootDevice(b.GetDevice()), Persistent: b.GetPersistent(), EFI: b.GetEfi()}
}

func specToPB(s Spec) *pb.EnsureRequest {
	m := &pb.Machine{Driver: s.Machine.Driver, MemoryMb: s.Machine.MemoryMB, Vcpus: int64(s.Machine.VCPUs),
		Physnets: s.Machine.Physnets, BootMode: string(s.Machine.BootMode), IronicDriver: s.Machine.IronicDriver,
		SecureBoot: s.Machine.SecureBoot, Tpm: s.Machine.TPM, Hardware: hardwareToPB(s.Machine.Hardware)}
	for _, v := range s.Machine.Volumes {
		m.Volumes = append(m.Volumes, volumeToPB(v))
	}
	r := &pb.EnsureRequest{Uuid: s.UUID, Name: s.Name, Epoch: s.Epoch, Machine: m, Boot: bootToPB(s.Boot), Setup: setupToPB(s.Setup), Origin: originToPB(s.Origin)}
	for _, p := range s.Ports {
		r.Ports = append(r.Ports, &pb.Port{Mac: p.MAC, Physnet: p.Physnet, Link: p.Link, Mtu: int64(p.MTU)})
	}
	return r
}

func specFromPB(r *pb.EnsureRequest) Spec {
	m := r.GetMachine()
	s := Spec{UUID: r.GetUuid(), Name: r.GetName(), Epoch: r.GetEpoch(), Boot: bootFromPB(r.GetBoot()), Setup: setupFromPB(r.GetSetup()), Origin: originFromPB(r.GetOrigin()),
		Machine: state.Machine{Driver: m.GetDriver(), MemoryMB: m.GetMemoryMb(), VCPUs: int(m.GetVcpus()),
			Physnets: m.GetPhysnets(), BootMode: state.BootMode(m.GetBootMode()), IronicDriver: m.GetIronicDriver(),
			SecureBoot: m.GetSecureBoot(), TPM: m.GetTpm(), Hardware: hardwareFromPB(m.GetHardware())}}
	for _, v := range m.GetVolumes() {
		s.Machine.Volumes = append(s.Machine.Volumes, volumeFromPB(v))
	}
	for _, p := range r.GetPorts() {
		s.Ports = append(s.Ports, Port{MAC: p.GetMac(), Physnet: p.GetPhysnet(), Link: p.GetLink(), MTU: int(p.GetMtu())})
	}
	return s
}

func setupToPB(s Setup) *pb.Setup {
	if s.IsZero() {
		return nil
	}
	out := &pb.Setup{SecureBoot: s.SecureBoot, Keys: s.Keys, KeysAt: s.KeysAt, Bios: s.BIOS, Order: s.Order}
	for _, v := range s.Volumes {
		w := &pb.RAIDVolume{Id: v.ID, Level: v.Level, CapacityBytes: v.CapacityBytes, Serial: v.Serial, Made: v.Made}
		for _, d := range v.Disks {
			w.Disks = append(w.Disks, int64(d))
		}
		out.Volumes = append(out.Volumes, w)
	}
	return out
}

func setupFromPB(s *pb.Setup) Setup {
	out := Setup{SecureBoot: s.GetSecureBoot(), Keys: s.GetKeys(), KeysAt: s.GetKeysAt(), BIOS: s.GetBios(), Order: s.GetOrder()}
	for _, v := range s.GetVolumes() {
		w := RAIDVolume{ID: v.GetId(), Level: v.GetLevel(), CapacityBytes: v.GetCapacityBytes(), Serial: v.GetSerial(), Made: v.GetMade()}
		for _, d := range v.GetDisks() {
			w.Disks = append(w.Disks, int(d))
		}
		out.Volumes = append(out.Volumes, w)
	}
	return out
}

func filesToPB(files []File) []*pb.File {
	var out []*pb.File
	for _, f := range files {
		out = append(out, &pb.File{Name: f.Name, Path: f.Path, Image: f.Image})
	}
	return out
}

func filesFromPB(files []*pb.File) []File {
	var out []File
	for _, f := range files {
		out = append(out, File{Name: f.GetName(), Path: f.GetPath(), Image: f.GetImage()})
	}
	return out
}

func eventToPB(e Event) *pb.Event {
	return &pb.Event{Type: string(e.Type), Uuid: e.UUID, Power: string(e.Power), Cause: string(e.Cause)}
}

func eventFromPB(e *pb.Event) Event {
	return Event{Type: EventType(e.GetType()), UUID: e.GetUuid(), Power: state.Power(e.GetPower()), Cause: Cause(e.GetCause())}
}

// codesOf pairs the errors that callers branch on with what the wire has for them.
var codesOf = []struct {
	err  error
	code codes.Code
}{
	{state.ErrBusy, codes.Unavailable},
	{state.ErrNotFound, codes.NotFound},
	{state.ErrWrongState, codes.FailedPrecondition},
	{state.ErrUnsupported, codes.Unimplemented},
}

// toStatus turns an error of a driver into one that crosses the wire.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	// A status must be text: an invalid byte would cost the whole answer.
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	for _, c := range codesOf {
		if errors.Is(err, c.err) {
			return status.Error(c.code, text)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.Error(codes.DeadlineExceeded, text)
	}
	return status.Error(codes.Unknown, text)
}

// fromStatus is the inverse. A connection that is gone, and a call that ran out of
// time, are a busy driver: it is being restarted, or its provider hangs.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if st.Code() == codes.DeadlineExceeded || st.Code() == codes.Canceled {
		return fmt.Errorf("%s: %w", st.Message(), state.ErrBusy)
	}
	for _, c := range codesOf {
		if st.Code() == c.code {
			return &remoteError{text: st.Message(), kind: c.err}
		}
	}
	return errors.New(st.Message())
}

// remoteError has the text that the driver gave it, and the kind that callers
// branch on.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }
