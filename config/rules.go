package config

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The patterns are also those of the JSON Schema, so they keep to what RE2 and
// ECMA-262 have in common.
var (
	plainName = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`), most: 63,
		want: `a name (letters, digits, ".", "_" and "-", the first a letter or digit)`,
	}
	// prefix leaves room for five digits in a name of 63, the longest host name.
	prefix     = pattern{re: plainName.re, most: 63 - 5, want: plainName.want}
	driverName = pattern{
		re: regexp.MustCompile(`^[a-z][a-z0-9_-]*$`), most: 63,
		want: `a driver's name (lower-case letters, digits, "_" and "-")`,
	}
	ironicInterface = pattern{re: plainName.re, most: 255, want: "the name of an Ironic interface"}
	labelKey        = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`), most: 63,
		want: `a label (letters, digits, ".", "_", "/" and "-", the first a letter or digit)`,
	}
	oneLine = pattern{
		re: regexp.MustCompile(`^[^\x00-\x1f\x7f]*$`), most: 255,
		want: "a text without control characters",
	}
	someLine    = pattern{re: regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`), most: 255, want: "a text"}
	description = pattern{
		re: regexp.MustCompile(`^[^\x00-\x08\x0b-\x1f\x7f]*$`), most: 4096,
		want: "a text without control characters",
	}
	// The lengths are those of Ironic's database columns.
	resourceClass = pattern{
		re: regexp.MustCompile(`^[!-~]+$`), most: 80,
		want: "a resource class (printable ASCII without spaces)",
	}
	conductorGroup = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9_.-]*$`), most: 255,
		want: `a conductor group (letters, digits, ".", "_" and "-")`,
	}
	trait = pattern{
		re: regexp.MustCompile(`^(CUSTOM_[A-Z0-9_]+|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+)$`), most: 255,
		want: "a trait (CUSTOM_ and capitals, digits and _, or a standard one such as HW_CPU_X86_VMX)",
	}
	// What Nova takes as a flavor's name and as the key of an extra spec.
	flavorName = pattern{
		re: regexp.MustCompile(`^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$`), most: 255,
		want: "the name of a flavor (no spaces at its ends)",
	}
	extraSpec = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9_:. -]+$`), most: 255,
		want: `the key of an extra spec (letters, digits, "_", ":", ".", "-" and spaces)`,
	}
	filePath = pattern{
		re: regexp.MustCompile(`^/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]$`), most: 4095,
		want: `an absolute path that does not end in "/"`,
	}
	endpoint = pattern{
		re: regexp.MustCompile(`^https?://[^/?#@\s]+(/[^?#\s]*)?$`), most: 2048, quiet: true,
		want: "an http or https URL without credentials, query or fragment",
	}
	deployImage = pattern{
		re:   regexp.MustCompile(`^(https?://[^/?#@\s]+/\S+|file:///\S+|/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]|[^\s/:][^/:\x00-\x1f\x7f]*)$`),
		most: 2048, quiet: true,
		want: "an http, https or file URL (without credentials), an absolute path, or the name or UUID of an image in Glance",
	}
	// deployURL is a deployImage that Ironic finds without Glance.
	deployURL      = regexp.MustCompile(`^(https?://|file:///|/)`)
	rootDeviceHint = pattern{
		re: regexp.MustCompile(`^(` + strings.Join(hintNames, "|") + `)$`), most: 63,
		want: "one of " + strings.Join(hintNames, ", "),
	}
	// patchable are the names that Ironic lets be changed (ironic.common.args, the
	// schema of patches: any other can be set when a node is made, and never again).
	patchable = pattern{
		re: regexp.MustCompile(`^[A-Za-z0-9_-]+$`), most: 255,
		want: `letters, digits, "_" and "-", which is all that Ironic takes there`,
	}
	groupAddress = pattern{
		re: regexp.MustCompile(`^(` + FirstPort + `|[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5})$`), most: 17,
		want: "a MAC address, or " + FirstPort,
	}
	bmcUser = pattern{
		re: regexp.MustCompile(`^[ -~]+$`), most: 16,
		want: "1 to 16 printable ASCII characters",
	}
	uuidText = pattern{
		re: regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`), most: 36,
		want: "a UUID in lower case",
	}
	snmpUser = pattern{
		re: regexp.MustCompile(`^[!-~]+$`), most: 32,
		want: "1 to 32 printable ASCII characters without spaces",
	}
	device = pattern{
		re: regexp.MustCompile(`^[^\s/:]+$`), most: 15,
		want: "the name of a network device",
	}
	ovsDB = pattern{
		re: regexp.MustCompile(`^unix:/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]$`), most: 112,
		want: "unix: and the absolute path of a socket, such as unix:/run/openvswitch/db.sock",
	}
	libvirtURI = pattern{
		re: regexp.MustCompile(`^(qemu(\+unix)?|test):///\S+$`), most: 1024,
		want: "the URI of a libvirt on this host, such as qemu:///system",
	}
	portRange = pattern{
		re: regexp.MustCompile(`^[0-9]{1,5}-[0-9]{1,5}$`), most: 11,
		want: "a range of ports, such as 6230-16229",
	}
	networkPrefix = pattern{
		re: regexp.MustCompile(`^[0-9A-Fa-f:.]+/[0-9]{1,3}$`), most: 50,
		want: "the prefix of a network, such as 192.0.2.0/24",
	}
	address  = pattern{re: regexp.MustCompile(``), most: 255, want: "an IP address"}
	duration = pattern{re: regexp.MustCompile(``), most: 255, want: "a time of at most 1h, such as 500ms or 2s"}
	stopTime = pattern{re: regexp.MustCompile(``), most: 255, want: "a time of 15s to 1h, such as 30s or 2m"}
)

