// Command tenks-libvirt is the libvirt driver's process. The agent starts it; run by
// hand, it says so. It is built with CGO_ENABLED=1 and -tags libvirt_dlopen: it loads
// libvirt.so.0 when it first connects, so it starts without that, too.
package main

import (
	"tenks/hostops/driver"
	"tenks/hostops/libvirt"
)

func main() { driver.Serve(libvirt.Open) }
