//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"encoding/json"
	"fmt"

	lv "libvirt.org/go/libvirt"
)

// sendBreak has QEMU send a break to the guest's serial console: a stream of libvirt's has
// none. It is a command to QEMU past libvirt, for which libvirt marks the domain as tainted
// (custom-monitor) until it is off.
func (d *Driver) sendBreak(ctx context.Context, uuid string) error {
	_, err := call(ctx, d.conns, func(_ context.Context, s *session) (struct{}, error) {
		dom, err := s.conn.LookupDomainByUUIDString(uuid)
		if err != nil {
			return struct{}{}, fmt.Errorf("domain %s: break: %w", uuid, err)
		}
		defer dom.Free() //nolint:errcheck // a handle of ours
		alias, err := serialAlias(dom)
		if err != nil {
			return struct{}{}, fmt.Errorf("domain %s: break: %w", uuid, err)
		}
		answer, err := dom.QemuMonitorCommand(breakCommand(alias), lv.DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT)
		if err == nil {
			err = answered(answer)
		}
		if err != nil {
			return struct{}{}, fmt.Errorf("domain %s: break: %w", uuid, err)
		}
		return struct{}{}, nil
	})
	return err
}

// serialAlias is libvirt's name for the serial console of a running guest.
func serialAlias(dom *lv.Domain) (string, error) {
	text, err := dom.GetXMLDesc(0)
	if err != nil {
		return "", err
	}
	return aliasIn(text)
}

// answered says what an answer of QEMU's is about (QMP: "return", or "error").
func answered(answer string) error {
	var a struct {
		Error *struct{ Desc string } `json:"error"`
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		return fmt.Errorf("answer of QEMU: %w", err)
	}
	if a.Error != nil {
		return fmt.Errorf("QEMU: %s", a.Error.Desc)
	}
	return nil
}
