//go:build !tenks_embed

package drivers

func embeddedLibvirt() []byte { return nil }
