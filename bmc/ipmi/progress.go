package ipmi

// Each group of parameters has one that is called "set in progress". One session at a
// time has it, until it says so or ends.
const (
	setInProgress = refused(0x81)

	setComplete = 0
	setBegun    = 1
)

// holder is the ID of the session that is setting parameters, 0 for none.
type holder uint32

// held reports whether a session is setting parameters. The caller holds mu.
func (e *engine) held(h *holder) bool {
	if _, alive := e.sessions.get(uint32(*h)); !alive {
		*h = 0
	}
	return *h != 0
}

// setProgress begins or ends a session's setting of parameters. The caller holds mu.
func (c *call) setProgress(h *holder, value byte) error {
	switch value {
	case setComplete:
		*h = 0
	case setBegun:
		if c.held(h) && uint32(*h) != c.session.id {
			return setInProgress
		}
		*h = holder(c.session.id)
	default: // commit write is optional, and every write takes effect at once
		return badField
	}
	return nil
}

// progress is the value to read. The caller holds mu.
func (e *engine) progress(h *holder) byte {
	if e.held(h) {
		return setBegun
	}
	return setComplete
}
