package cloudlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Answer is what a request was answered with.
type Answer struct {
	Status int
	Body   []byte
}

// Ask makes an API request of the administrator's, in the cloud's network namespace, with the
// microversions that Tenks uses; body is JSON and may be nil.
func (c *Cloud) Ask(ctx context.Context, method, url string, body any) (Answer, error) {
	return c.ask(ctx, []string{"compute 2.61", "placement 1.6"}, method, url, body)
}

func (c *Cloud) ask(ctx context.Context, versions []string, method, url string, body any) (Answer, error) {
	args := []string{"-sS", "--max-time", "60", "-X", method, "-w", "\n%{http_code}", "-H", "X-Auth-Token: " + c.token,
		"-H", "Content-Type: application/json", url}
	for _, version := range versions {
		args = append(args, "-H", "OpenStack-API-Version: "+version)
	}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		args = append(args, "--data-binary", string(b))
	}
	out, err := c.command(ctx, "curl", args...).CombinedOutput()
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w: %s", method, url, err, out)
	}
	at := bytes.LastIndexByte(out, '\n')
	a := Answer{Body: out[:max(at, 0)]}
	_, err = fmt.Sscan(string(out[at+1:]), &a.Status)
	return a, err
}

// Call is Ask for what must succeed; out gets the JSON and may be nil.
func (c *Cloud) Call(ctx context.Context, method, url string, body, out any) error {
	a, err := c.Ask(ctx, method, url, body)
	if err != nil {
		return err
	}
	return a.into(method, url, out)
}

// CallVersion is Call with a microversion, such as "placement 1.22".
func (c *Cloud) CallVersion(ctx context.Context, version, method, url string, body, out any) error {
	a, err := c.ask(ctx, []string{version}, method, url, body)
	if err != nil {
		return err
	}
	return a.into(method, url, out)
}

// into reads the answer of a request that must have succeeded.
func (a Answer) into(method, url string, out any) error {
	if a.Status < 200 || a.Status > 299 {
		return fmt.Errorf("%s %s: HTTP %d: %s", method, url, a.Status, a.Body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.Body, out)
}

// named is a name in Keystone's default domain.
func named(name string) map[string]any {
	return map[string]any{"name": name, "domain": map[string]any{"id": "default"}}
}

var subjectToken = regexp.MustCompile(`(?mi)^X-Subject-Token: *(\S+)`)

// login gets the administrator's token.
func (c *Cloud) login(ctx context.Context) error {
	user := named("admin")
	user["password"] = Password
	b, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}},
		"scope":    map[string]any{"project": named("admin")}}})
	if err != nil {
		return err
	}
	cmd := c.command(ctx, "curl", "-sS", "-i", "--max-time", "60", "-H", "Content-Type: application/json", "--data-binary", "@-", authURL()+"/auth/tokens")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.CombinedOutput()
	found := subjectToken.FindSubmatch(out)
	if err != nil || found == nil {
		return fmt.Errorf("log in: %w: %s", err, out)
	}
	c.token = string(found[1])
	return nil
}

// makeAccounts makes the services' accounts and the catalogue.
func (c *Cloud) makeAccounts(ctx context.Context) error {
	role, err := c.role(ctx, "admin")
	if err != nil {
		return err
	}
	if _, err := c.make(ctx, "roles", "role", map[string]any{"name": "service"}); err != nil {
		return err
	}
	project, err := c.make(ctx, "projects", "project", map[string]any{"name": "service", "domain_id": "default"})
	if err != nil {
		return err
	}
	for _, name := range []string{"placement", "nova", "glance", "ironic"} {
		user, err := c.make(ctx, "users", "user", map[string]any{"name": name, "password": Password, "domain_id": "default"})
		if err != nil {
			return err
		}
		if err := c.Call(ctx, "PUT", authURL()+"/"+strings.Join([]string{"projects", project, "users", user, "roles", role}, "/"), nil, nil); err != nil {
			return err
		}
	}
	for kind, url := range map[string]string{"placement": c.PlacementURL(), "compute": c.NovaURL(), "image": c.GlanceURL(), "baremetal": ironicURL} {
		service, err := c.make(ctx, "services", "service", map[string]any{"name": kind, "type": kind})
		if err != nil {
			return err
		}
		for _, face := range []string{"public", "internal", "admin"} {
			if _, err := c.make(ctx, "endpoints", "endpoint", map[string]any{"service_id": service, "interface": face, "url": url, "region_id": "RegionOne"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// ironicURL is in the catalogue: the port that an Ironic has by default.
const ironicURL = "http://" + bind + ":6385"

// make makes something in Keystone and returns its ID.
func (c *Cloud) make(ctx context.Context, collection, kind string, fields map[string]any) (string, error) {
	var out map[string]struct{ ID string }
	err := c.Call(ctx, "POST", authURL()+"/"+collection, map[string]any{kind: fields}, &out)
	return out[kind].ID, err
}

func (c *Cloud) role(ctx context.Context, name string) (string, error) {
	var out struct{ Roles []struct{ ID, Name string } }
	if err := c.Call(ctx, "GET", authURL()+"/roles?name="+name, nil, &out); err != nil {
		return "", err
	}
	if len(out.Roles) != 1 {
		return "", fmt.Errorf("%d roles named %s", len(out.Roles), name)
	}
	return out.Roles[0].ID, nil
}
