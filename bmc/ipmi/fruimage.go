package ipmi

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bougou/go-ipmi/pkg/protocol"
	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
)

const (
	fruManufacturer = "Tenks"
	fruProduct      = "Virtual Machine"
	fruBoard        = "Virtual Board"
	fruVersion      = "1.0"
	english         = 25 // Platform Management FRU §15
	rackMount       = 0x17
	// maxFieldLen is in bytes; the length of a field has six bits.
	maxFieldLen = 63
)

// inventory makes the FRU inventory of a machine (Platform Management FRU Information
// Storage Definition v1.0): chassis, board and product, filled up with zeros.
func inventory(h bmc.Hardware, assetTag string) []byte {
	f := types.FRU{
		ChassisInfoArea: &types.FRUChassisInfoArea{FormatVersion: types.FRUFormatVersion, ChassisType: rackMount},
		BoardInfoArea:   &types.FRUBoardInfoArea{FormatVersion: types.FRUFormatVersion, LanguageCode: english},
		ProductInfoArea: &types.FRUProductInfoArea{FormatVersion: types.FRUFormatVersion, LanguageCode: english},
	}
	id := h.Identity
	maker, serial := cmp.Or(id.Manufacturer, fruManufacturer), cmp.Or(id.Serial, h.UUID)
	assetTag = cmp.Or(assetTag, id.Asset)
	c, b, p := f.ChassisInfoArea, f.BoardInfoArea, f.ProductInfoArea
	c.PartNumberTypeLength, c.PartNumber = field(h.Arch)
	c.SerialNumberTypeLength, c.SerialNumber = field(serial)
	b.ManufacturerTypeLength, b.Manufacturer = field(maker)
	b.ProductNameTypeLength, b.ProductName = field(fruBoard)
	b.SerialNumberTypeLength, b.SerialNumber = field(serial)
	b.PartNumberTypeLength, b.PartNumber = field(h.Arch)
	b.FRUFileIDTypeLength, b.FRUFileID = field("")
	p.ManufacturerTypeLength, p.Manufacturer = field(maker)
	p.NameTypeLength, p.Name = field(cmp.Or(id.Product, fruProduct))
	p.PartModelTypeLength, p.PartModel = field(h.Arch)
	p.VersionTypeLength, p.Version = field(cmp.Or(id.Version, fruVersion))
	p.SerialNumberTypeLength, p.SerialNumber = field(serial)
	p.AssetTagTypeLength, p.AssetTag = field(assetTag)
	p.FRUFileIDTypeLength, p.FRUFileID = field("")
	image := make([]byte, fruLen)
	if areas, err := types.PackFRUInventory(&f); err == nil { // it fails for nil only
		copy(image, areas)
	}
	return image
}

// field is text as a field has it: 8-bit ASCII. One of one byte means the end of the
// fields, and so gets a space.
func field(text string) (types.TypeLength, []byte) {
	if len(text) == 1 {
		text += " "
	}
	b := []byte(text)[:min(len(text), maxFieldLen)]
	return types.TypeLength(ascii | byte(len(b))), b
}

// productArea finds the product area of an inventory, if it is whole. It is read here,
// not by go-ipmi, whose codec panics on some areas that no client should write.
func productArea(image []byte) (at, end int, ok bool) {
	if len(image) != fruLen || protocol.Checksum(image[:areaUnit]) != 0 {
		return 0, 0, false
	}
	at = int(image[productOffset]) * areaUnit
	if at == 0 || at+areaUnit > fruLen {
		return 0, 0, false
	}
	end = at + int(image[at+1])*areaUnit
	return at, end, end > at && end <= fruLen && protocol.Checksum(image[at:end]) == 0
}

const (
	areaUnit = 8
	// productOffset is where the header says where the product area is; other areas are
	// said before and behind it.
	productOffset = 4
	// The product area: its version, length and language, then fields.
	productHead   = 3
	assetTagIndex = 5
	endOfFields   = 0xc1
)

// fieldAt returns the length of the field that begins at i, with its first byte; 0 for none.
func fieldAt(area []byte, i int) int {
	if i >= len(area)-1 || area[i] == endOfFields {
		return 0
	}
	n := 1 + int(types.TypeLength(area[i]).Length())
	if i+n > len(area)-1 { // the last byte is the checksum
		return 0
	}
	return n
}

// assetTagField returns where in a product area the asset tag begins, how long it is,
// and how long all fields are.
func assetTagField(area []byte) (i, n, end int, ok bool) {
	end = productHead
	for index := 0; ; index++ {
		l := fieldAt(area, end)
		if l == 0 {
			return i, n, end, n > 0 && end < len(area)-1
		}
		if index == assetTagIndex {
			i, n = end, l
		}
		end += l
	}
}

// assetTagOf returns the asset tag that an inventory says, if it says one.
func assetTagOf(image []byte) (tag string, ok bool) {
	at, end, ok := productArea(image)
	if !ok {
		return "", false
	}
	area := image[at:end]
	i, n, _, ok := assetTagField(area)
	if !ok {
		return "", false
	}
	// A field of one byte was filled up.
	tag = strings.TrimRight(types.FRUFieldString(types.TypeLength(area[i]), area[i+1:i+n]), " \x00")
	return tag[:min(len(tag), maxFieldLen)], true
}

// withAssetTag returns an inventory with another asset tag; ok is false if it has no
// whole product area, or no room.
func withAssetTag(image []byte, tag string) (changed []byte, ok bool) {
	at, end, ok := productArea(image)
	if !ok {
		return nil, false
	}
	area := image[at:end]
	i, n, fields, ok := assetTagField(area)
	if !ok {
		return nil, false
	}
	kind, text := field(tag)
	b := slices.Concat(area[:i], []byte{byte(kind)}, text, area[i+n:fields], []byte{endOfFields})
	length := (len(b)/areaUnit + 1) * areaUnit // with the checksum
	if room := roomAt(image, at); length > room {
		return nil, false
	}
	length = max(length, len(area)) // what is behind it stays where it is
	b = append(b, make([]byte, length-len(b))...)
	b[1] = byte(length / areaUnit)
	b[length-1] = protocol.Checksum(b)
	changed = slices.Clone(image)
	copy(changed[at:], b)
	return changed, true
}

// roomAt is how many bytes there are from an area on to the next one.
func roomAt(image []byte, at int) int {
	next := fruLen
	for _, unit := range image[1 : areaUnit-2] {
		if o := int(unit) * areaUnit; o > at {
			next = min(next, o)
		}
	}
	return next - at
}
