package ipmi

// settings are what clients set and the BMC keeps in the memory, without passwords.
// nil means that a value was never set.
type settings struct {
	Channel *channelAccess `json:"channel,omitempty"`
	// Community is the SNMP community string of LAN parameter 16.
	Community []byte `json:"community,omitempty"`
	// SystemInfo holds the strings of Get System Info Parameters, by parameter: the first
	// byte is the encoding, the second the length.
	SystemInfo map[byte][]byte `json:"system_info,omitempty"`
}
