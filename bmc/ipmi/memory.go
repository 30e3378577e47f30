package ipmi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// Keys of bmc.Memory. What is kept under accountsKey holds passwords in clear text,
// because a login's codes are made with them (IPMI v2.0 §13.31): the memory must be
// readable for nobody else (hostops keeps it in files of mode 0600).
const (
	accountsKey = "ipmi/users"
	settingsKey = "ipmi/settings"
	historyKey  = "ipmi/power"
)

// kept is a value in bmc.Memory, decoded once for as long as its bytes are the same.
// The zero value of T is what a BMC has of which nothing is kept. Values are shared:
// only change makes another one. It is guarded by the engine's mu.
type kept[T any] struct {
	raw   []byte
	value *T
}

// of returns the value of recalled bytes. Bytes that cannot be decoded, which a later
// version may have written, are as none.
func (k *kept[T]) of(raw []byte) *T {
	if k.value == nil || !bytes.Equal(k.raw, raw) {
		k.raw, k.value = raw, decode[T](raw)
	}
	return k.value
}

func decode[T any](raw []byte) *T {
	v := new(T)
	if len(raw) == 0 || json.Unmarshal(raw, v) != nil {
		return new(T)
	}
	return v
}

// change edits a value in the memory; one change at a time is under way. If edit fails,
// or changes nothing, nothing is written. mu is not held.
func change[T any](ctx context.Context, e *engine, key string, edit func(*T) error) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	old := e.chassis.Recall(key)
	v := decode[T](old)
	if err := edit(v); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("memory %s: encode: %w", key, err)
	}
	if bytes.Equal(b, old) {
		return nil
	}
	if err := e.chassis.Keep(ctx, key, b); err != nil {
		return fmt.Errorf("memory %s: %w", key, err)
	}
	return nil
}
