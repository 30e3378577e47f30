package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func (d *directory) use(level int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.level = level
}

// levelOf is what a peer knows of another's level; false: it does not list it.
func levelOf(p *place, id string) (PeerLevel, bool) {
	for _, l := range p.Levels() {
		if l.ID == id {
			return l, true
		}
	}
	return PeerLevel{}, false
}

func TestPeersSayWhichLevelTheyKnow(t *testing.T) {
	b := founded(t)
	if l, ok := levelOf(b.places[0], b.places[0].ID()); !ok || l != (PeerLevel{ID: b.places[0].ID(), Role: Voter, Known: true}) {
		t.Errorf("alone: %+v, %t", l, ok)
	}
	p := b.place()
	p.config.Level = 3
	if err := b.join(p); err != nil {
		t.Fatal(err)
	}
	b.open(p)
	b.eventually("the leader knows by asking", func() bool {
		l, ok := levelOf(b.places[0], p.ID())
		return ok && l == (PeerLevel{ID: p.ID(), Role: Standby, Level: 3, Known: true})
	})
	b.eventually("the other one by gossip", func() bool {
		l, ok := levelOf(p, b.places[0].ID())
		return ok && l.Known && l.Level == 0
	})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	b.eventually("one of the log that is gone is listed, and not known", func() bool {
		l, ok := levelOf(b.places[0], p.ID())
		return ok && !l.Known
	})
}

func TestWhoKnowsLessThanTheMeshUsesHasNoPartInTheLog(t *testing.T) {
	b := founded(t)
	old, current := b.place(), b.place()
	current.config.Level = 1
	if err := b.join(old); err != nil {
		t.Fatal(err)
	}
	b.use(1)
	b.open(old)
	late := b.place()
	err := b.join(late)
	if want := "this mesh uses what an older tenks does not know (level 1, yours knows 0): install the version of the mesh"; !errors.Is(err, ErrRefused) ||
		!strings.Contains(err.Error(), want) || Exists(late.dir) {
		t.Errorf("join: %v, want %q", err, want)
	}
	if err := Join(t.Context(), JoinConfig{Dir: current.dir, Token: b.token(), Now: time.Now, Level: 1}); err != nil {
		t.Fatal(err)
	}
	b.open(current)
	b.eventually("the one that knows it stands by", func() bool { return b.places[0].log.Members()[current.ID()] == Standby })
	if role, ok := b.places[0].log.Members()[old.ID()]; ok {
		t.Errorf("the one that does not know it: %s", role)
	}
}
