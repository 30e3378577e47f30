package libvirt

import (
	"errors"
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// aliasIn finds libvirt's name for the serial console in the XML of a running guest.
func aliasIn(text string) (string, error) {
	d := &libvirtxml.Domain{}
	if err := d.Unmarshal(text); err != nil {
		return "", fmt.Errorf("domain XML: %w", err)
	}
	if d.Devices == nil || len(d.Devices.Serials) == 0 || d.Devices.Serials[0].Alias == nil {
		return "", errors.New("it has no serial console")
	}
	return d.Devices.Serials[0].Alias.Name, nil
}

// breakCommand is QMP's command to send a break to the character device behind a serial
// port (QEMU since 2.9), which libvirt names after the port.
func breakCommand(alias string) string {
	return fmt.Sprintf(`{"execute":"chardev-send-break","arguments":{"id":%q}}`, "char"+alias)
}
