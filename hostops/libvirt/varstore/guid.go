package varstore

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is an EFI_GUID as it is in memory (UEFI 2.10 appendix A): the first three fields are
// little-endian.
type GUID [16]byte

// String returns the registry format, in lower case.
func (g GUID) String() string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]), binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
}

// ParseGUID reads the registry format.
func ParseGUID(text string) (GUID, error) {
	var g GUID
	parts := strings.Split(text, "-")
	if len(parts) != 5 || len(parts[0]) != 8 || len(parts[1]) != 4 || len(parts[2]) != 4 || len(parts[3]) != 4 || len(parts[4]) != 12 {
		return GUID{}, fmt.Errorf("GUID %q: must be hexadecimal, 8-4-4-4-12", text)
	}
	if _, err := hex.Decode(g[:], []byte(strings.Join(parts, ""))); err != nil {
		return GUID{}, fmt.Errorf("GUID %q: %w", text, err)
	}
	binary.LittleEndian.PutUint32(g[:], binary.BigEndian.Uint32(g[:]))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(g[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(g[6:]))
	return g, nil
}

// must is for constants.
func must(text string) GUID {
	g, err := ParseGUID(text)
	if err != nil {
		panic(err)
	}
	return g
}

// The owners of variables (UEFI 2.10 §3.3, §32.4.1, and edk2's own).
var (
	// Global is EFI_GLOBAL_VARIABLE: PK, KEK, BootOrder.
	Global = must("8be4df61-93ca-11d2-aa0d-00e098032b8c")
	// ImageSecurity is EFI_IMAGE_SECURITY_DATABASE_GUID: db, dbx.
	ImageSecurity = must("d719b2cb-3d3a-4596-a3bc-dad00e67656f")

	enableVendor = must("f0a30bc7-af08-4556-99c4-001009c93a44") // SecureBootEnable
	customVendor = must("c076ec0c-7028-4399-a072-71ee5c448b9f") // CustomMode
	vendorKeys   = must("9073e4e0-60ec-4b6e-9903-4c223c260f3c") // VendorKeysNv
)

// What the image consists of.
var (
	volumeGUID  = must("fff12b8d-7696-4c8b-a985-2747075b4f50") // EFI_SYSTEM_NV_DATA_FV_GUID
	authGUID    = must("aaf32c78-947b-439a-a180-2e144ec37792") // EFI_AUTHENTICATED_VARIABLE_GUID
	plainGUID   = must("ddcf3616-3275-4164-98b6-fe85707ffe7d") // EFI_VARIABLE_GUID
	workingGUID = must("9e58292b-7c68-497d-a0ce-6500fd9f1b95") // the working area of fault tolerant writes
)
