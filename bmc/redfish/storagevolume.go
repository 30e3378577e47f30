package redfish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tenks/bmc"
	"tenks/raftfsm/state"
)

const (
	// operationTime says in a request when it is to apply, operationSupport in a resource
	// which times there are (DSP0266 §9.10).
	operationTime    = "@Redfish.OperationApplyTime"
	operationSupport = "@Redfish.OperationApplyTimeSupport"
	immediate        = "Immediate"
	onReset          = "OnReset"
	// maxPendingVolumes bounds what waits for the next start.
	maxPendingVolumes = 16
	maxVolumes        = 64
)

// pendingVolume is an operation that waits for the next start.
type pendingVolume struct {
	// ID is the operation's own, Volume that of the volume. Create is set for a new one.
	ID     int
	Volume string      `json:",omitempty"`
	Create *keptVolume `json:",omitempty"`
	Delete bool        `json:",omitempty"`
}

// times are the apply times: what a chassis makes real, a guest that runs has from its
// next start on.
func (r *Request) times() []string {
	if _, able := bmc.As[bmc.RAID](r.Chassis()); able && r.Chassis().Status().Power != state.PowerOff {
		return []string{onReset}
	}
	return []string{immediate, onReset}
}

func applyTimes(r *Request) Object {
	return Object{{"@odata.type", "#Settings.v1_3_5.OperationApplyTimeSupport"}, {"SupportedValues", r.times()}}
}

// applyTime is what a request says, or Immediate where that is possible.
func applyTime(r *Request, v any) (string, error) {
	if v == nil {
		return r.times()[0], nil
	}
	when, isString := v.(string)
	if !isString {
		return "", fail(http.StatusBadRequest, msg("PropertyValueTypeError", "(no string)", operationTime).about(operationTime))
	}
	if !slices.Contains(r.times(), when) {
		return "", fail(http.StatusBadRequest, msg("PropertyValueNotInList", brief(when), operationTime).about(operationTime))
	}
	return when, nil
}

// volumes are those of the request's system.
func (r *Request) volumes() []keptVolume {
	return pendingOf[keptStorage](r, storageKey).present(r.Chassis().Hardware().Disks)
}

// volume is the one that the path names.
func (r *Request) volume() (keptVolume, bool) {
	list := r.volumes()
	i := slices.IndexFunc(list, func(v keptVolume) bool { return v.ID == r.Var("volume") })
	if i < 0 {
		return keptVolume{}, false
	}
	return list[i], true
}

// reviseVolumes changes what is kept. Volumes are all there are. A chassis that can make
// volumes real is told at once what there is to be after the next start.
func (r *Request) reviseVolumes(change func(*keptStorage) error) error {
	r.settle()
	return reviseVolumes(r.Context(), r.Service, r.System, change)
}

func reviseVolumes(ctx context.Context, s *Service, sys System, change func(*keptStorage) error) error {
	disks := sys.Chassis.Hardware().Disks
	return revise(ctx, s, sys, storageKey, func(k *keptStorage) error {
		before := k.after().real(sys.ID, disks)
		k.Volumes, k.Set = slices.Clone(k.present(disks)), true
		k.Last = max(k.Last, len(disks))
		if err := change(k); err != nil {
			return err
		}
		raid, able := bmc.As[bmc.RAID](sys.Chassis)
		volumes := k.after().real(sys.ID, disks)
		if !able || slices.EqualFunc(before, volumes, func(a, b bmc.Volume) bool { return a.ID == b.ID }) {
			return nil
		}
		return raid.SetVolumes(ctx, volumes)
	})
}

// real are the volumes that the guest sees after the next start in place of disks. A disk
// that nobody made another volume of is seen as it is.
func (k keptStorage) real(system string, disks []bmc.Disk) []bmc.Volume {
	var out []bmc.Volume
	for _, v := range k.present(disks) {
		if v.initial() {
			continue
		}
		kind, _ := raidOf(v.Type)
		out = append(out, bmc.Volume{ID: v.ID, Level: kind.level, Disks: v.Disks, CapacityBytes: v.Capacity, Serial: volumeSerial(system, v)})
	}
	return out
}

// guestDisks is how many disks the guest sees.
func (r *Request) guestDisks() int {
	disks := r.Chassis().Hardware().Disks
	if _, able := bmc.As[bmc.RAID](r.Chassis()); !able {
		return len(disks)
	}
	volumes := pendingOf[keptStorage](r, storageKey).real(r.System.ID, disks)
	n := len(volumes)
	for i := range disks {
		if !slices.ContainsFunc(volumes, func(v bmc.Volume) bool { return slices.Contains(v.Disks, i) }) {
			n++
		}
	}
	return n
}

