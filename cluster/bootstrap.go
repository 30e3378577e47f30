package cluster

import "tenks/cluster/pki"

// Pin is the SHA-256 of this peer's own key (PKIX SPKI): what a client pins that knows
// nothing of authorities, such as curl. It stays the same when certificates are renewed.
// false: this peer has no network.
func (m *Mesh) Pin() (pki.Pin, bool) {
	c, err := m.current()
	if err != nil || c == nil {
		return pki.Pin{}, false
	}
	return pki.PinOf(c.Leaf), true
}
