package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenks/cmd/internal/e2e/ironiclab/gpt"
)

const (
	nodeUUID = "11111111-2222-3333-4444-555555555555"
	token    = "a-token"
)

// conductor is Ironic's side: it knows one node, and notes what it is told.
type conductor struct {
	*httptest.Server
	// shown is what the look-up says of the token.
	shown string
	// refusals are how many requests fail first.
	refusals int

	mu    sync.Mutex // guards beats and asked
	beats []object
	asked []string
	beat  chan struct{}
}

func newConductor(t *testing.T, shown string) *conductor {
	c := &conductor{shown: shown, beat: make(chan struct{}, 100)}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *conductor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("X-OpenStack-Ironic-API-Version"))
	if c.refusals > 0 {
		c.refusals--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/lookup"):
		answer(w, http.StatusOK, object{"node": object{"uuid": nodeUUID}, "config": object{"agent_token": c.shown, "heartbeat_timeout": 300}})
	case r.URL.Path == "/v1/heartbeat/"+nodeUUID:
		var b object
		_ = json.NewDecoder(r.Body).Decode(&b)
		c.beats = append(c.beats, b)
		w.WriteHeader(http.StatusAccepted)
		c.beat <- struct{}{}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// hardware is a machine with one network card and disks of so many MiB.
func hardware(t *testing.T, disks map[string]int64) machine {
	t.Helper()
	m := machine{sys: t.TempDir(), dev: t.TempDir(), power: func() error { return nil }, reread: func(*os.File) {}}
	put := func(path, text string) {
		path = filepath.Join(m.sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("class/net/eth0/address", "52:54:00:00:00:01")
	put("class/net/eth0/device/vendor", "0x1af4")
	put("class/net/lo/address", "00:00:00:00:00:00")
	for name, mib := range disks {
		put("class/block/"+name+"/size", strconv.FormatInt(mib<<20/gpt.SectorSize, 10))
		put("class/block/"+name+"/ro", "0")
		put("class/block/"+name+"/serial", "serial-of-"+name)
		put("class/block/"+name+"/wwid", "naa.5000"+name)
		put("class/block/"+name+"/"+name+"1/partition", "1")
		put("class/block/"+name+"1/partition", "1")
		put("class/block/"+name+"1/size", "99999")
		content := bytes.Repeat([]byte{0xaa}, int(min(mib, 4)<<20)) // the rest is a hole
		if err := os.WriteFile(filepath.Join(m.dev, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(m.dev, name), mib<<20); err != nil {
			t.Fatal(err)
		}
	}
	put("class/block/sr0/size", "1000")
	put("class/block/vdx/size", "0")
	return m
}

func (m machine) content(t *testing.T, disk string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dev, disk))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// conductorSide gives an agent commands.
type conductorSide struct {
	t *testing.T
	*agent
	url string
}

func serve(t *testing.T, m machine) conductorSide {
	t.Helper()
	a := newAgent("http://127.0.0.1:1", token, m, slog.New(slog.DiscardHandler))
	s := httptest.NewServer(a.handler())
	t.Cleanup(s.Close)
	return conductorSide{t, a, s.URL}
}

// post gives a command as the conductor does.
func (c conductorSide) post(name string, params object, query string) (int, object) {
	c.t.Helper()
	b, err := json.Marshal(object{"name": name, "params": params})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(http.MethodPost, "/v1/commands/?"+query, b)
}

func (c conductorSide) do(method, path string, body []byte) (int, object) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var out object
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, out
}

// run is post for a command that is waited for.
func (c conductorSide) run(name string, params object) object {
	c.t.Helper()
	code, out := c.post(name, params, "wait=true&agent_token="+token)
	if code != http.StatusOK {
		c.t.Fatalf("%s: %d %v", name, code, out)
	}
	return out
}

func TestTheTokenIsTheLookUpsUnlessItCameWithTheMedium(t *testing.T) {
	for name, c := range map[string]struct{ booted, shown, want string }{
		"booted from the network":   {"", "told-once", "told-once"},
		"booted from virtual media": {"from-the-medium", "******", "from-the-medium"},
		"told before":               {"", "******", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := parameters("BOOT_IMAGE=/vmlinuz quiet ipa-agent-token=" + c.booted + " ipa-api-url=http://192.0.2.1:6385/\n")
			if p["ipa-api-url"] != "http://192.0.2.1:6385/" {
				t.Errorf("parameters = %v", p)
			}
			ironic := newConductor(t, c.shown)
			a := newAgent(ironic.URL, p["ipa-agent-token"], hardware(t, nil), slog.New(slog.DiscardHandler))
			a.lookUp(t.Context())
			if a.node != nodeUUID || a.token != c.want {
				t.Errorf("node %s with token %q, want %q", a.node, a.token, c.want)
			}
			want := []string{"GET /v1/lookup?addresses=52%3A54%3A00%3A00%3A00%3A01 1.68"}
			if diff := cmp.Diff(want, ironic.asked); diff != "" {
				t.Errorf("requests:\n%s", diff)
			}
		})
	}
}

func TestALookUpThatFailsIsRepeated(t *testing.T) {
	t.Parallel()
	ironic := newConductor(t, token)
	ironic.refusals = 1
	a := newAgent(ironic.URL, "", hardware(t, nil), slog.New(slog.DiscardHandler))
	a.lookUp(t.Context())
	if a.node != nodeUUID || len(ironic.asked) != 2 {
		t.Errorf("node %q after %q", a.node, ironic.asked)
	}
}

func TestAHeartbeatFollowsACommandAtOnce(t *testing.T) {
	t.Parallel()
	ironic := newConductor(t, token)
	c := serve(t, hardware(t, map[string]int64{"vda": 4}))
	c.api, c.node, c.callback = ironic.URL, nodeUUID, "http://192.0.2.9:9999"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.beat(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-ironic.beat
	began := time.Now()
	if code, out := c.post("clean.execute_clean_step", object{"step": object{"step": "erase_devices_metadata"}}, "wait=false&agent_token="+token); code != http.StatusOK {
		t.Fatalf("%d %v", code, out)
	}
	<-ironic.beat
	if d := time.Since(began); d >= beatEvery {
		t.Errorf("a heartbeat came %s after the command: with the usual ones", d)
	}
	want := object{"callback_url": "http://192.0.2.9:9999", "agent_version": version, "agent_token": token}
	if diff := cmp.Diff(want, ironic.beats[1]); diff != "" {
		t.Errorf("heartbeat:\n%s", diff)
	}
	_, list := c.do(http.MethodGet, "/v1/commands/", nil)
	commands, _ := list["commands"].([]any)
	if len(commands) != 1 || text(commands[0].(object), "command_name") != "execute_clean_step" || text(commands[0].(object), "command_status") != succeeded {
		t.Errorf("commands after it: %v", commands)
	}
}

func TestWhatIsNoCommandOfTheConductorsIsRefused(t *testing.T) {
	c := serve(t, hardware(t, nil))
	for name, r := range map[string]struct {
		name, query string
		code        int
		why         string
	}{
		"without the token":    {"standby.sync", "wait=true", http.StatusUnauthorized, "agent_token"},
		"with another token":   {"standby.sync", "wait=true&agent_token=x", http.StatusUnauthorized, "agent_token"},
		"an unknown command":   {"standby.dance", "agent_token=" + token, http.StatusNotFound, "standby.dance"},
		"without an extension": {"sync", "agent_token=" + token, http.StatusNotFound, "sync"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out := c.post(r.name, nil, r.query); code != r.code || !strings.Contains(text(out, "faultstring"), r.why) {
				t.Errorf("%d %v, want %d with %q", code, out, r.code, r.why)
			}
		})
	}
	if code, out := c.do(http.MethodPost, "/v1/commands/?agent_token="+token, []byte("{")); code != http.StatusBadRequest {
		t.Errorf("half a command: %d %v", code, out)
	}
}

func TestOneCommandRunsAtATime(t *testing.T) {
	release := make(chan struct{})
	image := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer image.Close()
	c := serve(t, hardware(t, map[string]int64{"vda": 4}))
	write := deployment(object{"urls": []any{image.URL}, "disk_format": "raw", "os_hash_algo": "sha256", "os_hash_value": "0"}, nil)
	if code, out := c.post("deploy.execute_deploy_step", write, "agent_token="+token); code != http.StatusOK || text(out, "command_status") != running {
		t.Errorf("the first: %d %v", code, out)
	}
	if code, out := c.post("standby.sync", nil, "agent_token="+token); code != http.StatusConflict || !strings.Contains(text(out, "faultstring"), "busy executing execute_deploy_step") {
		t.Errorf("the second: %d %v", code, out)
	}
	close(release)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, out := c.do(http.MethodGet, "/v1/commands", nil); text(out["commands"].([]any)[0].(object), "command_status") == failed {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the first does not end")
		}
	}
	if out := c.run("standby.sync", nil); text(out, "command_status") != succeeded {
		t.Errorf("after it: %v", out)
	}
}

