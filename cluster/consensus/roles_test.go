package consensus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// meshOf parses peers such as "a1:voter b2:standby,ill c3:client,new d4:voter,ill,barred
// e5:voter,gone": the letter is the zone. A peer is well for an hour, or else ill
// since five seconds, gone (ill for an hour), or new (well for a second).
func meshOf(t *testing.T, text string) []Candidate {
	t.Helper()
	var out []Candidate
	for _, field := range strings.Fields(text) {
		id, rest, _ := strings.Cut(field, ":")
		words := strings.Split(rest, ",")
		c := Candidate{ID: id, Zone: id[:1], Role: Role(words[0]), Healthy: true, Since: time.Hour}
		for _, w := range words[1:] {
			switch w {
			case "ill":
				c.Healthy, c.Since = false, 5*time.Second
			case "gone":
				c.Healthy = false
			case "new":
				c.Since = time.Second
			case "barred":
				c.Barred = true
			default:
				t.Fatalf("%q in %q", w, field)
			}
		}
		out = append(out, c)
	}
	return out
}

func text(changes []Change) string {
	var out []string
	for _, c := range changes {
		out = append(out, c.ID+":"+string(c.Role))
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	for _, c := range []struct{ name, peers, leader, want string }{
		{"one peer votes", "a1:voter", "a1", ""},
		{"a second one stands by", "a1:voter a2:client", "a1", "a2:standby"},
		{"a second one never votes", "a1:voter a2:standby", "a1", ""},
		{"two voters of two peers become one", "a1:voter a2:voter", "a2", "a1:standby"},
		{"of three both others stand by first", "a1:voter a2:standby a3:client", "a1", "a3:standby"},
		{"and then vote in one go", "a1:voter a2:standby a3:standby", "a1", "a2:voter a3:voter"},
		{"one of two that is new holds both back", "a1:voter a2:standby a3:standby,new", "a1", ""},
		{"a growth that was cut short goes on", "a1:voter a2:voter a3:standby", "a1", "a3:voter"},
		{"and back, if the third is no more", "a1:voter a2:voter a3:standby,gone", "a1", "a3:client a2:standby"},
		{"a fourth and a fifth stand by, a sixth does not", "a1:voter a2:voter a3:voter a4:client a5:client a6:client", "a1",
			"a4:standby a5:standby"},
		{"an ill client is asked nothing", "a1:voter a2:client,ill", "a1", ""},
		{"a client that comes and goes does not take a mesh of three back to one", "a1:voter a2:voter a3:voter a4:client,ill", "a1", ""},

		{"an ill voter keeps its seat", "a1:voter a2:voter a3:voter,ill a4:standby", "a1", ""},
		{"one that is gone is replaced, then removed", "a1:voter a2:voter a3:voter,gone a4:standby", "a1", "a4:voter a3:client"},
		{"by a client, which stands by first", "a1:voter a2:voter a3:voter,gone a4:client", "a1", "a4:standby"},
		{"and keeps its seat if nobody can have it", "a1:voter a2:voter a3:voter,gone", "a1", ""},
		{"also if the standby is ill", "a1:voter a2:voter a3:voter,gone a4:standby,ill", "a1", ""},
		{"a standby that is gone is replaced", "a1:voter a2:voter a3:voter a4:standby,gone a5:client", "a1", "a4:client a5:standby"},

		{"a barred voter is replaced, then removed", "a1:voter a2:voter a3:voter,barred a4:standby", "a1", "a4:voter a3:client"},
		{"and waits for one that is nearly ready", "a1:voter a2:voter a3:voter,barred a4:standby,new", "a1", ""},
		{"a mesh of three that loses one becomes a mesh of one", "a1:voter a2:voter a3:voter,barred", "a1", "a3:client a2:standby"},
		{"an ill voter goes before a barred one that the majority needs", "a1:voter,barred a2:voter a3:voter,ill", "a1",
			"a3:standby a1:client"},
		{"a barred leader goes last", "a1:voter,barred a2:voter,barred a3:voter a4:standby", "a1", "a2:client a1:client"},
		{"a barred leader is replaced", "a1:voter,barred a2:standby", "a1", "a2:voter a1:client"},
		{"also by a client", "a1:voter,barred a2:client", "a1", "a2:standby"},
		{"the last voter stays though barred", "a1:voter,barred", "a1", ""},
		{"the last voter that works stays though barred", "a1:voter,barred a2:voter,gone", "a1", ""},
		{"a barred client stays out", "a1:voter a2:client,barred", "a1", ""},

		{"voters are spread over zones", "a1:voter a2:standby a3:standby b4:standby b5:standby", "a1", "a2:voter b4:voter"},
		{"a new zone gets a voter in place of one of three", "a1:voter a2:voter a3:voter b4:standby", "a3", "b4:voter a2:standby"},
		{"for which a client stands by beside the others", "a1:voter a2:voter a3:voter a4:standby a5:standby b6:client", "a3", "b6:standby"},
		{"but not for one that is new", "a1:voter a2:voter a3:voter a4:standby a5:standby b6:client,new", "a3", ""},
		{"two zones are as even as three voters can be", "a1:voter a2:voter b3:voter b4:standby", "b3", ""},
		{"the leader keeps its seat in a crowded zone", "a1:voter a2:voter b3:voter c4:standby", "a2", "c4:voter a1:standby"},
		{"the best standby is of another zone", "a1:voter b2:voter c3:voter,gone a4:standby c5:standby", "a1", "c5:voter c3:client"},
		{"five zones have five voters", "a1:voter b2:voter c3:voter d4:standby e5:standby", "a1", "d4:voter e5:voter"},
		{"three become five at once", "a1:voter b2:voter c3:voter d4:standby e5:standby,new", "a1", ""},
		{"growing does not keep back a replacement", "a1:voter b2:voter c3:voter,gone d4:standby e5:standby,new", "a1", "d4:voter c3:client"},
		{"four voters that were five get a fifth", "a1:voter b2:voter c3:voter d4:voter e5:standby", "a1", "e5:voter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := text(Decide(meshOf(t, c.peers), c.leader, Rules{})); got != c.want {
				t.Errorf("%s, %s leads\n got %q\nwant %q", c.peers, c.leader, got, c.want)
			}
		})
	}
}

