// Package varstore reads and writes the variables of UEFI firmware for virtual machines:
// the raw flash image that QEMU's second pflash device is, such as OVMF_VARS_4M.fd. It
// holds a firmware volume whose body is a variable store in edk2's authenticated format
// (MdeModulePkg/Include/Guid/VariableFormat.h), an event log, and the working and spare
// areas of fault tolerant writes.
//
// It checks no signature: who can write the file is who owns the machine. A store is
// changed only while no guest runs on it.
package varstore
