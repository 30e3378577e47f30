package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tenks/cmd/internal/e2e/ironiclab/gpt"
)

// maxConfigDrive is how large a config drive may be: the partition for it is that large.
const maxConfigDrive = 64 << 20

// configDriveName is the label that an instance finds its config drive by.
const configDriveName = "config-2"

// hashes are the algorithms that an image's checksum may have.
var hashes = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}

var errNoURL = errors.New("image_info has no URL")

// writeImage writes a raw image to the root disk, checks its checksum, and puts the config drive
// behind it, if there is one. What was written stays when it turns out to be wrong: nothing boots
// it, because the deployment has failed.
func (a *agent) writeImage(ctx context.Context, node, args object) (result object, err error) {
	info := part(args, "image_info")
	if f := text(info, "disk_format"); f != "" && f != "raw" {
		return nil, fmt.Errorf("disk_format %q: this agent writes raw images only", f) //nolint:err113 // for people
	}
	urls, _ := info["urls"].([]any)
	newHash := hashes[text(info, "os_hash_algo")]
	switch {
	case len(urls) == 0:
		return nil, errNoURL
	case newHash == nil:
		return nil, fmt.Errorf("os_hash_algo %q: this agent knows sha256 and sha512", text(info, "os_hash_algo")) //nolint:err113 // for people
	}
	path, err := a.machine.rootDisk(node)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, sum, began := a.machine.size(filepath.Base(path)), newHash(), time.Now()
	image, err := get(ctx, fmt.Sprint(urls[0]))
	if err != nil {
		return nil, err
	}
	defer image.Close()
	n, err := writeAll(f, size, io.TeeReader(image, sum))
	if err != nil {
		return nil, err
	}
	if got, want := hex.EncodeToString(sum.Sum(nil)), text(info, "os_hash_value"); !strings.EqualFold(got, want) {
		return nil, fmt.Errorf("%v: its %s is %s, not %s", urls[0], text(info, "os_hash_algo"), got, want) //nolint:err113 // for people
	}
	drive, err := configDrive(ctx, node, args)
	if err == nil && drive != nil {
		err = addConfigDrive(f, size, drive)
	}
	if err != nil {
		return nil, fmt.Errorf("config drive: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	a.machine.reread(f)
	a.log.InfoContext(ctx, "image written", "bytes", n, "disk", path, "took", time.Since(began).Round(time.Millisecond))
	return object{"result": "image written to device " + path}, nil
}

// get fetches a URL.
func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("%s: %s", url, res.Status) //nolint:err113 // for people
	}
	return res.Body, nil
}

// configDrive returns the one that a node is to get, if any: an ISO, compressed and in base64, or
// a URL of that.
func configDrive(ctx context.Context, node, args object) ([]byte, error) {
	packed := text(args, "configdrive")
	if packed == "" {
		packed = text(part(node, "instance_info"), "configdrive")
	}
	if packed == "" {
		return nil, nil
	}
	var from io.Reader = strings.NewReader(packed)
	if strings.HasPrefix(packed, "http") {
		body, err := get(ctx, packed)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		from = body
	}
	plain, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, from))
	if err != nil {
		return nil, err
	}
	drive, err := io.ReadAll(io.LimitReader(plain, maxConfigDrive+1))
	if err == nil && len(drive) > maxConfigDrive {
		err = fmt.Errorf("larger than %d bytes", maxConfigDrive) //nolint:err113 // for people
	}
	return drive, err
}

// addConfigDrive puts a config drive into a partition at the end of the disk.
func addConfigDrive(disk *os.File, size int64, drive []byte) error {
	table, err := gpt.Read(disk)
	if err != nil {
		return err
	}
	p, err := table.AppendAtEnd(gpt.Linux, configDriveName, maxConfigDrive, size)
	if err != nil {
		return err
	}
	if _, err := disk.WriteAt(drive, p.Offset()); err != nil {
		return err
	}
	return table.Write(disk, size)
}
