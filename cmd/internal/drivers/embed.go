//go:build tenks_embed

package drivers

import _ "embed"

//go:embed bin/tenks-libvirt.gz
var libvirt []byte

func embeddedLibvirt() []byte { return libvirt }
