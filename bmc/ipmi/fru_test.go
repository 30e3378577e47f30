package ipmi

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
)

// readInventory reads the whole inventory as a client does.
func readInventory(t *testing.T, c *console) []byte {
	t.Helper()
	var image []byte
	for len(image) < fruLen {
		code, answer, err := c.command(0x0a, 0x11, append(binary.LittleEndian.AppendUint16([]byte{0}, uint16(len(image))), 32)...)
		if err != nil || code != 0 || len(answer) < 2 {
			t.Fatalf("FRU from %d on: code %02x, %x, %v", len(image), byte(code), answer, err)
		}
		image = append(image, answer[1:]...)
	}
	return image
}

// writeInventory writes the whole inventory as a client does.
func writeInventory(t *testing.T, c *console, image []byte) {
	t.Helper()
	for at := 0; at < len(image); at += 16 {
		data := append(binary.LittleEndian.AppendUint16([]byte{0}, uint16(at)), image[at:at+16]...)
		if code, answer, err := c.command(0x0a, 0x12, data...); err != nil || code != 0 || answer[0] != 16 {
			t.Fatalf("FRU at %d: code %02x, %x, %v", at, byte(code), answer, err)
		}
	}
}

func TestInventoryIsTheHardware(t *testing.T) {
	l := newLab(t)
	h := l.chassis.Hardware()
	f, err := types.ParseFRU(readInventory(t, l.loggedIn(4)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		tl   types.TypeLength
		got  []byte
		want string
	}{
		{"chassis serial", f.ChassisInfoArea.SerialNumberTypeLength, f.ChassisInfoArea.SerialNumber, h.UUID},
		{"board manufacturer", f.BoardInfoArea.ManufacturerTypeLength, f.BoardInfoArea.Manufacturer, "Tenks"},
		{"product manufacturer", f.ProductInfoArea.ManufacturerTypeLength, f.ProductInfoArea.Manufacturer, "Tenks"},
		{"product serial", f.ProductInfoArea.SerialNumberTypeLength, f.ProductInfoArea.SerialNumber, h.UUID},
	} {
		if got := types.FRUFieldString(tc.tl, tc.got); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestWrittenInventoryStays(t *testing.T) {
	l := newLab(t)
	c := l.loggedIn(4)
	before := readInventory(t, c)
	changed, ok := withAssetTag(before, "rack 7, unit 3")
	if !ok {
		t.Fatalf("no room in %x", before)
	}
	writeInventory(t, c, changed)
	if got := readInventory(t, c); !bytes.Equal(got, changed) {
		t.Errorf("got %x, want %x", got, changed)
	}
	if got := string(l.chassis.Recall(bmc.KeyAssetTag)); got != "rack 7, unit 3" {
		t.Errorf("asset tag %q", got)
	}
	if l.chassis.Recall(fruKey) != nil {
		t.Error("an inventory is kept that is as it would be without")
	}
	// One of the client's own: what it says stays when the tag changes.
	f, err := types.ParseFRU(changed)
	if err != nil {
		t.Fatal(err)
	}
	f.ChassisInfoArea.PartNumberTypeLength, f.ChassisInfoArea.PartNumber = field("part 1")
	f.ChassisInfoArea.Unused, f.BoardInfoArea.Unused, f.ProductInfoArea.Unused = nil, nil, nil
	own, err := types.PackFRUInventory(f)
	if err != nil {
		t.Fatal(err)
	}
	own = append(own, make([]byte, fruLen-len(own))...)
	writeInventory(t, c, own)
	code, _, err := c.command(0x2c, 0x08, append([]byte{0xdc, 0, 3}, "new"...)...)
	if code != 0 || err != nil {
		t.Fatalf("set asset tag: code %02x, %v", byte(code), err)
	}
	got := readInventory(t, c)
	if tag, ok := assetTagOf(got); tag != "new" || !ok || !bytes.Contains(got, []byte("part 1")) {
		t.Errorf("asset tag %q in %x", tag, got)
	}
}

func TestAssetTagLeavesWhatIsBehindIt(t *testing.T) {
	image := inventory(bmc.Hardware{UUID: testUUID, Arch: "x86_64"}, "tag")
	at, end, ok := productArea(image)
	if !ok {
		t.Fatalf("no product area in %x", image)
	}
	image[5], image[end] = byte(end/areaUnit), 0xaa // a record behind it
	image[7] -= byte(end / areaUnit)
	for tag, want := range map[string]bool{"": true, "new": true, "as long as is room": false} {
		got, ok := withAssetTag(image, tag)
		if ok != want {
			t.Errorf("tag %q: %v, want %v", tag, ok, want)
		}
		if said, whole := assetTagOf(got); ok && (!whole || said != tag || got[end] != 0xaa || !bytes.Equal(got[:at], image[:at])) {
			t.Errorf("tag %q: %q, %v in %x", tag, said, whole, got)
		}
	}
}

func TestInventoryHasRoomForTheLongestTexts(t *testing.T) {
	long := strings.Repeat("x", 100)
	image := inventory(bmc.Hardware{UUID: testUUID, Arch: long}, long)
	if tag, ok := assetTagOf(image); !ok || tag != long[:maxFieldLen] {
		t.Errorf("asset tag %q, %v", tag, ok)
	}
	for _, tag := range []string{"", "x", "ab"} {
		got, ok := assetTagOf(inventory(bmc.Hardware{}, tag))
		if !ok || got != tag {
			t.Errorf("tag %q: got %q, %v", tag, got, ok)
		}
	}
}

// FuzzFRU writes anything anywhere into the inventory, and sets the asset tag.
func FuzzFRU(f *testing.F) {
	image := inventory(bmc.Hardware{UUID: testUUID, Arch: "x86_64"}, "tag")
	f.Add(uint16(0), image, "new")
	f.Add(uint16(500), []byte{1, 2, 3}, "")
	f.Add(uint16(0), image[:8], strings.Repeat("x", 63))
	f.Fuzz(func(t *testing.T, offset uint16, data []byte, tag string) {
		l := newLab(t)
		c := l.loggedIn(4)
		image := bytes.Clone(l.engine.fru())
		if int(offset) < fruLen {
			copy(image[offset:], data)
		}
		// In one go, as if a client had written all of it, and as one message.
		if err := l.chassis.Keep(t.Context(), fruKey, image); err != nil {
			t.Fatal(err)
		}
		part := append(binary.LittleEndian.AppendUint16([]byte{0}, offset), data[:min(len(data), 200)]...)
		if _, _, err := c.command(0x0a, 0x12, part...); err != nil {
			t.Fatalf("write: %v", err)
		}
		tag = tag[:min(len(tag), 16)]
		if _, _, err := c.command(0x2c, 0x08, append([]byte{0xdc, 0, byte(len(tag))}, tag...)...); err != nil {
			t.Fatalf("set asset tag: %v", err)
		}
		if got := readInventory(t, c); len(got) != fruLen {
			t.Errorf("%d bytes", len(got))
		}
		stillServes(t, l)
	})
}
