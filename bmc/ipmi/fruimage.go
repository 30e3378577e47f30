package ipmi

import (
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
	c, b, p := f.ChassisInfoArea, f.BoardInfoArea, f.ProductInfoArea
	c.PartNumberTypeLength, c.PartNumber = field(h.Arch)
	c.SerialNumberTypeLength, c.SerialNumber = field(h.UUID)
	b.ManufacturerTypeLength, b.Manufacturer = field(fruManufacturer)
	b.ProductNameTypeLength, b.ProductName = field(fruBoard)
	b.SerialNumberTypeLength, b.SerialNumber = field(h.UUID)
	b.PartNumberTypeLength, b.PartNumber = field(h.Arch)
	b.FRUFileIDTypeLength, b.FRUFileID = field("")
	p.ManufacturerTypeLength, p.Manufacturer = field(fruManufacturer)
	p.NameTypeLength, p.Name = field(fruProduct)
	p.PartModelTypeLength, p.PartModel = field(h.Arch)
	p.VersionTypeLength, p.Version = field(fruVersion)
	p.SerialNumberTypeLength, p.SerialNumber = field(h.UUID)
	p.AssetTagTypeLength, p.AssetTag = field(assetTag)
	p.FRUFileIDTypeLength, p.FRUFileID = field("")
	image, _ := packed(&f)
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

// packed makes an inventory of fruLen bytes; ok is false if that is too little.
func packed(f *types.FRU) (image []byte, ok bool) {
	b, err := types.PackFRUInventory(f)
	if err != nil || len(b) > fruLen {
		return make([]byte, fruLen), false
	}
	image = make([]byte, fruLen)
	copy(image, b)
	return image, true
}

// parseInventory reads an inventory whose product area is whole.
func parseInventory(image []byte) (*types.FRU, bool) {
	const productOffset, unit = 4, 8
	if len(image) != fruLen || protocol.Checksum(image[:unit]) != 0 {
		return nil, false
	}
	at := int(image[productOffset]) * unit
	if at == 0 || at+2 > fruLen {
		return nil, false
	}
	end := at + int(image[at+1])*unit
	if end <= at || end > fruLen || protocol.Checksum(image[at:end]) != 0 {
		return nil, false
	}
	f, err := types.ParseFRU(image)
	return f, err == nil && f.ProductInfoArea != nil
}

// assetTagOf returns the asset tag that an inventory says, if it says one.
func assetTagOf(image []byte) (tag string, ok bool) {
	f, ok := parseInventory(image)
	if !ok {
		return "", false
	}
	p := f.ProductInfoArea
	tag = types.FRUFieldString(p.AssetTagTypeLength, p.AssetTag)
	return tag[:min(len(tag), maxFieldLen)], true
}

// withAssetTag returns an inventory with another asset tag; ok is false if it has no
// whole product area, or no room.
func withAssetTag(image []byte, tag string) (changed []byte, ok bool) {
	f, ok := parseInventory(image)
	if !ok {
		return nil, false
	}
	p := f.ProductInfoArea
	p.AssetTagTypeLength, p.AssetTag = field(tag)
	p.Unused = nil // it made up for the length that there was
	return packed(f)
}