func TestStepsAreListedAsTheConductorReadsThem(t *testing.T) {
	c := serve(t, hardware(t, nil))
	for name, want := range map[string]string{"clean.get_clean_steps": "clean_steps", "deploy.get_deploy_steps": "deploy_steps"} {
		out := c.run(name, object{"node": object{}, "ports": []any{}})
		result := part(out, "command_result")
		list, _ := part(result, want)["GenericHardwareManager"].([]any)
		if len(list) == 0 || part(result, "hardware_manager_version") == nil {
			t.Errorf("%s: %v", name, out)
		}
		for _, s := range list {
			if o := s.(object); text(o, "interface") != "deploy" || o["priority"] == nil || o["reboot_requested"] != false {
				t.Errorf("%s: %v", name, s)
			}
		}
	}
	if out := c.run("standby.get_partition_uuids", nil); text(out, "command_status") != succeeded || len(part(out, "command_result")) != 0 {
		t.Errorf("partition UUIDs of a whole-disk image: %v", out)
	}
	if out := c.run("image.install_bootloader", object{"root_uuid": nil, "efi_system_part_uuid": nil}); text(out, "command_status") != succeeded {
		t.Errorf("boot loader: %v", out)
	}
	for _, name := range []string{"clean.execute_clean_step", "deploy.execute_deploy_step"} {
		if out := c.run(name, object{"step": object{"step": "dance"}}); text(out, "command_status") != failed || !strings.Contains(text(part(out, "command_error"), "message"), "dance") {
			t.Errorf("%s: an unknown step: %v", name, out)
		}
	}
}