func volumeRules() Rules {
	var kinds []string
	for _, k := range raidKinds {
		kinds = append(kinds, k.name)
	}
	drive := Rule{Kind: Nested, Properties: Rules{"@odata.id": {Kind: String}}}
	return Rules{
		"Name": {Kind: String, Max: 64, Check: isName}, "DisplayName": {Kind: String, Max: 64, Check: isName},
		"RAIDType":      {Kind: String, Values: kinds},
		"VolumeType":    {Kind: String, Values: []string{"RawDevice", "NonRedundant", "Mirrored", "StripedWithParity", "SpannedMirrors", "SpannedStripesWithParity"}},
		"CapacityBytes": {Kind: Integer, Min: 1, Most: 1 << 53, Null: true},
		"Encrypted":     {Kind: Bool},
		"Links":         {Kind: Nested, Properties: Rules{"Drives": {Kind: List, Max: 64, Elements: &drive}}},
		operationTime:   {Kind: Any},
	}
}

// createVolume makes a volume now, or with the next start.
func createVolume(r *Request, v Values) (*Result, error) {
	when, err := applyTime(r, v[operationTime])
	if err != nil {
		return nil, err
	}
	if encrypted, _ := v.Bool("Encrypted"); encrypted {
		return nil, fail(http.StatusBadRequest, msg("PropertyValueIncorrect", "Encrypted", "true").about("Encrypted"))
	}
	var made keptVolume
	var operation int
	err = r.reviseVolumes(func(k *keptStorage) error {
		made, err = plannedVolume(r, v, *k)
		if err != nil {
			return err
		}
		if len(k.Volumes) >= maxVolumes {
			return fail(http.StatusBadRequest, msg("CreateLimitReachedForResource"))
		}
		k.Last++
		made.ID = strconv.Itoa(k.Last)
		if made.Name == "" {
			made.Name = "Volume " + made.ID
		}
		if when == immediate {
			k.Volumes = append(k.Volumes, made)
			return nil
		}
		operation, err = k.later(pendingVolume{Create: &made})
		return err
	})
	if err != nil {
		return nil, err
	}
	if when == onReset {
		return r.startLater("Create Volume", operation)
	}
	r.Service.Happened(r.System, r.Path, "ResourceEvent.1.3.ResourceCreated")
	return &Result{Location: r.Path + "/" + made.ID}, nil
}

// plannedVolume is the volume that a request asks for, on what the volumes leave free. What
// is pending counts as if it were there.
func plannedVolume(r *Request, v Values, k keptStorage) (keptVolume, error) {
	disks := r.Chassis().Hardware().Disks
	room := free(disks, k.after().present(disks))
	kind, err := wantedKind(v)
	if err != nil {
		return keptVolume{}, err
	}
	on, given, err := wantedDisks(r, v, len(disks))
	if err != nil {
		return keptVolume{}, err
	}
	size, _ := v.Int("CapacityBytes")
	capacity := uint64(max(size, 0)) //nolint:gosec // not negative
	if !given {
		if on = choose(kind, room, capacity); on == nil {
			return keptVolume{}, fail(http.StatusBadRequest, msg("PropertyValueConflict", "RAIDType", "CapacityBytes").about("RAIDType", "CapacityBytes"))
		}
	}
	if !kind.fits(len(on)) {
		return keptVolume{}, fail(http.StatusBadRequest, msg("PropertyValueConflict", "RAIDType", "Links/Drives").about("RAIDType", "Links/Drives"))
	}
	most := capacityOf(kind, room, on)
	if capacity == 0 {
		capacity = most
	}
	if capacity > most || most == 0 {
		return keptVolume{}, fail(http.StatusBadRequest, msg("PropertyValueOutOfRange", strconv.FormatUint(capacity, 10), "CapacityBytes").about("CapacityBytes"))
	}
	name, _ := v.String("Name")
	display, _ := v.String("DisplayName")
	return keptVolume{Name: name, Display: display, Type: kind.name, Disks: on, Capacity: capacity}, nil
}

// wantedKind is the RAIDType, or what the older VolumeType stands for.
func wantedKind(v Values) (raidKind, error) {
	name, given := v.String("RAIDType")
	old, oldGiven := v.String("VolumeType")
	if old == "RawDevice" {
		old = "NonRedundant"
	}
	kind, _ := raidOf(name)
	switch {
	case given:
		return kind, nil
	case oldGiven:
		return raidKinds[slices.IndexFunc(raidKinds, func(k raidKind) bool { return k.volume == old })], nil
	}
	return raidKind{}, fail(http.StatusBadRequest, msg("CreateFailedMissingReqProperties", "RAIDType").about("RAIDType"))
}

// wantedDisks are the disks that Links names.
func wantedDisks(r *Request, v Values, n int) (disks []int, given bool, err error) {
	list, _ := v.Get("Links/Drives")
	items, given := list.([]any)
	for i, item := range items {
		ref, _ := item.(Values)
		path, _ := ref.String("@odata.id")
		id, below := strings.CutPrefix(strings.TrimSuffix(path, "/"), r.storagePath()+"/Drives/")
		disk := nth(diskName, id, n)
		if !below || disk < 0 || slices.Contains(disks, disk) {
			at := fmt.Sprintf("Links/Drives/%d", i)
			return nil, true, fail(http.StatusBadRequest, msg("PropertyValueNotInList", brief(path), at).about(at))
		}
		disks = append(disks, disk)
	}
	return disks, given && len(items) > 0, nil
}