func TestRulesReplaceTheUsualTimes(t *testing.T) {
	peers := meshOf(t, "a1:voter a2:voter a3:voter,ill a4:standby,new")
	if got := text(Decide(peers, "a1", Rules{Stable: time.Millisecond, Gone: time.Second})); got != "a4:voter a3:client" {
		t.Errorf("got %q", got)
	}
}

// world is peers as SetRole changes them, one at a time.
type world struct {
	peers  []Candidate
	leader string
}

func (w *world) count(keep func(Candidate) bool) int {
	n := 0
	for _, p := range w.peers {
		if keep(p) {
			n++
		}
	}
	return n
}

func (w *world) voters() int { return w.count(func(p Candidate) bool { return p.Role == Voter }) }
func (w *world) working() int {
	return w.count(func(p Candidate) bool { return p.Role == Voter && p.Healthy })
}
func (w *world) find(id string) *Candidate {
	return &w.peers[slices.IndexFunc(w.peers, func(p Candidate) bool { return p.ID == id })]
}

func (w *world) pass(d time.Duration) {
	for i := range w.peers {
		w.peers[i].Since += d
	}
}

// settle makes up to n of the changes that Decide asks for before it asks again, until
// there are none for an hour. check sees the world before each of them.
func (w *world) settle(t interface{ Fatalf(string, ...any) }, n int, check func(Change)) {
	made := []Change{}
	for quiet := 0; quiet < 2; {
		changes := Decide(w.peers, w.leader, Rules{})
		if len(changes) == 0 {
			quiet++
			w.pass(time.Hour)
			continue
		}
		quiet = 0
		for _, c := range changes[:min(n, len(changes))] {
			if made = append(made, c); len(made) > 200 {
				t.Fatalf("no end of it: %v\nof %+v", made[180:], w.peers)
			}
			check(c)
			w.find(c.ID).Role = c.Role
			w.pass(time.Second)
		}
	}
}

