package ipmi

import (
	"testing"

	"github.com/bougou/go-ipmi/pkg/types"
)

// TestCommandsNeedThePrivilegeOfAppendixG holds the tables against IPMI v2.0 Appendix G,
// written down a second time: 0 is anytime, "s" (system interface only) an administrator.
func TestCommandsNeedThePrivilegeOfAppendixG(t *testing.T) {
	const (
		anytime  = types.PrivilegeLevelUnspecified
		callback = types.PrivilegeLevelCallback
		user     = types.PrivilegeLevelUser
		operator = types.PrivilegeLevelOperator
		admin    = types.PrivilegeLevelAdministrator
	)
	want := map[commandKey]types.PrivilegeLevel{
		{6, 0x01}: user, {6, 0x02}: admin, {6, 0x03}: admin, {6, 0x04}: user, {6, 0x06}: admin, {6, 0x07}: user, {6, 0x08}: user,
		{6, 0x22}: operator, {6, 0x24}: operator, {6, 0x25}: user, {6, 0x2e}: admin, {6, 0x2f}: user, {6, 0x30}: admin, {6, 0x31}: admin,
		{6, 0x33}: admin, {6, 0x35}: admin, {6, 0x37}: anytime, {6, 0x38}: anytime, {6, 0x3b}: callback, {6, 0x3c}: callback, {6, 0x3d}: user,
		{6, 0x40}: admin, {6, 0x41}: user, {6, 0x42}: user, {6, 0x43}: admin, {6, 0x44}: operator, {6, 0x45}: admin, {6, 0x46}: operator, {6, 0x47}: admin,
		{6, 0x54}: anytime, {6, 0x56}: admin, {6, 0x58}: admin, {6, 0x59}: user,
		{0, 0x00}: user, {0, 0x01}: user, {0, 0x02}: operator, {0, 0x04}: operator, {0, 0x06}: operator, {0, 0x07}: user, {0, 0x08}: operator,
		{0, 0x09}: operator, {0, 0x0a}: admin, {0, 0x0f}: user,
		{0x0c, 0x01}: admin, {0x0c, 0x02}: operator, {0x0c, 0x04}: user,
	}
	for key, level := range want {
		row, ok := commands[key]
		if !ok {
			t.Errorf("command % x: there is no row for it", key)
			continue
		}
		if row.privilege != level || row.anytime != (level == anytime) {
			t.Errorf("%s: privilege %d, anytime %v; want %d", row.is.Name, row.privilege, row.anytime, level)
		}
	}
}

func TestEveryCommandBoundsItsRequest(t *testing.T) {
	l := newLab(t)
	for key, row := range commands {
		if row.max < row.min || row.handle == nil {
			t.Errorf("%s: between %d and %d bytes, handler %v", row.is.Name, row.min, row.max, row.handle != nil)
		}
		c := l.loggedIn(4)
		for _, n := range []int{row.min - 1, row.max + 1} {
			// Group extensions begin with the group.
			if n < 0 || key[0] == byte(types.NetFnGroupExtensionRequest) {
				continue
			}
			if code, data, err := c.command(key[0], key[1], make([]byte, n)...); code != 0xc7 || err != nil || len(data) != 0 {
				t.Errorf("%s with %d bytes: code %02x, data %x, %v; want c7", row.is.Name, n, byte(code), data, err)
			}
		}
	}
}