// uuidLike matches prefixes that, with digits after them, Ironic may take for a
// UUID: it looks at 32 hexadecimal digits and ignores dashes anywhere.
var uuidLike = regexp.MustCompile(`^-*([0-9A-Fa-f]-*){27,31}$`)

func notUUID(s string) string {
	if uuidLike.MatchString(s) {
		return "names of it would look like UUIDs, which Ironic refuses"
	}
	return ""
}

func notDots(s string) string {
	if s == "." || s == ".." {
		return "want " + device.want + ", found " + quote(s)
	}
	return ""
}

// hostAddress wants an address that others can reach this host at.
func hostAddress(s string) string {
	ip, err := netip.ParseAddr(s)
	switch {
	case err != nil || ip.Zone() != "":
		return "want " + address.want + ", found " + quote(s)
	case ip.IsUnspecified():
		return quote(s) + " cannot be reached by others: give this host's own address"
	case ip.IsMulticast():
		return quote(s) + " is a multicast address"
	}
	return ""
}

// screenAddress wants an address of this host, or all of them.
func screenAddress(s string) string {
	if ip, err := netip.ParseAddr(s); err != nil || ip.Zone() != "" || ip.IsMulticast() {
		return "want " + address.want + ", found " + quote(s)
	}
	return ""
}

// isNetwork wants a prefix that has room for more than one host.
func isNetwork(s string) string {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked() != p || p.Addr().Is4In6() || p.IsSingleIP() || p.Bits() == 0 {
		return "want " + networkPrefix.want + ", found " + quote(s)
	}
	return ""
}

func delay(s string) string {
	if d, err := time.ParseDuration(s); err != nil || d < 0 || d > time.Hour {
		return "want " + duration.want + ", found " + quote(s)
	}
	return ""
}

// stopDelay leaves room for a new leader: peers renew their leases every few seconds.
func stopDelay(s string) string {
	if d, err := time.ParseDuration(s); err != nil || d < 15*time.Second || d > time.Hour {
		return "want " + stopTime.want + ", found " + quote(s)
	}
	return ""
}

// ports parses "first-last".
func ports(s string) (PortRange, string) {
	if fault := portRange.refuse(s); fault != "" {
		return PortRange{}, fault
	}
	var p PortRange
	for i := range s {
		if s[i] == '-' {
			p.First, _ = strconv.Atoi(s[:i])
			p.Last, _ = strconv.Atoi(s[i+1:])
		}
	}
	if p.First < 1 || p.Last > 65535 || p.First > p.Last {
		return PortRange{}, "want ports of 1 to 65535, the lower first, found " + quote(s)
	}
	return p, ""
}
