package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
)

// object is a JSON one.
type object = map[string]any

// part is the object in an object; nil: there is none.
func part(o object, key string) object {
	p, _ := o[key].(object)
	return p
}

// text is the string in an object.
func text(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

// States of a command.
const (
	running   = "RUNNING"
	succeeded = "SUCCEEDED"
	failed    = "FAILED"
)

// command is one that the conductor gave, and what came of it.
type command struct {
	ID string `json:"id"`
	// Name has no prefix: by "clean.execute_clean_step" the conductor would wait for ever
	// for "execute_clean_step".
	Name   string `json:"command_name"`
	Params object `json:"command_params"`
	Status string `json:"command_status"`
	Error  object `json:"command_error"`
	Result object `json:"command_result"`
}

// maxBody bounds a command, which has the node's whole record and maybe a config drive of 64 MiB.
const maxBody = 100 << 20

// handler serves /v1/commands.
func (a *agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/commands/{$}", a.list)
	mux.HandleFunc("GET /v1/commands", a.list)
	mux.HandleFunc("POST /v1/commands/{$}", a.take)
	mux.HandleFunc("POST /v1/commands", a.take)
	return mux
}

func (a *agent) list(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer(w, http.StatusOK, object{"commands": append([]*command{}, a.commands...)})
}

// take runs a command: to its end, if the query has wait=true.
func (a *agent) take(w http.ResponseWriter, r *http.Request) {
	if token := r.URL.Query().Get("agent_token"); subtle.ConstantTimeCompare([]byte(token), []byte(a.token)) != 1 {
		refuse(w, http.StatusUnauthorized, "Invalid or missing agent_token")
		return
	}
	var in struct {
		Name   string `json:"name"`
		Params object `json:"params"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	do, known := handlers[in.Name]
	if !known {
		refuse(w, http.StatusNotFound, "no command "+in.Name)
		return
	}
	_, name, _ := strings.Cut(in.Name, ".")
	c := &command{ID: rand.Text(), Name: name, Params: in.Params, Status: running}
	if busy := a.begin(c); busy != "" {
		refuse(w, http.StatusConflict, "Agent is busy executing "+busy)
		return
	}
	waits := r.URL.Query().Get("wait") == "true"
	done := make(chan struct{})
	go func() { // a command goes on without who gave it
		defer close(done)
		a.execute(context.WithoutCancel(r.Context()), c, in.Name, do)
		if !waits {
			select {
			case a.finished <- struct{}{}:
			default: // it is to be told already
			}
		}
	}()
	if waits {
		<-done
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer(w, http.StatusOK, c)
}

// begin notes a command, unless another one runs, whose name it returns.
func (a *agent) begin(c *command) (busy string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.commands {
		if other.Status == running {
			return other.Name
		}
	}
	a.commands = append(a.commands, c)
	return ""
}

func (a *agent) execute(ctx context.Context, c *command, name string, do handler) {
	a.log.InfoContext(ctx, "command", "name", name, "step", text(part(c.Params, "step"), "step"))
	result, err := do(ctx, a, c.Params)
	a.mu.Lock()
	c.Status, c.Result = succeeded, result
	if err != nil {
		c.Status, c.Result = failed, nil
		c.Error = object{"type": "CommandExecutionError", "code": http.StatusInternalServerError, "message": err.Error(), "details": err.Error()}
	}
	a.mu.Unlock()
	a.log.InfoContext(ctx, "command ended", "name", name, "err", err)
}

func answer(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what) // who asked has gone
}

func refuse(w http.ResponseWriter, code int, why string) {
	answer(w, code, object{"faultcode": "Client", "faultstring": why, "code": code, "type": http.StatusText(code), "message": why})
}
