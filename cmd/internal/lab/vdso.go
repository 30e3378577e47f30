package lab

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// jumpLen is the length of what is written over the begin of a function.
	jumpLen = 5
	// codeAlign is what the code's offset is a multiple of.
	codeAlign = 16
)

// vdso is the code that the kernel maps into each process for reading clocks (vdso(7)).
type vdso struct {
	// begin is its address.
	begin uint64
	image []byte
}

// edit is bytes that take the place of others in an image.
type edit struct {
	offset int
	bytes  []byte
}

// findVDSO returns the addresses of a process's vDSO, of its maps (proc_pid_maps(5)).
func findVDSO(maps string) (begin, end uint64, err error) {
	for line := range strings.Lines(maps) {
		line = strings.TrimSpace(line)
		if !strings.HasSuffix(line, "[vdso]") {
			continue
		}
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		begin, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, err
		}
		if end <= begin || end-begin > 1<<20 {
			return 0, 0, fmt.Errorf("vdso at %x-%x", begin, end)
		}
		return begin, end, nil
	}
	return 0, 0, errors.New("it has no vdso")
}

// readVDSO reads the vDSO that a process has now; "self" is this one.
func readVDSO(pid string) (vdso, error) {
	maps, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		return vdso{}, err
	}
	begin, end, err := findVDSO(string(maps))
	if err != nil {
		return vdso{}, err
	}
	mem, err := os.Open("/proc/" + pid + "/mem")
	if err != nil {
		return vdso{}, err
	}
	defer mem.Close()
	v := vdso{begin: begin, image: make([]byte, end-begin)}
	_, err = mem.ReadAt(v.image, int64(begin)) //nolint:gosec // a user's address has 47 bits
	return v, err
}

// patch is what shifts the clock of a vDSO.
type patch struct {
	// original is the image as the kernel made it.
	original []byte
	// code is what is added, entries are the begins of functions, which jump to it.
	code    edit
	entries []edit
}

// planShift works out what shifts the clock of an image as the kernel made it. The
// routines go to its end, which it does not use.
func planShift(image []byte, by time.Duration) (patch, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return patch{}, fmt.Errorf("vdso: %w", err)
	}
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return patch{}, fmt.Errorf("vdso: a clock is shifted on amd64 only, this is %s", f.Machine)
	}
	if by > maxShift || by < -maxShift {
		return patch{}, fmt.Errorf("a shift of %s is more than %s", by, maxShift)
	}
	code, starts := routines(by)
	at := (len(bytes.TrimRight(image, "\x00")) + codeAlign) &^ (codeAlign - 1)
	if at+len(code) > len(image) {
		return patch{}, fmt.Errorf("vdso: no room for %d bytes after %d of %d", len(code), at, len(image))
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return patch{}, fmt.Errorf("vdso: %w", err)
	}
	p := patch{original: image, code: edit{at, code}}
	for name, start := range starts {
		i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
		if i < 0 || symbols[i].Size < jumpLen || symbols[i].Value > uint64(at) {
			return patch{}, fmt.Errorf("vdso: no function %s", name)
		}
		entry := int(symbols[i].Value)                                //nolint:gosec // less than at
		jump := append([]byte{0xe9}, word(at+start-entry-jumpLen)...) // jmp
		p.entries = append(p.entries, edit{entry, jump})
	}
	return p, nil
}

// undo is what makes the functions what they were. The code stays: a thread may be in it.
func (p patch) undo() []edit {
	var all []edit
	for _, e := range p.entries {
		all = append(all, edit{e.offset, p.original[e.offset : e.offset+len(e.bytes)]})
	}
	return all
}

// fits reports whether an image is the original, but for what a patch may have done.
func (p patch) fits(image []byte) bool {
	if len(image) != len(p.original) {
		return false
	}
	edits := append([]edit{p.code}, p.entries...)
	return bytes.Equal(edited(image, edits), edited(p.original, edits))
}

// edited returns a copy of an image with edits made.
func edited(image []byte, edits []edit) []byte {
	image = slices.Clone(image)
	for _, e := range edits {
		copy(image[e.offset:], e.bytes)
	}
	return image
}

