package recovery

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"tenks/cluster"
	"tenks/raftfsm"
)

// Report is what Status says: "recover status -o json".
type Report struct {
	Peer       string `json:"peer"`
	PeerID     string `json:"peer_id"`
	Mesh       string `json:"mesh"`
	Generation uint64 `json:"generation"`
	Recovery   string `json:"recovery,omitempty"`
	// Log is what this peer's log is: whole, empty, or what is wrong with it.
	Log    string  `json:"log"`
	Index  uint64  `json:"index"`
	Term   uint64  `json:"term"`
	Nodes  int     `json:"nodes"`
	Voters []Voter `json:"voters"`
	// Quorum says that a majority of the voters answers, this one counted in.
	Quorum  bool   `json:"quorum"`
	Part    string `json:"part"`
	Backups int    `json:"backups"`
	Newest  string `json:"newest_backup,omitempty"`
	Advice  string `json:"advice"`
}

// Voter is one of them, as seen from here.
type Voter struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Answers    bool   `json:"answers"`
	Generation uint64 `json:"generation,omitempty"`
	Recovery   string `json:"recovery,omitempty"`
	Index      uint64 `json:"index,omitempty"`
	Leader     string `json:"leader,omitempty"`
	Error      string `json:"error,omitempty"`
}

// Status reads this host's files and asks the voters. running says that the agent does:
// then its log is in use and cannot be read.
func Status(ctx context.Context, p Place, running Running) (Report, error) {
	local, err := cluster.ReadLocal(p.Mesh)
	if err != nil {
		return Report{}, err
	}
	r := Report{PeerID: local.ID, Mesh: local.Mesh, Generation: local.Number, Recovery: local.Recovery, Voters: []Voter{}}
	peers, voters := local.Peers, votersOf(local.Peers)
	if running == Runs {
		r.Log = "in use by the agent, which runs: tenks status, tenks raft list"
	} else {
		l, found, err := own(p)
		switch {
		case err != nil:
			r.Log = "cannot be read: " + err.Error()
		case l.dump.Mesh == nil:
			r.Log = "empty: this peer has only its part of the state"
		default:
			r.Log, r.Index, r.Term, r.Nodes, voters = "whole", l.index, l.term, len(l.dump.Nodes), found
		}
	}
	r.Peer = nameOf(peers, local.ID)
	r.Part = partLine(p.Part)
	if list, err := List(p.Backups); err == nil && len(list) > 0 {
		r.Backups, r.Newest = len(list), list[0].File
	}
	answers, err := ask(ctx, p, peers)
	if err != nil {
		return r, err
	}
	r.judge(local, peers, voters, answers, running)
	return r, nil
}

// Running says whether the agent of a place does.
type Running int

// The choices.
const (
	Stopped Running = iota
	Runs
)

func (r *Report) judge(local cluster.Local, peers []cluster.Peer, voters []string, answers map[string]cluster.Answer, running Running) {
	up, higher, rival, ahead := 0, "", "", ""
	for _, id := range voters {
		v := Voter{Name: nameOf(peers, id), ID: id, Generation: local.Number, Recovery: local.Recovery, Index: r.Index}
		if id == local.ID {
			v.Answers = running == Runs
			up++
			r.Voters = append(r.Voters, v)
			continue
		}
		a, asked := answers[id]
		switch {
		case !asked:
			v = Voter{Name: v.Name, ID: id, Error: "its address is not known"}
		case a.Err != nil:
			v = Voter{Name: v.Name, ID: id, Error: a.Err.Error()}
		default:
			v.Answers, v.Generation, v.Recovery, v.Index = true, a.Number, a.Recovery, a.Index
			if a.Leader != "" {
				v.Leader = nameOf(peers, a.Leader)
			}
			if a.Generation == local.Generation {
				up++
				if a.Index > r.Index && running == Stopped {
					ahead = v.Name
				}
			}
		}
		r.Voters = append(r.Voters, v)
	}
	for _, id := range sortedKeys(answers) {
		a := answers[id]
		switch {
		case a.Err != nil:
		case a.Number > local.Number:
			higher = nameOf(peers, id)
		case a.Number == local.Number && a.Recovery != local.Recovery:
			rival = nameOf(peers, id)
		}
	}
	r.Quorum = len(voters) > 0 && 2*up > len(voters)
	r.Advice = r.advise(higher, rival, ahead)
}

func (r *Report) advise(higher, rival, ahead string) string {
	switch {
	case higher != "":
		return "the mesh was recovered on " + higher + ": start this agent, and it comes over"
	case rival != "":
		return "two recoveries: decide between this host and " + rival + ", and there: tenks recover reset --generation N, N being one higher"
	case r.Quorum:
		return "a majority of the voters is there: nothing is to be recovered; start the agent if it does not run"
	case ahead != "":
		return "bring the other voters back, or, if they are lost: tenks recover reset on " + ahead + ", which knows more than this host"
	case r.Log == "whole":
		return "bring the other voters back, or, if they are lost: stop the agent here and run tenks recover reset, on one host only"
	case r.Backups > 0:
		return "bring the voters back, or, if they are lost: tenks recover reset on one that survived, else tenks backup restore " + r.Newest
	}
	return "bring the voters back, or, if all are lost: tenks backup restore FILE, or without a backup tenks recover rebuild"
}

func votersOf(peers []cluster.Peer) []string {
	var out []string
	for _, p := range peers {
		if p.Role == cluster.Voter {
			out = append(out, p.ID)
		}
	}
	return out
}

func partLine(path string) string {
	part, err := raftfsm.ReadPart(path)
	if err != nil {
		return "none: " + err.Error()
	}
	age := ""
	if st, err := os.Stat(path); err == nil {
		age = ", written " + st.ModTime().UTC().Format(time.RFC3339)
	}
	return partSummary(part) + age
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
