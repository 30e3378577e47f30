package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"tenks/cmd/internal/api"
	"tenks/config"
)

// addSecrets reads the files that a cluster file names and puts their content
// into the request: the agent may be on another host, and another one tomorrow.
// A cluster file with faults is left to the agent, which lists them.
func addSecrets(r *api.ApplyRequest) error {
	c, err := config.LoadCluster(r.Name, []byte(r.File))
	if err != nil {
		return err
	}
	if r.BMCPassword, err = readPassword(c.BMC.PasswordFile); err != nil {
		return fmt.Errorf("%s: bmc.password_file: %w", r.Name, err)
	}
	for name, p := range c.PDUs {
		var s api.PDUSecrets
		if s.Community, err = readPassword(p.CommunityFile); err != nil {
			return fmt.Errorf("%s: pdus.%s.community_file: %w", r.Name, name, err)
		}
		if s.Password, err = readPassword(p.PasswordFile); err != nil {
			return fmt.Errorf("%s: pdus.%s.password_file: %w", r.Name, name, err)
		}
		if r.PDUs == nil {
			r.PDUs = map[string]api.PDUSecrets{}
		}
		r.PDUs[name] = s
	}
	if r.BMCKey, err = readPassword(c.BMC.KeyFile); err != nil {
		return fmt.Errorf("%s: bmc.key_file: %w", r.Name, err)
	}
	if c.Ironic == nil {
		return nil
	}
	if r.IronicPassword, err = readPassword(c.Ironic.PasswordFile); err != nil {
		return fmt.Errorf("%s: ironic.password_file: %w", r.Name, err)
	}
	if c.Ironic.Cloud == "" {
		return nil
	}
	if r.CloudYAML, err = cloudEntry(c.Ironic.Cloud); err != nil {
		return fmt.Errorf("%s: ironic.cloud: %w", r.Name, err)
	}
	return nil
}

// readPassword returns the first line of a file; nothing for no file.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line == "" {
		return "", fmt.Errorf("%s: the first line is empty", path)
	}
	return line, nil
}

// cloudEntry returns a clouds.yaml document with one entry, with what secure.yaml
// beside it adds. It looks where OpenStack's own clients look.
func cloudEntry(name string) (string, error) {
	var looked []string
	for _, path := range cloudFiles() {
		entry, err := entryOf(path, name)
		if os.IsNotExist(err) {
			looked = append(looked, path)
			continue
		}
		if err != nil {
			return "", err
		}
		secure, err := entryOf(filepath.Join(filepath.Dir(path), "secure.yaml"), name)
		if err == nil {
			merge(entry, secure)
		}
		b, err := yaml.Marshal(map[string]any{"clouds": map[string]any{name: entry}})
		return string(b), err
	}
	return "", fmt.Errorf("no clouds.yaml: looked for %s", strings.Join(looked, ", "))
}

func cloudFiles() []string {
	if path := os.Getenv("OS_CLIENT_CONFIG_FILE"); path != "" {
		return []string{path}
	}
	files := []string{"clouds.yaml"}
	if home, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(home, "openstack", "clouds.yaml"))
	}
	return append(files, "/etc/openstack/clouds.yaml")
}

func entryOf(path, name string) (map[string]any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Clouds map[string]map[string]any `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	entry, ok := doc.Clouds[name]
	if !ok {
		return nil, fmt.Errorf("%s has no cloud %q", path, name)
	}
	return entry, nil
}

// merge lays src over dst, map by map.
func merge(dst, src map[string]any) {
	for key, v := range src {
		into, both := dst[key].(map[string]any)
		from, ok := v.(map[string]any)
		if both && ok {
			merge(into, from)
			continue
		}
		dst[key] = v
	}
}
