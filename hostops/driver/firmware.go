package driver

// FactArchs is the fact in Info of which architectures guests may have: words with spaces
// between them.
const FactArchs = "architectures"

// The words of Instance.Firmware about UEFI Secure Boot. A node that has not FirmwareSecureBoot
// cannot do it.
const (
	// FirmwareSecureBoot is SecureBootEnforced or SecureBootOff: what the running guest was
	// started with.
	FirmwareSecureBoot = "secure_boot"
	SecureBootEnforced = "enforced"
	SecureBootOff      = "off"
	// FirmwareKeys says which keys are in the variables: as Setup.Keys, or custom for a
	// platform key that is not the firmware's.
	FirmwareKeys = "keys"
	// FirmwareCertificates and the name of a database, PK, KEK, db or dbx, are its X.509
	// certificates as PEM, one after the other.
	FirmwareCertificates = "certificates."
	// FirmwareHashes and the name of a database are its SHA-256 digests of images, in
	// hexadecimal, one per line.
	FirmwareHashes = "hashes."
)
