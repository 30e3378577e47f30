package driver

import (
	"context"
	"fmt"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// Adopter is what a driver implements, beside Driver, that can take over what another tool
// made: Ensure of a Spec with an Origin puts our mark on it, and stops nothing.
type Adopter interface {
	// Foreign returns what there is under these names that does not carry our mark, by name.
	// It changes nothing.
	Foreign(ctx context.Context, names []string) ([]Foreign, error)
}

// AdopterOf returns a driver as one that can take over. Errors: state.ErrUnsupported.
func AdopterOf(d Driver) (Adopter, error) {
	a, ok := d.(Adopter)
	if !ok {
		return nil, fmt.Errorf("take over what another tool made: %w", state.ErrUnsupported)
	}
	return a, nil
}

// Foreign is an object that could become a node.
type Foreign struct {
	Name, UUID string
	Power      state.Power
	// MemoryMB is in MiB.
	MemoryMB uint64
	VCPUs    int
	BootMode state.BootMode
	Volumes  []ForeignVolume
	NICs     []ForeignNIC
	// NVRAM is the file of the firmware's variables; empty: there is none.
	NVRAM string
	// Problem says why it cannot be taken over; empty: it can.
	Problem string
}

// ForeignVolume is a disk of a Foreign.
type ForeignVolume struct {
	Path, Format  string
	CapacityBytes uint64
}

// ForeignNIC is a NIC of a Foreign. Link is the node-side end of its link.
type ForeignNIC struct{ MAC, Link string }

func originToPB(o Origin) *pb.Origin {
	if o.IsZero() {
		return nil
	}
	out := &pb.Origin{Nvram: o.NVRAM}
	for _, v := range o.Volumes {
		out.Volumes = append(out.Volumes, &pb.OriginVolume{Path: v.Path, Format: v.Format})
	}
	return out
}

func originFromPB(o *pb.Origin) Origin {
	out := Origin{NVRAM: o.GetNvram()}
	for _, v := range o.GetVolumes() {
		out.Volumes = append(out.Volumes, state.OriginVolume{Path: v.GetPath(), Format: v.GetFormat()})
	}
	return out
}

func foreignToPB(f Foreign) *pb.ForeignNode {
	out := &pb.ForeignNode{Name: f.Name, Uuid: f.UUID, Power: string(f.Power), MemoryMb: f.MemoryMB, Vcpus: int64(f.VCPUs),
		BootMode: string(f.BootMode), Nvram: f.NVRAM, Problem: f.Problem}
	for _, v := range f.Volumes {
		out.Volumes = append(out.Volumes, &pb.ForeignVolume{Path: v.Path, Format: v.Format, CapacityBytes: v.CapacityBytes})
	}
	for _, n := range f.NICs {
		out.Nics = append(out.Nics, &pb.ForeignNIC{Mac: n.MAC, Link: n.Link})
	}
	return out
}

func foreignFromPB(f *pb.ForeignNode) Foreign {
	out := Foreign{Name: f.GetName(), UUID: f.GetUuid(), Power: state.Power(f.GetPower()), MemoryMB: f.GetMemoryMb(), VCPUs: int(f.GetVcpus()),
		BootMode: state.BootMode(f.GetBootMode()), NVRAM: f.GetNvram(), Problem: f.GetProblem()}
	for _, v := range f.GetVolumes() {
		out.Volumes = append(out.Volumes, ForeignVolume{Path: v.GetPath(), Format: v.GetFormat(), CapacityBytes: v.GetCapacityBytes()})
	}
	for _, n := range f.GetNics() {
		out.NICs = append(out.NICs, ForeignNIC{MAC: n.GetMac(), Link: n.GetLink()})
	}
	return out
}

func (s *server) Foreign(ctx context.Context, r *pb.ForeignRequest) (*pb.ForeignReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	a, err := AdopterOf(d)
	if err != nil {
		return nil, toStatus(err)
	}
	all, err := a.Foreign(ctx, r.GetNames())
	if err != nil {
		return nil, toStatus(err)
	}
	reply := &pb.ForeignReply{}
	for _, f := range all {
		reply.Nodes = append(reply.Nodes, foreignToPB(f))
	}
	return reply, nil
}

func (c client) Foreign(ctx context.Context, names []string) ([]Foreign, error) {
	r, err := c.pb.Foreign(ctx, &pb.ForeignRequest{Names: names})
	if err != nil {
		return nil, fromStatus(err)
	}
	var out []Foreign
	for _, f := range r.GetNodes() {
		out = append(out, foreignFromPB(f))
	}
	return out, nil
}

// Foreign implements Adopter.
func (s *Supervisor) Foreign(ctx context.Context, names []string) (all []Foreign, err error) {
	err = s.call(ctx, s.timing.read, func(ctx context.Context, c client) error {
		all, err = c.Foreign(ctx, names)
		return err
	})
	return all, err
}
