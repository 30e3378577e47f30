package driver

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// client is a driver process seen from the agent. It implements Driver.
type client struct{ pb pb.DriverClient }

func (c client) Info(ctx context.Context) (Info, error) {
	r, err := c.pb.Info(ctx, &pb.InfoRequest{})
	if err != nil {
		return Info{}, fromStatus(err)
	}
	return infoFromPB(r), nil
}

func (c client) Instances(ctx context.Context) ([]Instance, error) {
	r, err := c.pb.Instances(ctx, &pb.InstancesRequest{}, grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		return nil, fromStatus(err)
	}
	out := make([]Instance, 0, len(r.GetInstances()))
	for _, i := range r.GetInstances() {
		out = append(out, instanceFromPB(i))
	}
	return out, nil
}

func (c client) Ensure(ctx context.Context, s Spec) error {
	_, err := c.pb.Ensure(ctx, specToPB(s))
	return fromStatus(err)
}

func (c client) Remove(ctx context.Context, uuid string) error {
	_, err := c.pb.Remove(ctx, &pb.RemoveRequest{Uuid: uuid})
	return fromStatus(err)
}

func (c client) Power(ctx context.Context, uuid string, req PowerRequest) error {
	_, err := c.pb.Power(ctx, &pb.PowerRequest{Uuid: uuid, Action: string(req.Action), Boot: bootToPB(req.Boot)})
	return fromStatus(err)
}

func (c client) SetMedia(ctx context.Context, uuid string, slot Slot, path string) (err error) {
	r := &pb.SetMediaRequest{Uuid: uuid, Path: path}
	switch slot {
	case SlotCD:
		_, err = c.pb.SetMedia(ctx, r)
	case SlotUSB:
		_, err = c.pb.SetUSB(ctx, r)
	default:
		return fmt.Errorf("driver: slot %q: %w", slot, state.ErrUnsupported)
	}
	return fromStatus(err)
}

func (c client) Loads(ctx context.Context) ([]Load, error) {
	r, err := c.pb.Loads(ctx, &pb.LoadsRequest{})
	if err != nil {
		return nil, fromStatus(err)
	}
	out := make([]Load, 0, len(r.GetLoads()))
	for _, l := range r.GetLoads() {
		out = append(out, loadFromPB(l))
	}
	return out, nil
}

func (c client) Luggage(ctx context.Context, uuid string) (Luggage, error) {
	r, err := c.pb.Luggage(ctx, &pb.LuggageRequest{Uuid: uuid})
	if err != nil {
		return Luggage{}, fromStatus(err)
	}
	return Luggage{Files: filesFromPB(r.GetFiles()), Notes: r.GetNotes()}, nil
}

func (c client) Stage(ctx context.Context, s Spec) (string, error) {
	r, err := c.pb.Stage(ctx, specToPB(s))
	return r.GetDir(), fromStatus(err)
}

func (c client) Import(ctx context.Context, s Spec, l Luggage) error {
	_, err := c.pb.Import(ctx, &pb.ImportRequest{Spec: specToPB(s), Files: filesToPB(l.Files), Notes: l.Notes})
	return fromStatus(err)
}

func (c client) Watch(ctx context.Context, on func(Event)) error {
	stream, err := c.pb.Watch(ctx, &pb.WatchRequest{})
	if err != nil {
		return fromStatus(err)
	}
	for {
		e, err := stream.Recv()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was asked to end
		case errors.Is(err, io.EOF):
			return errors.New("driver: it ended the watch")
		case err != nil:
			return fromStatus(err)
		}
		on(eventFromPB(e))
	}
}

func (c client) Console(ctx context.Context, uuid string) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.pb.Console(ctx)
	if err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	if err := stream.Send(&pb.ConsoleData{Uuid: uuid}); err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	if _, err := stream.Recv(); err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	return &console{stream: stream, cancel: cancel}, nil
}

// console is a stream as an io.ReadWriteCloser. One goroutine may read while
// another writes.
type console struct {
	stream grpc.BidiStreamingClient[pb.ConsoleData, pb.ConsoleData]
	cancel context.CancelFunc
	rest   []byte
}

func (c *console) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		m, err := c.stream.Recv()
		if err != nil {
			return 0, io.EOF // however it ended, the console is gone
		}
		c.rest = m.GetData()
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *console) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := c.stream.Send(&pb.ConsoleData{Data: append([]byte{}, b...)}); err != nil {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// SendBreak implements Breaker. A driver that cannot send one leaves it out.
func (c *console) SendBreak(context.Context) error {
	if err := c.stream.Send(&pb.ConsoleData{Break: true}); err != nil {
		return io.ErrClosedPipe
	}
	return nil
}

func (c *console) Close() error {
	c.cancel()
	return nil
}
