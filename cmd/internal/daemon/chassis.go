package daemon

import (
	"context"
	"io"

	"tenks/bmc"
	"tenks/hostops"
	"tenks/raftfsm/state"
)

// Chassis implements api.Host and what bmc/endpoint needs.
func (a *agent) Chassis(uuid string) (bmc.Chassis, bool) {
	c, ok := a.host.Chassis(uuid)
	if !ok {
		return nil, false
	}
	return chassis{Chassis: c, host: a.host, uuid: uuid}, true
}

// chassis gives a host's chassis the type that protocols expect.
type chassis struct {
	*hostops.Chassis
	host *hostops.Host
	uuid string
}

func (c chassis) Status() bmc.Status { return bmc.Status(c.Chassis.Status()) }

func (c chassis) Console(ctx context.Context) (io.ReadWriteCloser, error) {
	return c.host.Console(ctx, c.uuid)
}

func (c chassis) Hardware() bmc.Hardware { return bmc.Hardware{UUID: c.uuid} }

func (c chassis) Load() (bmc.Load, bool) { return bmc.Load{}, false }

func (c chassis) Subscribe(func(bmc.Event)) (cancel func()) { return func() {} }

func (c chassis) Recall(string) []byte { return nil }

func (c chassis) Keep(context.Context, string, []byte) error { return state.ErrUnsupported }

func (c chassis) InsertMedia(context.Context, bmc.Media) error { return state.ErrUnsupported }

func (c chassis) EjectMedia(context.Context) error { return state.ErrUnsupported }

func (c chassis) Media() bmc.MediaStatus { return bmc.MediaStatus{} }
