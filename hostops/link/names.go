package link

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxName is the longest interface name in bytes (IFNAMSIZ less the final NUL).
	maxName      = 15
	bridgePrefix = "brtenks"
)

// BridgeName is the name of the bridge with index i: "brtenks<i>".
func BridgeName(i int) string { return bridgePrefix + strconv.Itoa(i) }

// TapName is the node-side end of a node's port i: "p-<linkName>-<i>-tap". It fits
// an interface name for a link name of at most 6 bytes and i up to 99.
func TapName(linkName string, i int) string { return fmt.Sprintf("p-%s-%d-tap", linkName, i) }

// PeerName is the switch-side end of a node's port i in a Linux bridge:
// "p-<linkName>-<i>-br".
func PeerName(linkName string, i int) string { return Bridge{}.PeerName(linkName, i) }

// vlanName is the link of a device's VLAN, as people name theirs: "<device>.<vlan>", or, where
// that is too long, "v<hash of the device>.<vlan>".
func vlanName(device string, vlan int) string {
	name := device + "." + strconv.Itoa(vlan)
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(device))
	return "v" + hex.EncodeToString(sum[:4]) + "." + strconv.Itoa(vlan)
}

// vxlanName is the link that joins a bridge of ours to those of other hosts.
func vxlanName(bridge string) string { return "x-" + bridge }

// AssignBridges gives every physnet the index of its bridge. A known one keeps its
// index; the others get, in order of their names, the lowest index that neither a
// known physnet has (be it asked for or not) nor a foreign link, which taken says
// of an interface name.
func AssignBridges(physnets []string, known map[string]int, taken func(name string) bool) map[string]int {
	used := map[int]bool{}
	for _, i := range known {
		used[i] = true
	}
	assigned := make(map[string]int, len(physnets))
	next := 0
	for _, physnet := range slices.Sorted(slices.Values(physnets)) {
		if i, ok := known[physnet]; ok {
			assigned[physnet] = i
			continue
		}
		if _, ok := assigned[physnet]; ok {
			continue
		}
		for used[next] || taken(BridgeName(next)) {
			next++
		}
		assigned[physnet], used[next] = next, true
	}
	return assigned
}

// BridgeIndex is the inverse of BridgeName.
func BridgeIndex(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, bridgePrefix)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(digits)
	return i, err == nil && i >= 0 && BridgeName(i) == name
}
