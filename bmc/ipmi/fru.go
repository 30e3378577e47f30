package ipmi

import (
	"bytes"
	"context"

	"github.com/bougou/go-ipmi/pkg/types"

	"tenks/bmc"
)

// fruCommands are IPMI v2.0 §34. There is one device: the system.
var fruCommands = []command{
	{is: types.CommandGetFRUInventoryAreaInfo, privilege: types.PrivilegeLevelUser, min: 1, max: 1, handle: getFRUInfo},
	{is: types.CommandReadFRUData, privilege: types.PrivilegeLevelUser, min: 4, max: 4, handle: readFRU},
	{is: types.CommandWriteFRUData, privilege: types.PrivilegeLevelOperator, min: 4, max: 3 + maxFRUWrite, handle: writeFRU, changes: true},
}

const (
	// fruKey is where an inventory that a client has written is kept, in whole.
	fruKey = "ipmi/fru"
	// fruLen is the size of the inventory, in bytes.
	fruLen = 512
	// maxFRURead is how much one answer holds; clients ask for less.
	maxFRURead, maxFRUWrite = 240, 240
	systemFRU               = 0
	accessedByBytes         = 0
)

// onFRU checks the device that the request begins with.
func (c *call) onFRU() error {
	if c.data[0] != systemFRU {
		return notPresent
	}
	return nil
}

func getFRUInfo(_ context.Context, c *call) ([]byte, error) {
	return []byte{fruLen & 0xff, fruLen >> 8, accessedByBytes}, c.onFRU()
}

func readFRU(_ context.Context, c *call) ([]byte, error) {
	if err := c.onFRU(); err != nil {
		return nil, err
	}
	offset, count := int(c.uint16At(1)), int(c.data[3])
	if offset >= fruLen {
		return nil, outOfRange
	}
	part := c.fru()[offset:min(offset+min(count, maxFRURead), fruLen)]
	return append([]byte{byte(len(part))}, part...), nil
}

// writeFRU is §34.3. A client that writes an inventory anew does so in many small parts;
// each is kept, and an asset tag as soon as the areas that it is in are whole again.
func writeFRU(ctx context.Context, c *call) ([]byte, error) {
	if err := c.onFRU(); err != nil {
		return nil, err
	}
	offset, part := int(c.uint16At(1)), c.data[3:]
	if offset+len(part) > fruLen {
		return nil, outOfRange
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	image := bytes.Clone(c.fru())
	copy(image[offset:], part)
	if err := c.keepFRU(ctx, image); err != nil {
		return nil, err
	}
	if tag, ok := assetTagOf(image); ok && tag != c.assetTag() {
		if err := c.chassis.Keep(ctx, bmc.KeyAssetTag, []byte(tag)); err != nil {
			return nil, err
		}
	}
	return []byte{byte(len(part))}, nil
}

// fru is the inventory as it is now. The result is not to be changed.
func (e *engine) fru() []byte {
	if b := e.chassis.Recall(fruKey); len(b) == fruLen {
		return b
	}
	return inventory(e.chassis.Hardware(), e.assetTag())
}

// keepFRU keeps an inventory, unless it is the one that there is without.
func (e *engine) keepFRU(ctx context.Context, image []byte) error {
	if bytes.Equal(image, inventory(e.chassis.Hardware(), e.assetTag())) {
		image = nil
	}
	return e.chassis.Keep(ctx, fruKey, image)
}

func (e *engine) assetTag() string { return string(e.chassis.Recall(bmc.KeyAssetTag)) }

// setAssetTag keeps the asset tag, also in an inventory that a client has written.
func (e *engine) setAssetTag(ctx context.Context, edit func(old string) (tag string, err error)) (tag string, err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	if tag, err = edit(e.assetTag()); err != nil {
		return "", err
	}
	if image, ok := withAssetTag(e.chassis.Recall(fruKey), tag); ok {
		if err := e.chassis.Keep(ctx, fruKey, image); err != nil {
			return "", err
		}
	}
	return tag, e.chassis.Keep(ctx, bmc.KeyAssetTag, []byte(tag))
}
