package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pb "tenks/hostops/driver/driverpb"
	"tenks/raftfsm/state"
)

// handshake keeps a driver from being run by hand by mistake; it is no secret.
var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "TENKS_DRIVER", MagicCookieValue: "v1"}

const pluginName = "driver"

// Serve runs a driver process: it answers the agent that started it until that ends
// it. open is called once, with what the agent configures. Run by hand, the process
// says so and exits.
func Serve(open func(Config) (Driver, error)) {
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue { //nolint:forbidigo // it is how go-plugin tells a program that an agent started it
		fmt.Fprintf(os.Stderr, "usage: %s is a driver of tenks: the agent starts it; by hand there is nothing to run\n", filepath.Base(os.Args[0]))
		os.Exit(1) //nolint:forbidigo // this is all that a driver's main does
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{pluginName: &grpcPlugin{open: open}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, JSONFormat: true}),
	})
}

// grpcPlugin implements plugin.GRPCPlugin for both sides.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	open func(Config) (Driver, error)
}

// GRPCServer implements plugin.GRPCPlugin.
func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pb.RegisterDriverServer(s, &server{open: p.open})
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pb.NewDriverClient(conn), nil
}

// server is the driver's side.
type server struct {
	pb.UnimplementedDriverServer
	open func(Config) (Driver, error)

	// mu guards driver, which Configure sets.
	mu     sync.Mutex
	driver Driver
}

func (s *server) Configure(_ context.Context, r *pb.ConfigureRequest) (*pb.ConfigureReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.driver != nil {
		return nil, toStatus(errors.New("driver: configured already"))
	}
	d, err := s.open(configFromPB(r))
	if err != nil {
		return nil, toStatus(err)
	}
	s.driver = d
	return &pb.ConfigureReply{}, nil
}

func (s *server) get() (Driver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.driver == nil {
		return nil, toStatus(errors.New("driver: not configured yet"))
	}
	return s.driver, nil
}

func (s *server) Ping(context.Context, *pb.PingRequest) (*pb.PingReply, error) {
	return &pb.PingReply{}, nil
}

func (s *server) Info(ctx context.Context, _ *pb.InfoRequest) (*pb.InfoReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	i, err := d.Info(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return infoToPB(i), nil
}

func (s *server) Instances(ctx context.Context, _ *pb.InstancesRequest) (*pb.InstancesReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	all, err := d.Instances(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	reply := &pb.InstancesReply{}
	for _, i := range all {
		reply.Instances = append(reply.Instances, instanceToPB(i))
	}
	return reply, nil
}

func (s *server) Ensure(ctx context.Context, r *pb.EnsureRequest) (*pb.EnsureReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	return &pb.EnsureReply{}, toStatus(d.Ensure(ctx, specFromPB(r)))
}

func (s *server) Remove(ctx context.Context, r *pb.RemoveRequest) (*pb.RemoveReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	return &pb.RemoveReply{}, toStatus(d.Remove(ctx, r.GetUuid()))
}

func (s *server) Power(ctx context.Context, r *pb.PowerRequest) (*pb.PowerReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	req := PowerRequest{Action: state.PowerAction(r.GetAction()), Boot: bootFromPB(r.GetBoot())}
	return &pb.PowerReply{}, toStatus(d.Power(ctx, r.GetUuid(), req))
}

func (s *server) SetMedia(ctx context.Context, r *pb.SetMediaRequest) (*pb.SetMediaReply, error) {
	return s.setMedia(ctx, SlotCD, r)
}

func (s *server) SetUSB(ctx context.Context, r *pb.SetMediaRequest) (*pb.SetMediaReply, error) {
	return s.setMedia(ctx, SlotUSB, r)
}

func (s *server) setMedia(ctx context.Context, slot Slot, r *pb.SetMediaRequest) (*pb.SetMediaReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	return &pb.SetMediaReply{}, toStatus(d.SetMedia(ctx, r.GetUuid(), slot, r.GetPath()))
}

func (s *server) Loads(ctx context.Context, _ *pb.LoadsRequest) (*pb.LoadsReply, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	all, err := d.Loads(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	reply := &pb.LoadsReply{}
	for _, l := range all {
		reply.Loads = append(reply.Loads, loadToPB(l))
	}
	return reply, nil
}

// mover returns the driver as one that can move nodes.
func (s *server) mover() (Mover, error) {
	d, err := s.get()
	if err != nil {
		return nil, err
	}
	m, err := MoverOf(d)
	return m, toStatus(err)
}

func (s *server) Luggage(ctx context.Context, r *pb.LuggageRequest) (*pb.LuggageReply, error) {
	m, err := s.mover()
	if err != nil {
		return nil, err
	}
	l, err := m.Luggage(ctx, r.GetUuid())
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LuggageReply{Files: filesToPB(l.Files), Notes: l.Notes}, nil
}

func (s *server) Stage(ctx context.Context, r *pb.EnsureRequest) (*pb.StageReply, error) {
	m, err := s.mover()
	if err != nil {
		return nil, err
	}
	dir, err := m.Stage(ctx, specFromPB(r))
	return &pb.StageReply{Dir: dir}, toStatus(err)
}

func (s *server) Import(ctx context.Context, r *pb.ImportRequest) (*pb.ImportReply, error) {
	m, err := s.mover()
	if err != nil {
		return nil, err
	}
	l := Luggage{Files: filesFromPB(r.GetFiles()), Notes: r.GetNotes()}
	return &pb.ImportReply{}, toStatus(m.Import(ctx, specFromPB(r.GetSpec()), l))
}

func (s *server) Watch(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.Event]) error {
	d, err := s.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	return toStatus(d.Watch(ctx, func(e Event) {
		if stream.Send(eventToPB(e)) != nil {
			cancel() // the agent has gone
		}
	}))
}

func (s *server) Console(stream grpc.BidiStreamingServer[pb.ConsoleData, pb.ConsoleData]) error {
	d, err := s.get()
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	console, err := d.Console(stream.Context(), first.GetUuid())
	if err != nil {
		return toStatus(err)
	}
	// An empty message says that the console is attached.
	if err := stream.Send(&pb.ConsoleData{}); err != nil {
		return errors.Join(err, console.Close())
	}
	// Recv ends when this handler returns at the latest, so the copy towards the guest
	// cannot be waited for here.
	go copyIn(stream, console)
	err = copyOut(stream, console)
	_ = console.Close()
	return err
}

// copyIn ends when the agent closes the stream; it then ends copyOut, too.
func copyIn(stream grpc.BidiStreamingServer[pb.ConsoleData, pb.ConsoleData], console io.WriteCloser) {
	for {
		m, err := stream.Recv()
		if err != nil {
			break
		}
		if _, err := console.Write(m.GetData()); err != nil {
			break
		}
		if b, able := console.(Breaker); able && m.GetBreak() {
			_ = b.SendBreak(stream.Context()) // the line goes on without it
		}
	}
	_ = console.Close()
}

func copyOut(stream grpc.BidiStreamingServer[pb.ConsoleData, pb.ConsoleData], console io.Reader) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := console.Read(buf)
		if n > 0 {
			if err := stream.Send(&pb.ConsoleData{Data: buf[:n]}); err != nil {
				return nil //nolint:nilerr // the agent has gone
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the guest is off, or the agent has gone
		}
	}
}
