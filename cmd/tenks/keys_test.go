package main

import (
	"strings"
	"testing"

	"tenks/cmd/internal/api"
)

func TestRotationStepSaysWhatItWaitsFor(t *testing.T) {
	row := func(name, state string, waiting ...string) keyRow { return keyRow{name, state, waiting} }
	tests := map[string]struct {
		rows []keyRow
		lost []string
		want string
		done bool
	}{
		"nothing known":           {nil, nil, "", false},
		"done":                    {[]keyRow{row("B", api.KeyInUse)}, nil, "B is in use, and no other is accepted", true},
		"not accepted everywhere": {[]keyRow{row("A", api.KeyInUse), row("B", api.KeyComing, "hv2")}, nil, "B: not accepted everywhere yet: waiting for hv2", false},
		"accepted":                {[]keyRow{row("A", api.KeyInUse), row("B", api.KeyComing)}, nil, "B: every peer accepts it", false},
		"still needed":            {[]keyRow{row("B", api.KeyInUse), row("A", api.KeyGoing, "hv2", "hv3")}, []string{"hv3"}, "A: still needed: waiting for hv2, hv3", false},
		"only by who is lost":     {[]keyRow{row("B", api.KeyInUse), row("A", api.KeyGoing, "hv3")}, []string{"hv3"}, "--force", true},
		"of many":                 {[]keyRow{row("B", api.KeyInUse), row("A", api.KeyGoing, "1", "2", "3", "4", "5", "6", "7")}, nil, "1, 2, 3, 4, 5 and 2 more", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			line, done := rotationStep(tt.rows, tt.lost)
			if !strings.Contains(line, tt.want) || done != tt.done {
				t.Errorf("%q, %v, want %q, %v", line, done, tt.want, tt.done)
			}
		})
	}
}

func TestAJoinTokenIsReadFromWhereItIsNotSeen(t *testing.T) {
	t.Setenv(tokenVariable, "from the environment")
	for _, tt := range []struct {
		args       []string
		file, want string
	}{
		{[]string{"argument"}, "", "argument"},
		{[]string{"-"}, "", "from the input"},
		{nil, "-", "from the input"},
		{nil, "", "from the environment"},
	} {
		tool := &tool{streams: streams{in: strings.NewReader("from the input")}}
		got, err := tool.joinToken(tt.args, tt.file)
		if got != tt.want || err != nil {
			t.Errorf("join %q --token-file %q: %q, %v, want %q", tt.args, tt.file, got, err, tt.want)
		}
	}
	if got, err := (&tool{}).joinToken(nil, ""); err == nil {
		t.Errorf("the token stayed in the environment, for the agent to inherit: %q", got)
	}
}
