package libvirt

import (
	"encoding/binary"
	"unicode/utf16"
)

// efiProgram is a PE32+ image (UEFI 2.10 §2.1.1) that writes a text to the firmware's console
// and halts. It is not signed.
func efiProgram(text string) []byte {
	code := []byte{
		0x48, 0x83, 0xec, 0x28, // sub rsp, 40
		0x48, 0x8b, 0x4a, 0x40, // mov rcx, [rdx+64]: SystemTable->ConOut
		0x48, 0x8d, 0x15, 6, 0, 0, 0, // lea rdx, [rip+6]: the text
		0xff, 0x51, 0x08, // call [rcx+8]: OutputString
		0xf4, 0xeb, 0xfd, // hlt; jmp hlt
	}
	for _, c := range append(utf16.Encode([]rune(text)), 0) {
		code = binary.LittleEndian.AppendUint16(code, c)
	}
	const headers, aligned, address = 0x200, 0x1000, 0x1000
	size := (len(code) + 0x1ff) &^ 0x1ff
	b := make([]byte, headers+size)
	p16 := func(at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
	p32 := func(at int, v int) { binary.LittleEndian.PutUint32(b[at:], uint32(v)) } //nolint:gosec // small numbers
	copy(b, "MZ")
	p32(0x3c, 0x40)
	copy(b[0x40:], "PE\x00\x00")
	p16(0x44, 0x8664) // x86-64
	p16(0x46, 1)      // one section
	p16(0x54, 240)    // the optional header's size
	p16(0x56, 0x22)   // executable, large addresses
	const opt = 0x58
	p16(opt, 0x20b)
	p32(opt+4, size)
	p32(opt+16, address) // entry point
	p32(opt+20, address)
	p32(opt+32, aligned)
	p32(opt+36, 0x200)
	p32(opt+56, 2*aligned) // size of the image in memory
	p32(opt+60, headers)
	p16(opt+68, 10)  // EFI application
	p32(opt+108, 16) // data directories, all empty
	const section = opt + 240
	copy(b[section:], ".text")
	p32(section+8, size)
	p32(section+12, address)
	p32(section+16, size)
	p32(section+20, headers)
	p32(section+36, 0x60000020)
	copy(b[headers:], code)
	return b
}

// efiDisk is a disk with a FAT12 file system that has a program where firmware looks for one
// on removable media (UEFI 2.10 §3.5.1.1).
func efiDisk(program []byte) []byte {
	const sector, sectors, fatSectors, rootEntries = 512, 2880, 9, 224
	const root = 1 + 2*fatSectors
	const data = root + rootEntries*32/sector
	b := make([]byte, sectors*sector)
	copy(b, "\xeb\x3c\x90TENKS   ")
	binary.LittleEndian.PutUint16(b[11:], sector)
	b[13], b[14], b[16], b[21] = 1, 1, 2, 0xf0
	binary.LittleEndian.PutUint16(b[17:], rootEntries)
	binary.LittleEndian.PutUint16(b[19:], sectors)
	b[22], b[24], b[26], b[38] = fatSectors, 18, 2, 0x29
	copy(b[43:], "TENKS      FAT12   ")
	b[510], b[511] = 0x55, 0xaa
	chain := func(cluster, next int) {
		for copyAt := range 2 {
			at := b[(1+copyAt*fatSectors)*sector+cluster*3/2:]
			v := binary.LittleEndian.Uint16(at)
			if cluster%2 == 0 {
				v = v&0xf000 | uint16(next) //nolint:gosec // 12 bits
			} else {
				v = v&0x000f | uint16(next)<<4 //nolint:gosec // 12 bits
			}
			binary.LittleEndian.PutUint16(at, v)
		}
	}
	entry := func(at int, name string, attribute byte, cluster, size int) {
		copy(b[at:], name)
		b[at+11] = attribute
		binary.LittleEndian.PutUint16(b[at+26:], uint16(cluster)) //nolint:gosec // 12 bits
		binary.LittleEndian.PutUint32(b[at+28:], uint32(size))    //nolint:gosec // fits on the disk
	}
	const end, directory, file = 0xfff, 0x10, 0x20
	place := func(cluster int) int { return (data + cluster - 2) * sector }
	chain(0, 0xff0)
	chain(1, end)
	entry(root*sector, "EFI        ", directory, 2, 0)
	chain(2, end)
	entry(place(2), ".          ", directory, 2, 0)
	entry(place(2)+32, "..         ", directory, 0, 0)
	entry(place(2)+64, "BOOT       ", directory, 3, 0)
	chain(3, end)
	entry(place(3), ".          ", directory, 3, 0)
	entry(place(3)+32, "..         ", directory, 2, 0)
	entry(place(3)+64, "BOOTX64 EFI", file, 4, len(program))
	copy(b[place(4):], program)
	last := 4 + (len(program)-1)/sector
	for c := 4; c < last; c++ {
		chain(c, c+1)
	}
	chain(last, end)
	return b
}
