//go:build !(cgo && libvirt_dlopen)

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bare: built without libvirt: use CGO_ENABLED=1 and -tags libvirt_dlopen")
	os.Exit(1)
}