// routines is amd64 code for what the kernel's functions do, with the wall clock shifted,
// and where the functions begin in it. It asks the kernel by a system call, and adds to
// its answer. By the System V ABI it may change rax, rcx, rdx, rsi, rdi and r8 to r11.
func routines(by time.Duration) (code []byte, starts map[string]int) {
	seconds, rest := floor(by)
	add := func(size time.Duration) []byte { return word(int(rest / size)) }
	clock := slices.Concat(
		[]byte{0xb8}, word(228), // mov eax, SYS_clock_gettime
		[]byte{0x0f, 0x05},                       // syscall
		[]byte{0x85, 0xc0, 0x75, 0x33},           // test eax, eax; jne end
		[]byte{0x83, 0xff, 0x0b, 0x77, 0x2e},     // cmp edi, CLOCK_TAI; ja end
		[]byte{0xb9}, word(1<<0|1<<5|1<<8|1<<11), // mov ecx, CLOCK_REALTIME, _COARSE, _ALARM, TAI
		[]byte{0x0f, 0xa3, 0xf9, 0x73, 0x24},                 // bt ecx, edi; jnc end
		[]byte{0x48, 0x81, 0x46, 0x08}, add(time.Nanosecond), // add qword [rsi+8], nanoseconds
		[]byte{0x48, 0x81, 0x7e, 0x08}, word(1e9), // cmp qword [rsi+8], 1e9
		[]byte{0x7c, 0x0b},                        // jl seconds
		[]byte{0x48, 0x81, 0x6e, 0x08}, word(1e9), // sub qword [rsi+8], 1e9
		[]byte{0x48, 0xff, 0x06},                // inc qword [rsi]
		[]byte{0x48, 0x81, 0x06}, word(seconds), // seconds: add qword [rsi], seconds
		[]byte{0xc3}, // end: ret
	)
	day := slices.Concat(
		[]byte{0xb8}, word(96), // mov eax, SYS_gettimeofday
		[]byte{0x0f, 0x05},                                    // syscall
		[]byte{0x85, 0xc0, 0x75, 0x29},                        // test eax, eax; jne end
		[]byte{0x48, 0x85, 0xff, 0x74, 0x24},                  // test rdi, rdi; je end
		[]byte{0x48, 0x81, 0x47, 0x08}, add(time.Microsecond), // add qword [rdi+8], microseconds
		[]byte{0x48, 0x81, 0x7f, 0x08}, word(1e6), // cmp qword [rdi+8], 1e6
		[]byte{0x7c, 0x0b},                        // jl seconds
		[]byte{0x48, 0x81, 0x6f, 0x08}, word(1e6), // sub qword [rdi+8], 1e6
		[]byte{0x48, 0xff, 0x07},                // inc qword [rdi]
		[]byte{0x48, 0x81, 0x07}, word(seconds), // seconds: add qword [rdi], seconds
		[]byte{0xc3}, // end: ret
	)
	starts = map[string]int{"__vdso_clock_gettime": 0, "__vdso_gettimeofday": len(clock), "__vdso_time": len(clock) + len(day)}
	const called = 15 // offset in what follows of where the call returns to
	second := slices.Concat(
		[]byte{0x57, 0x48, 0x83, 0xec, 0x10},                  // push rdi; sub rsp, 16
		[]byte{0x31, 0xff, 0x48, 0x89, 0xe6},                  // xor edi, edi; mov rsi, rsp
		[]byte{0xe8}, word(-(starts["__vdso_time"] + called)), // call clock
		[]byte{0x58, 0x5a, 0x5f},             // pop rax; pop rdx; pop rdi
		[]byte{0x48, 0x85, 0xff, 0x74, 0x03}, // test rdi, rdi; je end
		[]byte{0x48, 0x89, 0x07},             // mov [rdi], rax
		[]byte{0xc3},                         // end: ret
	)
	return slices.Concat(clock, day, second), starts
}

// floor splits a time into seconds and what is left, from 0 on.
func floor(by time.Duration) (seconds int, rest time.Duration) {
	seconds, rest = int(by/time.Second), by%time.Second
	if rest < 0 {
		seconds, rest = seconds-1, rest+time.Second
	}
	return seconds, rest
}

// maxShift is what 32 bits hold.
const maxShift = math.MaxInt32 * time.Second

// word is a number as an instruction has it.
func word(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) } //nolint:gosec // negative ones are meant
