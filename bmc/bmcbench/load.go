package bmcbench

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Client is one of those that load a server.
type Client struct {
	// Do makes one request and checks the answer.
	Do func() error
	// Close ends the client; nil: nothing to end.
	Close func()
}

// Result is what a load came to.
type Result struct {
	// Rate is in requests per second.
	Rate float64
	// P50 and P99 are how long half, and all but one in a hundred, of the requests took at most.
	P50, P99 time.Duration
	// CPU is the server's processor time per request.
	CPU time.Duration
}

// warm is how many requests a client makes before it is measured.
const warm = 20

// Load makes so many clients, lets each make one request after the other for a time, and
// says what that cost the server. Making the clients is not measured.
func Load(s *Server, clients int, d time.Duration, connect func() (Client, error)) Result {
	s.tb.Helper()
	all := make([]Client, clients)
	defer func() {
		for _, c := range all {
			if c.Close != nil {
				c.Close()
			}
		}
	}()
	for i := range all {
		var err error
		if all[i], err = connect(); err != nil {
			s.tb.Fatalf("client: %v", err)
		}
		for range warm {
			if err := all[i].Do(); err != nil {
				s.tb.Fatalf("client: %v", err)
			}
		}
	}
	before := s.Usage(false)
	began := time.Now()
	took := make([][]time.Duration, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { took[i], errs[i] = repeat(c, began.Add(d)) })
	}
	wg.Wait()
	lasted := time.Since(began)
	after := s.Usage(false)
	if err := errors.Join(errs...); err != nil {
		s.tb.Fatalf("client: %v", err)
	}
	every := slices.Concat(took...)
	slices.Sort(every)
	n := len(every)
	return Result{Rate: float64(n) / lasted.Seconds(), P50: every[n/2], P99: every[n*99/100], CPU: (after.CPU - before.CPU) / time.Duration(n)}
}

func repeat(c Client, until time.Time) ([]time.Duration, error) {
	var took []time.Duration
	for at := time.Now(); at.Before(until) || len(took) == 0; {
		if err := c.Do(); err != nil {
			return nil, err
		}
		now := time.Now()
		took, at = append(took, now.Sub(at)), now
	}
	return took, nil
}
