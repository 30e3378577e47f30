package pdu

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// jobsAtOnce bounds the requests under way; further ones are dropped, and asked again.
	jobsAtOnce = 64
	// jobTime bounds one, with what it asks of other hosts.
	jobTime = 10 * time.Second
)

// Server answers on a UDP port.
type Server struct {
	conn *net.UDPConn
	cfg  Config
	stop context.CancelFunc
	wg   sync.WaitGroup

	// mu guards engine, but for what its jobs do.
	mu     sync.Mutex
	engine *engine
}

// Listen opens a server without units. It answers until Close.
func Listen(ctx context.Context, address string, cfg Config) (*Server, error) {
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("snmp: %w", err)
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("snmp: %T is no UDP socket", conn), conn.Close())
	}
	var salt [saltSize]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("snmp: %w", err), conn.Close())
	}
	s := &Server{conn: udp, cfg: cfg}
	s.engine = newEngine(&s.cfg, time.Now(), binary.BigEndian.Uint64(salt[:]))
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(func() { s.serve(ctx) })
	return s, nil
}

// Address is where the server listens.
func (s *Server) Address() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Update takes over the units: outlets are sorted by number, and nothing of it is changed
// afterwards.
func (s *Server) Update(units []Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine.update(units)
}

// Close stops listening, and returns once no request is under way.
func (s *Server) Close() error {
	s.stop()
	err := s.conn.Close()
	s.wg.Wait()
	return err
}

func (s *Server) serve(ctx context.Context) {
	turns := make(chan struct{}, jobsAtOnce)
	buffer := make([]byte, maxMessage+1)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error for an answer: the next datagram is another's
		}
		datagram := append([]byte(nil), buffer[:n]...)
		s.mu.Lock()
		answer, j := s.engine.receive(time.Now(), from, datagram)
		s.mu.Unlock()
		if answer != nil {
			s.send(ctx, from, answer)
		}
		if j == nil {
			continue
		}
		select {
		case turns <- struct{}{}:
		default:
			s.finish(j)
			continue
		}
		s.wg.Go(func() {
			defer func() { <-turns }()
			s.run(ctx, from, j)
		})
	}
}

func (s *Server) run(ctx context.Context, to netip.AddrPort, j *job) {
	bounded, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	answer := j.run(bounded, time.Now)
	s.finish(j)
	if answer != nil && ctx.Err() == nil {
		s.send(ctx, to, answer)
	}
}

func (s *Server) finish(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine.done(j)
}

func (s *Server) send(ctx context.Context, to netip.AddrPort, answer []byte) {
	if _, err := s.conn.WriteToUDPAddrPort(answer, to); err != nil && ctx.Err() == nil {
		s.cfg.Log.DebugContext(ctx, "pdu: answer not sent", "to", to, "err", err)
	}
}