func TestErasingMetadataWipesBothEndsOfAllDisks(t *testing.T) {
	m := hardware(t, map[string]int64{"vda": 4, "sdb": 1})
	c := serve(t, m)
	s := object{"step": "erase_devices_metadata", "interface": "deploy", "priority": 10.0}
	out := c.run("clean.execute_clean_step", object{"step": s, "node": object{}, "ports": []any{}})
	want := object{"clean_result": nil, "clean_step": s}
	if diff := cmp.Diff(want, part(out, "command_result")); diff != "" {
		t.Errorf("result:\n%s", diff)
	}
	zeros := make([]byte, wiped)
	if b := m.content(t, "vda"); !bytes.Equal(b[:wiped], zeros) || !bytes.Equal(b[3<<20:], zeros) || b[wiped] != 0xaa || len(b) != 4<<20 {
		t.Error("vda is not wiped at both ends, and there alone")
	}
	if !bytes.Equal(m.content(t, "sdb"), zeros) {
		t.Error("sdb is not wiped")
	}
	if err := os.Remove(filepath.Join(m.dev, "sdb")); err != nil {
		t.Fatal(err)
	}
	if out := c.run("clean.execute_clean_step", object{"step": s}); text(out, "command_status") != failed || !strings.Contains(text(part(out, "command_error"), "message"), "disk sdb: ") {
		t.Errorf("a disk that cannot be written to: %v", out)
	}
}

