package driver

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// oldDriver knows of no USB stick.
type oldDriver struct {
	pb.UnimplementedDriverServer
	drive []string
}

func (d *oldDriver) SetMedia(_ context.Context, r *pb.SetMediaRequest) (*pb.SetMediaReply, error) {
	d.drive = append(d.drive, r.GetPath())
	return &pb.SetMediaReply{}, nil
}

func TestADriverThatKnowsNoStickTakesItForNoCD(t *testing.T) {
	listener, old, s := bufconn.Listen(1<<16), &oldDriver{}, grpc.NewServer()
	pb.RegisterDriverServer(s, old)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	defer func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient("passthrough:driver", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := client{pb.NewDriverClient(conn)}
	for slot, want := range map[Slot]error{SlotUSB: state.ErrUnsupported, "slot": state.ErrUnsupported, "": state.ErrUnsupported, SlotCD: nil} {
		if err := c.SetMedia(t.Context(), "a", slot, "/media/"+string(slot)); !errors.Is(err, want) {
			t.Errorf("slot %q: got %v, want %v", slot, err, want)
		}
	}
	if len(old.drive) != 1 || old.drive[0] != "/media/cdrom" {
		t.Errorf("in the CD-ROM drive: %q", old.drive)
	}
}
