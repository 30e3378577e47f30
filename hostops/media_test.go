package hostops

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tenks/hostops/driver"
	"tenks/raftfsm/state"
)

// driveEnv is an env in which a drive of node "a" is tested.
type driveEnv struct {
	*env
	slot driver.Slot
}

// withDrive is a host that runs, with a node whose drives take media, in real time: there
// is a real server of images. The test is of each drive.
func withDrive(t *testing.T, test func(t *testing.T, e driveEnv, d *Drive, url string)) {
	t.Helper()
	for _, slot := range []driver.Slot{driver.SlotCD, driver.SlotUSB} {
		t.Run(string(slot), func(t *testing.T) {
			e := driveEnv{newEnv(t), slot}
			e.config.MediaDir, e.config.MediaLocal = filepath.Join(t.TempDir(), "media"), true
			e.restart()
			e.place(node("a"))
			e.run()
			eventually(t, 10*time.Second, "ready", func() bool { return e.allReady(1) })
			test(t, e, e.drive(), serve(t, false).URL)
			e.close()
		})
	}
}

func (e driveEnv) drive() *Drive {
	c := e.chassis("a")
	if e.slot == driver.SlotUSB {
		return c.USB()
	}
	return c.Drive
}

// in is the file in the drive.
func (e driveEnv) in() string { return e.nodes.media("a", e.slot) }

// images are the files of the media directory.
func (e driveEnv) images() []string {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.config.MediaDir, "*"))
	if err != nil {
		e.t.Fatal(err)
	}
	return files
}

// wantDrive fails the test unless the drive, and what is on disk, are as they should be.
func (e driveEnv) wantDrive(what, url string) {
	e.t.Helper()
	want := MediaStatus{Inserted: url != "", URL: url, Name: nameOf(url)}
	if got := e.drive().Media(); got != want {
		e.t.Errorf("%s: media %+v, want %+v", what, got, want)
	}
	files, in, other := e.images(), e.in(), e.nodes.media("a", map[driver.Slot]driver.Slot{driver.SlotCD: driver.SlotUSB, driver.SlotUSB: driver.SlotCD}[e.slot])
	if other != "" {
		e.t.Errorf("%s: %q in the other drive", what, other)
	}
	switch {
	case url == "" && (len(files) > 0 || in != ""):
		e.t.Errorf("%s: %q in the drive, files %q; want none", what, in, files)
	case url != "" && (len(files) != 1 || in != files[0]):
		e.t.Errorf("%s: %q in the drive, files %q; want the only one", what, in, files)
	}
}