// deployment is the parameters of write_image.
func deployment(info, node object) object {
	return object{"step": object{"step": "write_image", "args": object{"image_info": info}}, "node": node}
}

// image is a whole-disk image of 2 MiB, served.
func image(t *testing.T) (content []byte, url string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(2 << 20); err != nil {
		t.Fatal(err)
	}
	var table gpt.Table
	p := table.Append(gpt.ESP, "esp", 64<<10)
	if err := table.Write(f, 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("the system"), p.Offset()); err != nil {
		t.Fatal(err)
	}
	content, err = os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/disk.raw" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return content, s.URL + "/disk.raw"
}

func TestAnImageIsWrittenIfItsChecksumIsRight(t *testing.T) {
	t.Parallel()
	content, url := image(t)
	sha2 := func() string { s := sha256.Sum256(content); return hex.EncodeToString(s[:]) }()
	sha5 := func() string { s := sha512.Sum512(content); return hex.EncodeToString(s[:]) }()
	for name, c := range map[string]struct {
		info object
		why  string // empty: it is written
	}{
		"sha256":                     {object{"urls": []any{url}, "disk_format": "raw", "os_hash_algo": "sha256", "os_hash_value": sha2}, ""},
		"sha512, in capitals":        {object{"urls": []any{url}, "os_hash_algo": "sha512", "os_hash_value": strings.ToUpper(sha5)}, ""},
		"a wrong checksum":           {object{"urls": []any{url}, "os_hash_algo": "sha256", "os_hash_value": sha2[1:] + "0"}, "its sha256 is " + sha2 + ", not "},
		"no checksum":                {object{"urls": []any{url}}, "os_hash_algo"},
		"another format":             {object{"urls": []any{url}, "disk_format": "qcow2", "os_hash_algo": "sha256", "os_hash_value": sha2}, "raw images only"},
		"no URL":                     {object{"os_hash_algo": "sha256", "os_hash_value": sha2}, "no URL"},
		"an image that is not there": {object{"urls": []any{url + "x"}, "os_hash_algo": "sha256", "os_hash_value": sha2}, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			m := hardware(t, map[string]int64{"vda": 4, "vdb": 3})
			out := serve(t, m).run("deploy.execute_deploy_step", deployment(c.info, object{"properties": object{"root_device": object{"name": filepath.Join(m.dev, "vda")}}}))
			why := text(part(out, "command_error"), "message")
			if c.why != "" {
				if text(out, "command_status") != failed || !strings.Contains(why, c.why) {
					t.Errorf("%v, want a failure with %q", out, c.why)
				}
				return
			}
			if text(out, "command_status") != succeeded || text(part(part(out, "command_result"), "deploy_result"), "result") == "" {
				t.Errorf("%v", out)
			}
			if !bytes.Equal(m.content(t, "vda")[:len(content)], content) {
				t.Error("the image is not on the disk")
			}
			if m.content(t, "vdb")[0] != 0xaa {
				t.Error("the other disk was written to")
			}
		})
	}
	m := hardware(t, map[string]int64{"vda": 1})
	out := serve(t, m).run("deploy.execute_deploy_step", deployment(object{"urls": []any{url}, "os_hash_algo": "sha256", "os_hash_value": sha2}, nil))
	if why := text(part(out, "command_error"), "message"); !strings.Contains(why, "larger than the disk") {
		t.Errorf("an image larger than the disk: %v", out)
	}
}

