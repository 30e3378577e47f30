package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tenks/bmc/redfish"
	"tenks/cmd/internal/api"
	"tenks/raftfsm/state"
)

// redfishRetry is how often it is tried again to listen.
const redfishRetry = time.Second

// meshRedfish is the mesh's Redfish service at this peer. It answers for the nodes here,
// and has other peers answer for theirs.
type meshRedfish struct {
	a       *agent
	fleet   fleet
	service *redfish.Service
	// handler is the service with faults and a record around it.
	handler http.Handler
	cert    serviceCertificate
	unheard unheard
	resets  resets
	// said is the last error that run has logged.
	said string

	// mu guards err: why it does not listen.
	mu  sync.Mutex
	err error
}

// openRedfish makes the service. It needs the host and its BMCs.
func (a *agent) openRedfish(ctx context.Context, mesh state.Mesh) error {
	m := &meshRedfish{a: a}
	m.fleet.self, m.fleet.chassis = a.mesh.ID(), a.bmcs.RedfishChassis
	snap, _ := a.source.Snapshot()
	m.fleet.update(snap)
	m.cert = serviceCertificate{a: a}
	var err error
	m.service, err = redfish.New(ctx, redfish.Config{Systems: &m.fleet, Name: mesh.Name, UUID: mesh.ID, Version: a.opt.Version, Log: a.log,
		Forward: m.forward, Chain: m.chain, AllowLocal: a.opt.Config.BMC.MediaLocal})
	if err != nil {
		return err
	}
	m.handler = a.bmcs.Around(m.fleet.hasUser, m.service)
	a.redfish = m
	return nil
}

// run answers on the network until ctx ends. That the port is taken keeps nothing else of
// the agent from running.
func (m *meshRedfish) run(ctx context.Context) error {
	c := m.a.opt.Config.BMC
	if c.RedfishPort == 0 {
		if c.TLSCert != "" { // nodes' own services show it
			m.cert.keep(ctx)
		}
		return nil
	}
	var keeper sync.WaitGroup
	keeper.Go(func() { m.cert.keep(ctx) })
	defer keeper.Wait()
	address := net.JoinHostPort(c.Address, strconv.Itoa(c.RedfishPort))
	for ctx.Err() == nil {
		err := m.listen(ctx, address)
		if ctx.Err() != nil {
			return nil
		}
		if m.said != fmt.Sprint(err) {
			m.said = fmt.Sprint(err)
			m.a.log.WarnContext(ctx, "redfish does not listen; will retry", "address", address, "err", err)
		}
		sleep(ctx, redfishRetry)
	}
	return nil
}

func (m *meshRedfish) listen(ctx context.Context, address string) error {
	err := m.cert.refresh(ctx)
	var l net.Listener
	if err == nil {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	}
	m.note(err)
	if err != nil {
		return err
	}
	err = m.service.ServeBy(ctx, l, &tls.Config{GetCertificate: m.cert.get, MinVersion: tls.VersionTLS12}, http.HandlerFunc(m.answer))
	m.note(err)
	return err
}

func (m *meshRedfish) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// ready says why a node whose BMC speaks Redfish cannot be reached here, or nil.
func (m *meshRedfish) ready(n *state.Node) error {
	if n.Machine.IronicDriver != state.ProtocolRedfish || n.BMCAddress != "" {
		return nil // with an address of its own it does not depend on the mesh's service
	}
	if m.a.opt.Config.BMC.RedfishPort == 0 {
		return fmt.Errorf("this host has no Redfish service: bmc.redfish_port is 0 in its agent.yml")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return fmt.Errorf("this host's Redfish service does not listen: %w", m.err)
	}
	return nil
}

// check is doctor's finding.
func (m *meshRedfish) check() api.Check {
	c := m.a.opt.Config.BMC
	out := api.Check{Name: "redfish", State: "ok", Detail: state.Endpoint{Address: c.Address, Port: c.RedfishPort}.URL() + m.cert.says()}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case c.RedfishPort == 0:
		out.Detail = "off: bmc.redfish_port is 0"
	case m.err != nil:
		out.State, out.Detail = "warning", m.err.Error()
		out.Fix = "it is retried; another port or certificate: bmc.redfish_port, bmc.tls_cert in agent.yml, then restart the agent"
	}
	return out
}
