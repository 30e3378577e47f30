package cloud

import (
	"regexp"
	"strings"
)

var notInResource = regexp.MustCompile(`[^A-Z0-9]`)

// Resource is what Nova makes of a resource class of Ironic, in Placement and so in flavors
// (nova.utils.normalize_rc_name).
func Resource(class string) string {
	return "CUSTOM_" + notInResource.ReplaceAllString(strings.ToUpper(class), "_")
}
