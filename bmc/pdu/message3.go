package pdu

// Flags of a message of SNMPv3 (RFC 3412 §6.4).
const (
	flagAuth       = 1
	flagPriv       = 2
	flagReportable = 4
)

// securityUSM is the User-based Security Model's number (RFC 3411 §5).
const securityUSM = 3

// secured is a message of SNMPv3 with the User-based Security Model (RFC 3412 §6, RFC 3414
// §2.4).
type secured struct {
	id, maxSize int
	flags       byte
	engine      string
	boots, time int
	user        string
	auth, salt  []byte
	// authAt is where the authentication parameters begin in the datagram.
	authAt int
	// scoped is the scoped PDU, or what it is encrypted to.
	scoped []byte
}

// parseSecured reads a message but for its scoped PDU.
func parseSecured(datagram []byte, in *input) (secured, error) {
	var m secured
	head := in.within(tagSequence)
	m.id, m.maxSize = head.integer(), head.integer()
	flags := head.want(tagOctetString)
	model := head.integer()
	if !head.end() || len(flags) != 1 || m.id < 0 || m.maxSize < minMaxSize || model != securityUSM {
		return m, errSyntax
	}
	m.flags = flags[0]
	params := &input{rest: in.want(tagOctetString)}
	seq := params.within(tagSequence)
	m.engine = string(seq.want(tagOctetString))
	m.boots, m.time = seq.integer(), seq.integer()
	m.user = string(seq.want(tagOctetString))
	m.auth, m.salt = seq.want(tagOctetString), seq.want(tagOctetString)
	if !seq.end() || !params.end() || m.boots < 0 || m.time < 0 || len(m.user) > maxUser || len(m.engine) > maxEngine {
		return m, errSyntax
	}
	m.scoped = in.rest
	// Both are slices of the same datagram: what is behind the one says where it begins.
	m.authAt = cap(datagram) - cap(m.auth)
	if m.flags&flagPriv != 0 {
		m.scoped = in.want(tagOctetString)
		if !in.end() {
			return m, errSyntax
		}
	}
	return m, nil
}

// Bounds of RFC 3414 §2.4 and RFC 3411 §5.
const (
	maxUser   = 32
	maxEngine = 32
)

// bytes is the message as it is sent, and where its authentication parameters begin in it.
func (m secured) bytes() (datagram []byte, authAt int) {
	head := appendTLV(nil, tagSequence, appendInteger(nil, tagInteger, int64(m.id)), appendInteger(nil, tagInteger, int64(m.maxSize)),
		appendTLV(nil, tagOctetString, []byte{m.flags}), appendInteger(nil, tagInteger, securityUSM))
	scoped := m.scoped
	if m.flags&flagPriv != 0 {
		scoped = appendTLV(nil, tagOctetString, scoped)
	}
	tail := appendTLV(nil, tagOctetString, m.salt)
	params := appendTLV(nil, tagSequence, appendString(nil, m.engine), appendInteger(nil, tagInteger, int64(m.boots)),
		appendInteger(nil, tagInteger, int64(m.time)), appendString(nil, m.user), appendTLV(nil, tagOctetString, m.auth), tail)
	datagram = appendTLV(nil, tagSequence, appendInteger(nil, tagInteger, version3), head, appendTLV(nil, tagOctetString, params), scoped)
	return datagram, len(datagram) - len(scoped) - len(tail) - len(m.auth)
}

// scopedPDU is an operation and the context that it is about (RFC 3412 §6.8).
type scopedPDU struct {
	engine, context string
	op              operation
}

// parseScoped reads a scoped PDU. Decrypted ones may have padding behind them (RFC 3826
// needs none, but other ciphers do).
func parseScoped(b []byte) (scopedPDU, error) {
	in := &input{rest: b}
	seq := in.within(tagSequence)
	s := scopedPDU{engine: string(seq.want(tagOctetString)), context: string(seq.want(tagOctetString))}
	if seq.bad {
		return s, errSyntax
	}
	var err error
	s.op, err = parseOperation(seq)
	return s, err
}

func (s scopedPDU) bytes() []byte {
	return appendTLV(nil, tagSequence, appendString(nil, s.engine), appendString(nil, s.context), s.op.bytes())
}
