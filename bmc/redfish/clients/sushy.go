package clients

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

//go:embed sushy.py
var sushyScript string

// ErrNoSushy says that no Python here has sushy.
var ErrNoSushy = errors.New("python3 cannot import sushy: install python3-sushy")

// Python is a Python that has sushy.
func Python(ctx context.Context) (string, error) {
	for _, candidate := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(ctx, candidate, "-c", "import sushy").Run() == nil {
			return candidate, nil
		}
	}
	return "", ErrNoSushy
}

// Sushy makes all calls by sushy; what was made before an error is returned too. start makes the command that runs a program, on the host
// that reaches the target.
func Sushy(ctx context.Context, start func(ctx context.Context, name string, args ...string) *exec.Cmd, t Target) ([]Outcome, error) {
	python, err := Python(ctx)
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("sushy: %w", err)
	}
	// A CA bundle of the environment would win over verify=False.
	cmd := start(ctx, "env", "-u", "REQUESTS_CA_BUNDLE", "-u", "CURL_CA_BUNDLE", python, "-W", "ignore", "-", string(spec))
	cmd.Stdin = strings.NewReader(sushyScript)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	outcomes, broken := lines(out.Bytes())
	if err = errors.Join(err, broken); err != nil {
		return outcomes, fmt.Errorf("sushy, after %d calls: %w: %s", len(outcomes), err, said.String())
	}
	return outcomes, nil
}

// lines reads an outcome a line.
func lines(text []byte) (out []Outcome, err error) {
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var o Outcome
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return out, err
		}
		out = append(out, o)
	}
}
