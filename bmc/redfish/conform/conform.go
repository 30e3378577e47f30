// Package conform holds a Redfish service against the DMTF's schemas (CSDL), the
// protocol's rules (DSP0266) and interoperability profiles (DSP0272). It is for
// tests: Crawl is a client that reads everything it can reach, says what is wrong,
// and starts nothing that outlives it.
package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"
)

// Options say what is checked, and how it is reached.
type Options struct {
	// Base is the service's address without a path, such as "https://127.0.0.1:8443".
	Base string
	// User and Password are an administrator's.
	User, Password string
	// Schemas is a folder with the CSDL files of DSP8010 (Name_v1.xml). Only the ones
	// in use are read.
	Schemas string
	// Profiles are files of DSP0272.
	Profiles []string
	// Accept lists the warnings that are meant to be.
	Accept []Accepted
	// Write allows requests that would change the service if it were not right: writes
	// of the present values, actions without or with unknown parameters.
	Write bool
}

// Accepted says why a warning is no reason to worry.
type Accepted struct {
	// Rule is a Finding's. Resource and Property are patterns of path.Match; "" fits all.
	Rule, Resource, Property string
	// Reason is required.
	Reason string
}

// maxResources bounds a crawl: a service that makes links up would never end.
const maxResources = 5000

// Crawl reads every resource that /redfish/v1/ leads to and checks it. The error is
// about what kept the check from being done; what is wrong with the service is in
// the report. Sessions that it makes are deleted again.
func Crawl(ctx context.Context, client *http.Client, o Options) (Report, error) {
	started := time.Now()
	newRequest := func(method, url string, body io.Reader) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, method, url, body)
	}
	c := &crawl{client: client, newRequest: newRequest, o: o, schemas: openSchemas(o.Schemas), resources: map[string]*resource{}}
	c.report.Checked = map[string]int{}
	if err := c.checkOptions(); err != nil {
		return Report{}, err
	}
	profiles, err := readProfiles(o.Profiles)
	if err != nil {
		return Report{}, err
	}
	if err := c.login(); err != nil {
		return Report{}, err
	}
	defer c.logout()
	if err := c.everything(); err != nil {
		return Report{}, err
	}
	c.readRegistries()
	c.checkResources()
	c.checkProtocol()
	for _, p := range profiles {
		c.checkProfile(p)
	}
	if c.err != nil {
		return Report{}, c.err
	}
	c.report.accept(o.Accept)
	c.report.Elapsed = time.Since(started)
	return c.report, nil
}

func (c *crawl) checkOptions() error {
	for _, a := range c.o.Accept {
		if a.Reason == "" {
			return fmt.Errorf("accept %q %q %q: write a reason", a.Rule, a.Resource, a.Property)
		}
		if _, err := filepath.Match(a.Resource+a.Property, ""); err != nil {
			return fmt.Errorf("accept %q: %w", a.Rule, err)
		}
	}
	if c.o.Base == "" {
		return errors.New("options: no base address")
	}
	return nil
}
