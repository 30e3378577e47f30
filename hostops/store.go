package hostops

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"tenks/raftfsm/state"
)

// rowVersion is the version of rows that this Tenks writes; it reads older ones.
const rowVersion = 1

// Buckets of the file.
var (
	bucketChassis = []byte("chassis") // node UUID → row as JSON
	bucketBridges = []byte("bridges") // physnet → index, in digits
	bucketAdopted = []byte("adopted") // physnet → MAC address of a bridge that was taken over
	bucketHost    = []byte("host")    // what is remembered of the host itself
)

// lockTimeout is how long another process may hold the file.
const lockTimeout = 5 * time.Second

// row is what a chassis remembers over restarts of agent and host.
type row struct {
	Version int                 `json:"version"`
	Boot    savedBoot           `json:"boot"`
	Policy  state.RestorePolicy `json:"policy"`
	// Power is what "previous" restores.
	Power state.Power `json:"power"`
	// OnByCommand says that the last power-on was by a command to the BMC.
	OnByCommand bool `json:"on_by_command,omitempty"`
	// HostBoot is the boot of the host in which the node was last looked after.
	HostBoot string `json:"host_boot"`
	// Started is the order of the last start; nil if somebody else started it.
	Started *savedBoot `json:"started,omitempty"`
	// Starting is the power state in which a start that uses Boot up was begun; empty
	// when none is under way.
	Starting state.Power `json:"starting,omitempty"`
	// Restarted is the RestartIndex that was last handled.
	Restarted uint64 `json:"restarted,omitempty"`
	// Relinked says that links were made anew under the running guest, and that its
	// driver has not been told yet.
	Relinked bool `json:"relinked,omitempty"`
	// Setup identifies what clients had changed of the hardware when the guest was last
	// started; empty: nothing.
	Setup string `json:"setup,omitempty"`
	// Media is what is in the CD-ROM drive; nil: nothing.
	Media *savedMedia `json:"media,omitempty"`
	// Stick is what is plugged in as a USB stick.
	Stick *savedMedia `json:"stick,omitempty"`
}

// savedBoot is state.Boot as the file has it.
type savedBoot struct {
	Device     state.BootDevice `json:"device,omitempty"`
	Persistent bool             `json:"persistent,omitempty"`
	EFI        bool             `json:"efi,omitempty"`
}

// once reports whether the override is used up by the next start.
func (b savedBoot) once() bool { return b.Device != state.BootNone && !b.Persistent }

// newRow is the row of a node that nothing is known of.
func newRow(hostBoot string) row {
	return row{Version: rowVersion, Policy: state.RestorePrevious, Power: state.PowerOff, HostBoot: hostBoot}
}

func (r row) sameMedia(o row) bool { return r.Media.equal(o.Media) && r.Stick.equal(o.Stick) }

func (r row) equal(o row) bool {
	started := r.Started == o.Started || r.Started != nil && o.Started != nil && *r.Started == *o.Started
	return started && r.sameMedia(o) && r.Version == o.Version && r.Boot == o.Boot && r.Policy == o.Policy && r.Power == o.Power &&
		r.OnByCommand == o.OnByCommand && r.HostBoot == o.HostBoot && r.Starting == o.Starting && r.Restarted == o.Restarted && r.Relinked == o.Relinked && r.Setup == o.Setup
}

// store is the file. Every write is on disk when it returns. It is safe for
// concurrent use.
type store struct{ db *bbolt.DB }

func openStore(path string) (*store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketChassis)
		_, err2 := tx.CreateBucketIfNotExists(bucketBridges)
		_, err3 := tx.CreateBucketIfNotExists(bucketMemory)
		_, err4 := tx.CreateBucketIfNotExists(bucketAdopted)
		_, err5 := tx.CreateBucketIfNotExists(bucketHost)
		return errors.Join(err, err2, err3, err4, err5)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// Writers that come together share one sync; a single one waits this long for them.
	db.MaxBatchDelay = time.Millisecond
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

func (s *store) rows() (map[string]row, error) {
	rows := map[string]row{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketChassis).ForEach(func(uuid, value []byte) error {
			var r row
			if err := json.Unmarshal(value, &r); err != nil {
				return fmt.Errorf("chassis %s: decode: %w", uuid, err)
			}
			if r.Version > rowVersion {
				return fmt.Errorf("chassis %s: %w", uuid, state.ErrNewer)
			}
			rows[string(uuid)] = r
			return nil
		})
	})
	return rows, err
}

func (s *store) put(uuid string, r row) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("chassis %s: encode: %w", uuid, err)
	}
	err = s.db.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(bucketChassis).Put([]byte(uuid), value) })
	if err != nil {
		return fmt.Errorf("chassis %s: write: %w", uuid, err)
	}
	return nil
}

// drop deletes a row and all that was kept with it; an absent one is no error.
func (s *store) drop(uuid string) error {
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket(bucketChassis).Delete([]byte(uuid)), dropMemory(tx, uuid))
	})
	if err != nil {
		return fmt.Errorf("chassis %s: delete: %w", uuid, err)
	}
	return nil
}
