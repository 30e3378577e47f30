package cloudlab

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// namespace makes a network namespace with nothing but a loopback interface.
func namespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("cloudlab-%d", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), program("ip"), args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	ip("netns", "add", name)
	t.Cleanup(func() { _ = exec.Command(program("ip"), "netns", "del", name).Run() })
	ip("-n", name, "link", "set", "lo", "up")
	return name
}

func TestIntegrationCloud(t *testing.T) {
	Require(t)
	dir, err := os.MkdirTemp("", "tkcl") //nolint:usetesting // short: there is a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	begun := time.Now()
	c := Start(t.Context(), t, Options{Dir: dir, Netns: namespace(t), Images: true})
	t.Logf("up after %.1f s", time.Since(begun).Seconds())
	t.Run("the fake of unit tests says what the real ones say", func(t *testing.T) { sameAsFake(t, c) })
	t.Run("an image is there by its name", func(t *testing.T) {
		image := map[string]any{"name": "ipa.kernel", "disk_format": "aki", "container_format": "aki", "visibility": "public"}
		if err := c.Call(t.Context(), "POST", c.GlanceURL()+"/v2/images", image, nil); err != nil {
			t.Fatal(err)
		}
		var body struct{ Images []struct{ Name string } }
		if err := c.Call(t.Context(), "GET", c.GlanceURL()+"/v2/images?name=ipa.kernel", nil, &body); err != nil || len(body.Images) != 1 {
			t.Errorf("%+v, %v", body, err)
		}
	})
	begun = time.Now()
	c.Stop()
	t.Logf("stopped after %.1f s", time.Since(begun).Seconds())
}
