package hostops

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.etcd.io/bbolt"
)

// bridges returns the index of each physnet's bridge.
func (s *store) bridges() (map[string]int, error) {
	texts, err := s.texts(bucketBridges)
	if err != nil {
		return nil, err
	}
	indices := map[string]int{}
	for physnet, text := range texts {
		i, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("bridge of physnet %q: decode: %w", physnet, err)
		}
		indices[physnet] = i
	}
	return indices, nil
}

// putBridges replaces all indices.
func (s *store) putBridges(indices map[string]int) error {
	texts := map[string]string{}
	for physnet, i := range indices {
		texts[physnet] = strconv.Itoa(i)
	}
	return s.putTexts(bucketBridges, texts)
}

// adopted returns the address of each bridge that was taken over, by physnet.
func (s *store) adopted() (map[string]string, error) { return s.texts(bucketAdopted) }

// putAdopted replaces all addresses.
func (s *store) putAdopted(macs map[string]string) error { return s.putTexts(bucketAdopted, macs) }

// texts returns all of a bucket.
func (s *store) texts(bucket []byte) (map[string]string, error) {
	out := map[string]string{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(key, value []byte) error {
			out[string(key)] = string(value)
			return nil
		})
	})
	return out, err
}

// putTexts replaces all of a bucket.
func (s *store) putTexts(bucket []byte, texts map[string]string) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucket); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucket)
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			if err := b.Put([]byte(key), []byte(texts[key])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: write: %w", bucket, err)
	}
	return nil
}
