package transport

// LimitPending sets how many callers may be in their handshake.
func (t *Transport) LimitPending(n int) {
	t.crowd.mu.Lock()
	defer t.crowd.mu.Unlock()
	t.crowd.limit = n
}
