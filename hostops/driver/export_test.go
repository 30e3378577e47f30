package driver

import "time"

// Hurry makes a supervisor lose patience sooner, for tests.
func (s *Supervisor) Hurry(ping, hung, read time.Duration) {
	s.timing.pingEvery, s.timing.pingTimeout, s.timing.providerTimeout = ping, 4*ping, 4*ping
	s.timing.hungAfter, s.timing.read = hung, read
	s.timing.restartMin, s.timing.restartMax = 50*time.Millisecond, 200*time.Millisecond
}