func TestTheRootDiskIsTheSmallestOrTheOneOfTheHints(t *testing.T) {
	m := hardware(t, map[string]int64{"vda": 3, "vdb": 2, "sdc": 1024})
	for name, c := range map[string]struct {
		hint object
		want string // a disk, or a part of an error
	}{
		"the smallest":          {nil, "vdb"},
		"by name":               {object{"name": "s== " + filepath.Join(m.dev, "vda")}, "vda"},
		"by serial number":      {object{"serial": "serial-of-vda"}, "vda"},
		"by World Wide Name":    {object{"wwn": "0x5000sdc"}, "sdc"},
		"by size":               {object{"size": 1.0}, "sdc"},
		"by size with operator": {object{"size": "== 1"}, "sdc"},
		"none fits":             {object{"serial": "other"}, "no disk"},
		"two that contradict":   {object{"serial": "serial-of-vda", "size": "1"}, "no disk"},
		"an unknown hint":       {object{"hctl": "1:0:0:0"}, "hctl"},
	} {
		got, err := m.rootDisk(object{"properties": object{"root_device": c.hint}})
		if filepath.Base(got) != c.want && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
	node := object{"properties": object{"root_device": object{"serial": "serial-of-vda"}}, "instance_info": object{"root_device": object{"serial": "serial-of-sdc"}}}
	if got, err := m.rootDisk(node); err != nil || filepath.Base(got) != "sdc" {
		t.Errorf("the instance's hint counts more: %s, %v", got, err)
	}
}

func packed(t *testing.T, drive []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(drive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestAConfigDriveIsPutBehindTheImage(t *testing.T) {
	t.Parallel()
	content, url := image(t)
	sum := sha256.Sum256(content)
	drive := packed(t, []byte("the config drive"))
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, drive) }))
	defer served.Close()
	info := object{"urls": []any{url}, "os_hash_algo": "sha256", "os_hash_value": hex.EncodeToString(sum[:])}
	for name, c := range map[string]struct {
		in   string
		disk int64
		why  string
	}{
		"in the command":      {drive, 80, ""},
		"by URL":              {served.URL, 80, ""},
		"that is damaged":     {"!", 80, "config drive: "},
		"on a disk too small": {drive, 10, "no room"},
	} {
		t.Run(name, func(t *testing.T) {
			m := hardware(t, map[string]int64{"vda": c.disk})
			out := serve(t, m).run("deploy.execute_deploy_step", deployment(info, object{"instance_info": object{"configdrive": c.in}}))
			if why := text(part(out, "command_error"), "message"); c.why == "" && why != "" || !strings.Contains(why, c.why) {
				t.Fatalf("%q, want %q", why, c.why)
			}
			if c.why != "" {
				return
			}
			disk, err := os.Open(filepath.Join(m.dev, "vda"))
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close()
			begins := func(p gpt.Partition, want string) bool {
				got := make([]byte, len(want))
				_, err := disk.ReadAt(got, p.Offset())
				return err == nil && string(got) == want
			}
			table, err := gpt.Read(disk)
			if err != nil || len(table.Partitions) != 2 {
				t.Fatalf("%+v, %v", table, err)
			}
			p := table.Partitions[1]
			if p.Name != "config-2" || p.Size() != maxConfigDrive || !begins(p, "the config drive") {
				t.Errorf("%+v", p)
			}
			if !begins(table.Partitions[0], "the system") {
				t.Error("the image is damaged")
			}
		})
	}
}

func TestPowerOffIsAnsweredFirst(t *testing.T) {
	t.Parallel()
	m := hardware(t, nil)
	off := make(chan struct{})
	m.power = func() error { close(off); return nil }
	if out := serve(t, m).run("standby.power_off", nil); text(out, "command_status") != succeeded {
		t.Errorf("%v", out)
	}
	<-off
}

func FuzzConfigDrive(f *testing.F) {
	f.Add("H4sIAAAAAAAA/wMAAAAAAAAAAAA=")
	f.Add("!")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "http") {
			return
		}
		_, _ = configDrive(t.Context(), object{}, object{"configdrive": s})
	})
}
