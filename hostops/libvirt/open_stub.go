//go:build !cgo || !libvirt_dlopen

package libvirt

import (
	"errors"

	"tenks/hostops/driver"
)

// Open says that this program was built without libvirt.
func Open(driver.Config) (driver.Driver, error) {
	return nil, errors.New("libvirt: this program was built without it: build with CGO_ENABLED=1 go build -tags libvirt_dlopen ./cmd/tenks-libvirt")
}