func TestHowManyVoteAndStandBy(t *testing.T) {
	for _, c := range []struct{ peers, zones, voters, standbys int }{
		{1, 1, 1, 0}, {2, 1, 1, 1}, {2, 2, 1, 1}, {3, 1, 3, 0}, {3, 2, 3, 0}, {4, 1, 3, 1}, {4, 5, 3, 1},
		{5, 1, 3, 2}, {5, 2, 3, 2}, {5, 5, 5, 0}, {20, 1, 3, 2}, {20, 5, 5, 4}, {21, 1, 5, 4}, {21, 2, 5, 4}, {21, 5, 5, 4},
	} {
		w := &world{leader: "p00"}
		for i := range c.peers {
			p := Candidate{ID: fmt.Sprintf("p%02d", i), Zone: fmt.Sprint(i % c.zones), Role: Client, Healthy: true}
			if i == 0 {
				p.Role = Voter
			}
			w.peers = append(w.peers, p)
		}
		w.settle(t, 100, func(Change) {})
		standbys := w.count(func(p Candidate) bool { return p.Role == Standby })
		if w.voters() != c.voters || standbys != c.standbys {
			t.Errorf("%d peers in %d zones: %d voters, %d standbys; want %d, %d", c.peers, c.zones, w.voters(), standbys, c.voters, c.standbys)
		}
		for zone, n := range w.zones() {
			if most := (c.voters + c.zones - 1) / c.zones; n > most {
				t.Errorf("%d peers in %d zones: %d voters in zone %s, want at most %d", c.peers, c.zones, n, zone, most)
			}
		}
	}
}

// zones counts the voters of each zone.
func (w *world) zones() map[string]int {
	out := map[string]int{}
	for _, p := range w.peers {
		if p.Role == Voter {
			out[p.Zone]++
		}
	}
	return out
}

// A peer that is up for five seconds and down for five never gets to vote, and its
// coming and going changes nothing once it stands by.
func TestAPeerThatComesAndGoesChangesNothing(t *testing.T) {
	for _, others := range []string{"a1:voter", "a1:voter a2:standby", "a1:voter a2:voter a3:voter", "a1:voter a2:voter a3:voter b4:standby b5:standby"} {
		w := &world{leader: "a1", peers: append(meshOf(t, others), Candidate{ID: "z9", Zone: "z", Role: Client})}
		made := 0
		for range 500 {
			for _, healthy := range []bool{true, false} {
				z := w.find("z9")
				z.Healthy, z.Since = healthy, 0
				for range 5 {
					for _, c := range Decide(w.peers, w.leader, Rules{}) {
						made++
						w.find(c.ID).Role = c.Role
					}
					w.pass(time.Second)
				}
			}
			if w.find("z9").Role == Voter {
				t.Fatalf("%s: it votes", others)
			}
		}
		if most := 3; made > most {
			t.Errorf("%s: %d changes, want at most %d", others, made, most)
		}
	}
}

// drawWorld makes a mesh whose voters have a majority that works, and a leader.
func drawWorld(t *rapid.T) *world {
	w := &world{}
	zones := rapid.IntRange(1, 6).Draw(t, "zones")
	often := rapid.SampledFrom([]int{0, 10, 50}).Draw(t, "percent ill")
	bars := rapid.SampledFrom([]int{0, 0, 20}).Draw(t, "percent barred")
	percent := rapid.IntRange(0, 99)
	for i := range rapid.IntRange(1, 26).Draw(t, "peers") {
		w.peers = append(w.peers, Candidate{
			ID:      fmt.Sprintf("p%02d", i),
			Zone:    fmt.Sprint(rapid.IntRange(1, zones).Draw(t, "zone")),
			Role:    rapid.SampledFrom([]Role{Voter, Voter, Standby, Standby, Client, Client, Client}).Draw(t, "role"),
			Healthy: percent.Draw(t, "ill") >= often,
			Since:   rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 30 * time.Second, time.Hour}).Draw(t, "since"),
			Barred:  percent.Draw(t, "barred") < bars,
		})
	}
	for _, p := range w.peers {
		if p.Role == Voter && p.Healthy && w.leader == "" {
			w.leader = p.ID
		}
	}
	if 2*w.working() <= w.voters() {
		t.Skip("no majority")
	}
	return w
}

func (w *world) barred() bool { return w.count(func(p Candidate) bool { return p.Barred }) > 0 }

