package pdu

// Versions of messages (RFC 1157 §4, RFC 3584 §5.1, RFC 3412 §6.1).
const (
	version1  = 0
	version2c = 1
	version3  = 3
)

// Bounds of what is read and written.
const (
	// maxMessage is the largest message that is sent, or taken: it fits into one Ethernet
	// frame, so that no answer is fragmented.
	maxMessage = 1472
	// minMaxSize is the smallest that a client may say that it takes (RFC 3412 §6.2).
	minMaxSize = 484
	// maxBinds bounds the variables of a request.
	maxBinds = 64
)

// errorStatus is what became of a request (RFC 3416 §3).
type errorStatus int

const (
	noError             errorStatus = 0
	tooBig              errorStatus = 1
	noSuchName          errorStatus = 2
	badValue            errorStatus = 3
	genErr              errorStatus = 5
	noAccess            errorStatus = 6
	wrongType           errorStatus = 7
	wrongValue          errorStatus = 10
	noCreation          errorStatus = 11
	resourceUnavailable errorStatus = 13
	commitFailed        errorStatus = 14
	undoFailed          errorStatus = 15
	notWritable         errorStatus = 17
)

// value is a variable's: a tag, and what that tag has. What a client sent is in number, or
// as it came in text.
type value struct {
	tag    byte
	number int64
	text   string
	oid    oid
}

// bind is a variable of a request or answer.
type bind struct {
	name  oid
	value value
}

// operation is what SNMP calls a PDU, a word that means something else here.
type operation struct {
	tag byte
	id  int
	// status and index are those of answers; GetBulk has non-repeaters and
	// max-repetitions in their place.
	status, index int
	binds         []bind
}

// parseOperation reads one operation, and nothing after it.
func parseOperation(in *input) (operation, error) {
	tag, content := in.next()
	if !in.end() {
		return operation{}, errSyntax
	}
	body := &input{rest: content}
	op := operation{tag: tag, id: body.integer(), status: body.integer(), index: body.integer()}
	list := body.within(tagSequence)
	if !body.end() {
		return operation{}, errSyntax
	}
	for len(list.rest) > 0 {
		one := list.within(tagSequence)
		name, ok := parseOID(one.want(tagOID))
		kind, raw := one.next()
		v, known := parseValue(kind, raw)
		if !ok || !known || !one.end() || len(op.binds) == maxBinds {
			return operation{}, errSyntax
		}
		op.binds = append(op.binds, bind{name, v})
	}
	if list.bad {
		return operation{}, errSyntax
	}
	return op, nil
}

// parseValue reads what a client says of a variable. Only integers are of use here; the
// others are kept as they are.
func parseValue(tag byte, content []byte) (value, bool) {
	if tag == tagInteger {
		n, ok := parseInteger(content)
		return value{tag: tag, number: int64(n)}, ok
	}
	v := value{tag: tag, text: string(content)}
	switch tag {
	case tagNull, tagNoSuchObject, tagNoSuchInstance, tagEndOfMibView:
		return v, len(content) == 0
	case tagOID:
		_, ok := parseOID(content)
		return v, ok
	case tagOctetString, tagIPAddress, tagCounter32, tagGauge32, tagTimeTicks, tagOpaque, tagCounter64:
		return v, true
	}
	return v, false
}

func appendValue(b []byte, v value) []byte {
	switch {
	case v.text != "" || v.tag == tagOctetString:
		return appendTLV(b, v.tag, []byte(v.text))
	case v.tag == tagOID && v.oid != nil:
		return appendOID(b, v.oid)
	case v.tag == tagInteger, v.tag == tagCounter32, v.tag == tagTimeTicks:
		return appendInteger(b, v.tag, v.number)
	}
	return appendTLV(b, v.tag)
}

func appendBind(b []byte, v bind) []byte {
	return appendTLV(b, tagSequence, appendOID(nil, v.name), appendValue(nil, v.value))
}

// bytes is the operation as it is sent.
func (op operation) bytes() []byte {
	var list []byte
	for _, v := range op.binds {
		list = appendBind(list, v)
	}
	head := appendInteger(appendInteger(appendInteger(nil, tagInteger, int64(op.id)), tagInteger, int64(op.status)), tagInteger, int64(op.index))
	return appendTLV(nil, op.tag, head, appendTLV(nil, tagSequence, list))
}

// messageVersion reads what all messages begin with.
func messageVersion(datagram []byte) (version int, rest *input, err error) {
	outer := &input{rest: datagram}
	rest = outer.within(tagSequence)
	version = rest.integer()
	if !outer.end() || rest.bad {
		return 0, nil, errSyntax
	}
	return version, rest, nil
}

// community is a message of SNMPv1 or SNMPv2c (RFC 1157 §4, RFC 1901 §3).
type community struct {
	version int
	name    string
	op      operation
}

func parseCommunity(version int, in *input) (community, error) {
	name := string(in.want(tagOctetString))
	if in.bad {
		return community{}, errSyntax
	}
	op, err := parseOperation(in)
	return community{version, name, op}, err
}

func (c community) bytes() []byte {
	return appendTLV(nil, tagSequence, appendInteger(nil, tagInteger, int64(c.version)), appendString(nil, c.name), c.op.bytes())
}