func TestMediaStayUntilTheyAreEjected(t *testing.T) {
	withDrive(t, func(t *testing.T, e driveEnv, c *Drive, url string) {
		e.wantDrive("at first", "")
		if err := c.InsertMedia(t.Context(), Media{URL: strings.Replace(url, "//", "//u:p@", 1) + "/secret.iso"}); err != nil {
			t.Fatal(err)
		}
		e.wantDrive("inserted", url+"/secret.iso")
		got, err := os.ReadFile(e.in())
		if err != nil || !bytes.Equal(got[:5000], pattern(5000)) || len(got)%sector != 0 {
			t.Errorf("the image has %d bytes, %v", len(got), err)
		}
		if s, err := os.Stat(e.config.MediaDir); err != nil || s.Mode().Perm() != 0o711 {
			t.Errorf("media directory: %v, %v", s.Mode(), err)
		}
		if err := c.InsertMedia(t.Context(), Media{URL: url + "/a.iso"}); err != nil {
			t.Fatal(err)
		}
		e.wantDrive("in place of the first", url+"/a.iso")
		for _, bad := range []string{"/none.iso", "/empty.iso"} {
			if err := c.InsertMedia(t.Context(), Media{URL: url + bad}); err == nil {
				t.Errorf("inserted %s", bad)
			}
		}
		e.wantDrive("after what cannot be fetched", url+"/a.iso")
		if err := os.WriteFile(filepath.Join(e.config.MediaDir, "a.123.iso"), []byte("of a fetch that was cut short"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.restart()
		e.run()
		e.wantDrive("after a restart", url+"/a.iso")
		c = e.drive()
		for range 2 {
			if err := c.EjectMedia(t.Context()); err != nil {
				t.Fatal(err)
			}
			e.wantDrive("ejected", "")
		}
		if err := c.InsertMedia(t.Context(), Media{URL: url + "/a.iso"}); err != nil {
			t.Fatal(err)
		}
		e.removeNode("a")
		eventually(t, 10*time.Second, "the image goes with its node", func() bool { return len(e.images()) == 0 })
	})
}

func TestADriveThatIsNotAsItWasLeftIsMended(t *testing.T) {
	withDrive(t, func(t *testing.T, e driveEnv, c *Drive, url string) {
		if err := c.InsertMedia(t.Context(), Media{URL: url + "/a.iso"}); err != nil {
			t.Fatal(err)
		}
		file := e.in()
		e.nodes.undefine("a")
		eventually(t, 10*time.Second, "the image is in the drive of a node that was made anew", func() bool { return e.in() == file })
		set := func(path string) {
			t.Helper()
			if err := e.nodes.SetMedia(t.Context(), "a", e.slot, path); err != nil {
				t.Fatal(err)
			}
			e.host.wakeSoon()
		}
		set("")
		eventually(t, 10*time.Second, "the image is back", func() bool { return e.in() == file })
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		set("")
		eventually(t, 10*time.Second, "an image that is gone is not in the drive", func() bool { return !c.Media().Inserted })
		e.wantDrive("without its file", "")
		// What an eject that was cut short leaves, and what a person puts in.
		set(filepath.Join(e.config.MediaDir, "a.1.iso"))
		eventually(t, 10*time.Second, "an image of ours that nobody asked for is out", func() bool { return e.in() == "" })
		set("/home/me/mine.iso")
		passes := e.host.Stats().Passes
		eventually(t, 20*time.Second, "two passes", func() bool { return e.host.Stats().Passes > passes+1 })
		if got := e.in(); got != "/home/me/mine.iso" {
			t.Errorf("in the drive is %q, want what a person put in", got)
		}
	})
}

func TestADriverThatDoesNotTakeMediaLeavesAllAsItWas(t *testing.T) {
	withDrive(t, func(t *testing.T, e driveEnv, c *Drive, url string) {
		if err := c.InsertMedia(t.Context(), Media{URL: url + "/a.iso"}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct{ err, want error }{
			{state.ErrUnsupported, state.ErrUnsupported}, {state.ErrNotFound, state.ErrBusy}, {state.ErrBusy, state.ErrBusy},
		} {
			e.nodes.failWith(func(op, _ string) error {
				if op == "media" {
					return test.err
				}
				return nil
			})
			if err := c.InsertMedia(t.Context(), Media{URL: url + "/stream.iso"}); !errors.Is(err, test.want) {
				t.Errorf("insert: got %v, want %v", err, test.want)
			}
			if err := c.EjectMedia(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("eject: got %v, want %v", err, test.want)
			}
			e.wantDrive("after "+test.err.Error(), url+"/a.iso")
		}
		e.nodes.failWith(nil)
		if err := c.EjectMedia(t.Context()); err != nil {
			t.Error(err)
		}
		e.wantDrive("ejected", "")
	})
}

// slowImages serves images that end when a test lets them.
func slowImages(t *testing.T) (url string, asked chan string) {
	t.Helper()
	asked = make(chan string, 16) // more than are asked for
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(pattern(5000))
		_ = http.NewResponseController(w).Flush()
		asked <- r.URL.Path
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestAFetchEndsWhenItIsNotWantedAnyLonger(t *testing.T) {
	withDrive(t, func(t *testing.T, e driveEnv, c *Drive, url string) {
		slow, asked := slowImages(t)
		ctx, cancel := context.WithCancel(t.Context())
		for _, test := range []struct {
			name string
			end  func()
			want string
			// in is what is in the drive then.
			in string
		}{
			{"another insert", func() {
				if err := c.InsertMedia(t.Context(), Media{URL: url + "/a.iso"}); err != nil {
					t.Error(err)
				}
			}, "asked for meanwhile", url + "/a.iso"},
			{"the end of its context", cancel, "canceled", url + "/a.iso"},
			{"an eject", func() {
				if err := c.EjectMedia(t.Context()); err != nil {
					t.Error(err)
				}
			}, "asked for meanwhile", ""},
			{"the end of the agent", func() { e.close(); e.open(); e.run() }, "taken down", ""},
		} {
			of := t.Context()
			if strings.Contains(test.name, "context") {
				of = ctx
			}
			result := make(chan error, 1) // one result
			go func() { result <- c.InsertMedia(of, Media{URL: slow + "/slow.iso"}) }()
			<-asked
			eventually(t, 5*time.Second, "progress", func() bool { m := c.Media(); return m.Fetching && m.Fetched == 5000 })
			test.end()
			if err := <-result; err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: the insert got %v, want one with %q", test.name, err, test.want)
			} else if busy := errors.Is(err, state.ErrBusy); busy != (test.want != "canceled") {
				t.Errorf("%s: %v is busy: %t", test.name, err, busy)
			}
			e.wantDrive("after "+test.name, test.in)
			c = e.drive()
		}
	})
}

func TestManyMayUseOneDrive(t *testing.T) {
	withDrive(t, func(t *testing.T, e driveEnv, c *Drive, url string) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if i%2 == 0 {
					_ = c.InsertMedia(t.Context(), Media{URL: url + "/a.iso"}) // another may end it
				} else {
					_ = c.EjectMedia(t.Context())
				}
			})
		}
		all.Wait()
		want := ""
		if c.Media().Inserted {
			want = url + "/a.iso"
		}
		e.wantDrive("after many", want)
	})
}

func TestAHostWithoutAMediaDirectoryTakesNone(t *testing.T) {
	simulate(t, func(t *testing.T, e *env) {
		e.place(node("a"))
		e.mustPass()
		if err := e.chassis("a").InsertMedia(t.Context(), Media{URL: "http://192.0.2.1/a.iso"}); !errors.Is(err, state.ErrUnsupported) {
			t.Errorf("insert: %v", err)
		}
		if err := e.chassis("a").EjectMedia(t.Context()); err != nil {
			t.Errorf("eject: %v", err)
		}
	})
}