// deleteVolume takes the apply time from the body, which DELETE has from sushy.
func deleteVolume(r *Request) error {
	raw, err := io.ReadAll(io.LimitReader(r.HTTP.Body, maxBody))
	if err != nil {
		return fail(http.StatusBadRequest, msg("UnrecognizedRequestBody"))
	}
	body := map[string]any{}
	if len(raw) > 0 {
		if body, err = decodeObject(raw); err != nil {
			return err
		}
	}
	when, err := applyTime(r, body[operationTime])
	if err != nil {
		return err
	}
	id, operation := r.Var("volume"), 0
	err = r.reviseVolumes(func(k *keptStorage) (err error) {
		if when == onReset {
			operation, err = k.later(pendingVolume{Volume: id, Delete: true})
			return err
		}
		k.Volumes = slices.DeleteFunc(k.Volumes, func(v keptVolume) bool { return v.ID == id })
		return nil
	})
	switch {
	case err != nil:
		return err
	case when == onReset:
		r.Instead, err = r.startLater("Delete Volume", operation)
		return err
	}
	r.Service.Happened(r.System, r.Path, "ResourceEvent.1.3.ResourceRemoved")
	return nil
}

// initializeVolume has nothing to do on disks that it does not see; it keeps to the apply
// time.
func initializeVolume(r *Request, v Values) (*Result, error) {
	when, err := applyTime(r, v[operationTime])
	if err != nil || when == immediate {
		return nil, err
	}
	operation := 0
	err = r.reviseVolumes(func(k *keptStorage) (err error) {
		operation, err = k.later(pendingVolume{Volume: r.Var("volume")})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.startLater("Initialize Volume", operation)
}

// later adds an operation for the next start, and returns its ID.
func (k *keptStorage) later(op pendingVolume) (int, error) {
	if len(k.Pending) >= maxPendingVolumes {
		return 0, fail(http.StatusBadRequest, msg("CreateLimitReachedForResource"))
	}
	k.Last++
	op.ID = k.Last
	k.Pending = append(k.Pending, op)
	return op.ID, nil
}

// after is how it is after the next start.
func (k keptStorage) after() keptStorage {
	k.Volumes = slices.Clone(k.Volumes)
	for _, op := range k.Pending {
		switch {
		case op.Create != nil:
			k.Volumes = append(k.Volumes, *op.Create)
		case op.Delete:
			k.Volumes = slices.DeleteFunc(k.Volumes, func(v keptVolume) bool { return v.ID == op.Volume })
		}
	}
	k.Pending = nil
	return k
}

// applyVolumes carries out what waited for the start.
func applyVolumes(ctx context.Context, s *Service, sys System) error {
	if len(recall[keptStorage](sys, storageKey).Pending) == 0 {
		return nil
	}
	err := reviseVolumes(ctx, s, sys, func(k *keptStorage) error {
		*k = k.after()
		return nil
	})
	if err == nil {
		s.waiting.wake(sys.ID)
	}
	return err
}

// waiting are tasks that wait for a start, by system. The zero value has none.
type waiting struct {
	mu sync.Mutex // guards m
	m  map[string]chan struct{}
}

// on returns a channel that is closed once what is pending of the system was applied.
func (w *waiting) on(system string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m == nil {
		w.m = map[string]chan struct{}{}
	}
	if w.m[system] == nil {
		w.m[system] = make(chan struct{})
	}
	return w.m[system]
}

func (w *waiting) wake(system string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.m[system]; c != nil {
		close(c)
		delete(w.m, system)
	}
}

// startLater is the task of an operation that waits; whoever cancels it takes the operation
// back. It ends with the agent, the operation does not.
func (r *Request) startLater(name string, operation int) (*Result, error) {
	s, sys := r.Service, r.System
	done := s.waiting.on(sys.ID)
	isPending := func() bool {
		return slices.ContainsFunc(recall[keptStorage](sys, storageKey).Pending, func(op pendingVolume) bool { return op.ID == operation })
	}
	return r.Start(name, func(ctx context.Context, _ *Task) error {
		for isPending() {
			select {
			case <-done:
				done = s.waiting.on(sys.ID)
			case <-ctx.Done():
				return s.takeBack(ctx, sys, operation)
			}
		}
		return nil
	})
}

// takeBack drops a pending operation. If the service ends, it stays.
func (s *Service) takeBack(ctx context.Context, sys System, operation int) error {
	if open := s.spawn(func(context.Context) {}); !open {
		return ctx.Err()
	}
	err := reviseVolumes(context.WithoutCancel(ctx), s, sys, func(k *keptStorage) error {
		k.Pending = slices.DeleteFunc(k.Pending, func(op pendingVolume) bool { return op.ID == operation })
		return nil
	})
	return errors.Join(ctx.Err(), err)
}
