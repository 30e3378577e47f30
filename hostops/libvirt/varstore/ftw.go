package varstore

import "encoding/binary"

// Fault tolerant writes (edk2's EFI_FAULT_TOLERANT_WRITE_PROTOCOL): a block is written to
// the spare area before it is written to its place, and the working area says how far that
// is. The firmware finishes a write at its next start. A bit that is 0 is set.
const (
	workHeader = 32
	ftwHeader  = 40
	ftwRecord  = 40

	ftwAllocated  = 1 << 0 // of a header
	ftwComplete   = 1 << 2
	spareComplete = 1 << 1 // of a record
	destComplete  = 1 << 2

	page = 4096
)

// findWork looks for the working area behind the store.
func (s *Store) findWork() {
	for at := (s.end + page - 1) &^ (page - 1); at+workHeader <= len(s.image); at += page {
		b := s.image[at:]
		if GUID(b[:16]) != workingGUID {
			continue
		}
		queue := binary.LittleEndian.Uint64(b[24:])
		if queue <= uint64(len(b)-workHeader) {
			s.work = span{at, at + workHeader + int(queue)} //nolint:gosec // see the line above
		}
		return
	}
}

// restart does to the image what the firmware does at its start with a write of the store
// that was cut short; it reports whether there was one.
func (s *Store) restart() bool {
	if s.work.end == 0 {
		return false
	}
	queue := s.image[s.work.begin+workHeader : s.work.end]
	for len(queue) >= ftwHeader && queue[0]&ftwAllocated == 0 {
		writes, private := binary.LittleEndian.Uint64(queue[24:]), binary.LittleEndian.Uint64(queue[32:])
		if writes > page || private > page {
			return false
		}
		step := ftwRecord + int(private) //nolint:gosec // see the line above
		done := queue[0]&ftwComplete == 0
		queue = queue[ftwHeader:]
		for range writes {
			if len(queue) < step {
				return false
			}
			if !done && queue[0]&spareComplete == 0 && queue[0]&destComplete != 0 {
				return s.fromSpare(queue)
			}
			queue = queue[step:]
		}
	}
	return false
}

// fromSpare copies the spare area to the beginning of the image, if that is where the
// record says that it belongs.
func (s *Store) fromSpare(record []byte) bool {
	offset, length := binary.LittleEndian.Uint64(record[16:]), binary.LittleEndian.Uint64(record[24:])
	target := int64(s.work.end) + int64(binary.LittleEndian.Uint64(record[32:])) //nolint:gosec // signed in the image
	if target != 0 || offset > maxImage || length > maxImage {
		return false
	}
	size := (int(offset+length) + page - 1) &^ (page - 1) //nolint:gosec // see above
	if size > s.work.begin || s.work.end+size > len(s.image) {
		return false
	}
	copy(s.image, s.image[s.work.end:s.work.end+size])
	return true
}
