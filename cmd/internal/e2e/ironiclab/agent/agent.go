package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// microversion has what the agent asks for: the token came with 1.62.
	microversion = "1.68"
	// version is what the agent says it is: the conductor has workarounds for old ones.
	version = "10.0.0"
	// beatEvery is between heartbeats when there is nothing to say; retryEvery after one
	// that came to nothing.
	beatEvery  = 5 * time.Second
	retryEvery = time.Second
	// requestTimeout bounds a request to Ironic.
	requestTimeout = time.Minute
)

// agent is one machine's. Its fields are set before others use it, but for those below mu.
type agent struct {
	api, token     string
	node, callback string
	machine        machine
	log            *slog.Logger
	// finished has room for one word that a command has ended: the conductor looks at the
	// result at the next heartbeat.
	finished chan struct{}

	mu       sync.Mutex // guards commands and what they point to
	commands []*command
}

func newAgent(api, token string, m machine, log *slog.Logger) *agent {
	return &agent{api: api, token: token, machine: m, log: log, finished: make(chan struct{}, 1)}
}

// call makes a request of Ironic's API.
func (a *agent) call(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, a.api+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-OpenStack-Ironic-API-Version", microversion)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, text) //nolint:err113 // for people
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// lookUp asks Ironic which node this machine is, until it knows.
func (a *agent) lookUp(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.lookUpOnce(ctx)
		if err == nil {
			return
		}
		a.log.InfoContext(ctx, "look-up", "err", err)
		pause(ctx, retryEvery, nil)
	}
}

func (a *agent) lookUpOnce(ctx context.Context) error {
	var found struct {
		Node   struct{ UUID string }
		Config struct {
			Token string `json:"agent_token"`
		}
	}
	query := url.Values{"addresses": {strings.Join(a.machine.macs(), ",")}}
	if err := a.call(ctx, http.MethodGet, "/v1/lookup?"+query.Encode(), nil, &found); err != nil {
		return err
	}
	if found.Node.UUID == "" {
		return fmt.Errorf("look-up: no node") //nolint:err113 // for people
	}
	a.node = found.Node.UUID
	// A machine that booted from virtual media has its token from there (the kernel's command
	// line), and the answer has asterisks: it is told but once.
	if t := found.Config.Token; strings.Trim(t, "*") != "" {
		a.token = t
	}
	return nil
}

// beat sends heartbeats until ctx ends: at once when a command has ended.
func (a *agent) beat(ctx context.Context) {
	for ctx.Err() == nil {
		wait := beatEvery
		if err := a.heartbeat(ctx); err != nil {
			a.log.InfoContext(ctx, "heartbeat", "err", err)
			wait = retryEvery
		}
		pause(ctx, wait, a.finished)
	}
}

func (a *agent) heartbeat(ctx context.Context) error {
	return a.call(ctx, http.MethodPost, "/v1/heartbeat/"+a.node,
		map[string]any{"callback_url": a.callback, "agent_version": version, "agent_token": a.token}, nil)
}

// pause ends early with ctx, or with a word from early.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-early:
	}
}
