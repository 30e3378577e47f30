package address

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
)

// record is the file. It must outlive the agent, not the host, and is not synced.
type record struct {
	Boot      string  `json:"boot"`
	Addresses []entry `json:"addresses"`
}

// readRecord returns the entries of a boot.
func readRecord(file, boot string) (map[netip.Addr]entry, error) {
	out := map[netip.Addr]entry{}
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("addresses of BMCs: %w", err)
	}
	r, err := parseRecord(b)
	if err != nil {
		return nil, fmt.Errorf("addresses of BMCs: %s: %w", file, err)
	}
	if r.Boot != boot {
		return out, nil
	}
	for _, e := range r.Addresses {
		out[e.Address] = e
	}
	return out, nil
}

func parseRecord(b []byte) (record, error) {
	var r record
	err := json.Unmarshal(b, &r)
	return r, err
}

// writeRecord replaces the file in one step; without entries there is none.
func writeRecord(file, boot string, ours map[netip.Addr]entry) error {
	if len(ours) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("addresses of BMCs: %w", err)
		}
		return nil
	}
	r := record{Boot: boot}
	for _, at := range sorted(maps.Keys(ours)) {
		r.Addresses = append(r.Addresses, ours[at])
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(file+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("addresses of BMCs: %w", err)
	}
	return nil
}