// seats is how many voters there should be: what Decide's contract says, counted
// anew. usable are those that could vote.
func (w *world) seats() (seats, usable int) {
	zones := map[string]bool{}
	peers := 0
	for _, p := range w.peers {
		if p.Barred {
			continue
		}
		peers++
		zones[p.Zone] = true
		if p.Healthy || p.Role == Voter || p.Role == Standby && p.Since < goneTime {
			usable++
		}
	}
	seats, _ = wanted(peers, len(zones))
	for seats > 1 && seats > usable {
		seats -= 2
	}
	return seats, usable
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		begun := fmt.Sprintf("%s leads %+v", w.leader, w.peers)
		working, voters := w.working(), w.voters()
		w.settle(t, rapid.SampledFrom([]int{1, 2, 100}).Draw(t, "at once"), func(c Change) {
			p := *w.find(c.ID)
			switch {
			case p.Role == c.Role:
				t.Fatalf("%v changes nothing: %s", c, begun)
			case p.Role == Client && c.Role == Voter:
				t.Fatalf("%v: a client has no log: %s", c, begun)
			case c.Role == Voter && (!p.Healthy || p.Barred || p.Since < stableTime):
				t.Fatalf("%v: not fit to vote: %s", c, begun)
			case c.ID == w.leader && !p.Barred:
				t.Fatalf("%v leads: %s", c, begun)
			case c.ID == w.leader && w.count(func(p Candidate) bool { return p.Barred && p.Role == Voter }) > 1:
				t.Fatalf("%v: the leader goes last: %s", c, begun)
			}
			seats, _ := w.seats()
			w.find(c.ID).Role = c.Role
			if 2*w.working() <= w.voters() {
				t.Fatalf("%v: no majority of voters works: %s", c, begun)
			}
			if !w.barred() && w.working() < min(working, seats) {
				t.Fatalf("%v: %d voters work, %d did: %s", c, w.working(), working, begun)
			}
			if !w.barred() && w.voters() < min(voters, seats) {
				t.Fatalf("%v: %d voters of %d are left: %s", c, w.voters(), voters, begun)
			}
			w.find(c.ID).Role = p.Role
			if c.ID == w.leader {
				w.leader = "" // another one will be elected
				w.find(c.ID).Role = c.Role
				for _, p := range w.peers {
					if p.Role == Voter && p.Healthy {
						w.leader = p.ID
					}
				}
			}
		})
		w.checkRest(t, begun)
	})
}

// checkRest checks a mesh in which nothing is left to do.
func (w *world) checkRest(t *rapid.T, begun string) {
	seats, usable := w.seats()
	fit := w.count(func(p Candidate) bool { return !p.Barred && p.Healthy })
	stay := w.count(func(p Candidate) bool { return !p.Barred && p.Role == Voter })
	if works := w.count(func(p Candidate) bool { return !p.Barred && p.Role == Voter && p.Healthy }); 2*works <= stay {
		return // those that are to leave are needed
	}
	if w.voters() == 2 || w.voters() > seats {
		t.Fatalf("%d voters at rest, want %d of %d: %+v\nof %s", w.voters(), seats, usable, w.peers, begun)
	}
	for _, p := range w.peers {
		if p.Barred && p.Role != Client {
			t.Fatalf("%s is barred: %+v\nof %s", p.ID, w.peers, begun)
		}
	}
	if fit >= seats && w.working() != seats {
		t.Fatalf("%d voters work, want %d: %+v\nof %s", w.working(), seats, w.peers, begun)
	}
	zones := w.zones()
	for _, p := range w.peers {
		if p.Barred || !p.Healthy || p.Role == Voter {
			continue
		}
		for zone, n := range zones {
			if n >= zones[p.Zone]+2 {
				t.Fatalf("%s could vote for zone %s, but %s has %d of %v: %+v\nof %s", p.ID, p.Zone, zone, n, zones, w.peers, begun)
			}
		}
	}
}

func TestDecideGoesByWhatIsSaidAndNotByItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		want := text(Decide(w.peers, w.leader, Rules{}))
		before := slices.Clone(w.peers)
		shuffled := rapid.Permutation(w.peers).Draw(t, "shuffled")
		if got := text(Decide(shuffled, w.leader, Rules{})); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if Decide(w.peers, w.leader, Rules{}); !slices.Equal(before, w.peers) {
			t.Fatal("Decide changed what it was given")
		}
	})
}
