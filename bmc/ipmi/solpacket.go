package ipmi

// Lengths of a SOL payload (IPMI v2.0 §15.9, Table 15-2).
const (
	solHeaderLen = 4
	// solPayloadMax is the largest payload in either direction, as Activate Payload
	// says: ipmitool's buffers and the accepted count have a byte.
	solPayloadMax = 255
	solDataMax    = solPayloadMax - solHeaderLen
	// solAcceptMax is how many characters the accepted count can stand for. pyghmi takes
	// the size of a payload for that of its characters.
	solAcceptMax = 255
	// solSeqMax is the highest sequence number; 0 is for packets that nobody acknowledges.
	solSeqMax = 15
)

// Bits of the last byte of the header. NACK has the same place both ways.
const (
	solNACK = 0x40
	// Operations, from the console. Ring (20h) and DCD/DSR (04h) drive lines that a
	// virtual serial port does not have.
	solBreak         = 0x10
	solPause         = 0x08 // deassert CTS: take no characters from the system
	solFlushInbound  = 0x02
	solFlushOutbound = 0x01
	// Status, from the BMC.
	solUnavailable = 0x20 // the system is off
	solDeactivated = 0x10
	solOverrun     = 0x08 // output was lost since the packet before
)

// solPacket is a SOL payload.
type solPacket struct {
	// seq is 0 for a packet that only acknowledges or controls; ack is 0 if nothing is
	// acknowledged.
	seq, ack byte
	// accepted is how many characters of packet ack were taken.
	accepted byte
	// bits are operations or status.
	bits byte
	data []byte
}

// parseSOL takes a payload apart; data points into it. Reserved bits are ignored.
func parseSOL(b []byte) (solPacket, bool) {
	if len(b) < solHeaderLen {
		return solPacket{}, false
	}
	return solPacket{seq: b[0] & solSeqMax, ack: b[1] & solSeqMax, accepted: b[2], bits: b[3], data: b[solHeaderLen:]}, true
}

func (p solPacket) payload() []byte {
	return append([]byte{p.seq, p.ack, p.accepted, p.bits}, p.data...)
}

func (p solPacket) has(bit byte) bool { return p.bits&bit != 0 }
