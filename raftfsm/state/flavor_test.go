package state

import "testing"

func flavored(t *testing.T) *log {
	l := newLog(t)
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo", Ironic: &IronicAccess{Auth: "cloud", Cloud: "lab"}, Flavors: []Flavor{{Name: "small"}}}})
	return l
}

func made(index uint64, flavors ...FlavorReport) ReportFlavors {
	return ReportFlavors{[]ClusterFlavorReport{{"demo", FlavorStatus{Begun: true, Index: index, Flavors: flavors}}}}
}

func TestFlavorsAreSettledOnceTheDeclarationIsBroughtAbout(t *testing.T) {
	for name, tt := range map[string]struct {
		commands []Command
		settled  bool
		why      string
	}{
		"not looked at":        {nil, false, ""},
		"announced":            {[]Command{made(0)}, false, ""},
		"made":                 {[]Command{made(1, FlavorReport{Name: "small", ID: "f1"})}, true, ""},
		"refused":              {[]Command{made(1, FlavorReport{Name: "small", Error: "taken"})}, false, "flavor small: taken"},
		"declared anew":        {[]Command{made(1, FlavorReport{Name: "small", ID: "f1"}), ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 1}}, false, ""},
		"no cluster like this": {[]Command{ReportFlavors{[]ClusterFlavorReport{{"other", FlavorStatus{Index: 1}}}}}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := flavored(t)
			l.must(tt.commands...)
			c, _ := l.snap().Cluster("demo")
			if settled, why := c.FlavorsSettled(); settled != tt.settled || why != tt.why {
				t.Errorf("settled %t, %q; want %t, %q", settled, why, tt.settled, tt.why)
			}
		})
	}
}

func TestAReportOfFlavorsKeepsTheDeclaration(t *testing.T) {
	l := flavored(t)
	l.must(made(1, FlavorReport{Name: "small", ID: "f1"}))
	c, _ := l.snap().Cluster("demo")
	if c.ModifyIndex != 1 || len(c.Flavors) != 1 {
		t.Errorf("declared at %d with %d flavors, want 1 and 1", c.ModifyIndex, len(c.Flavors))
	}
	l.must(ApplyCluster{Cluster: Cluster{Name: "demo", FlavorStatus: FlavorStatus{Error: "forged"}}, Expect: 1})
	if c, _ = l.snap().Cluster("demo"); !c.FlavorStatus.Begun || c.FlavorStatus.Error != "" {
		t.Errorf("status %+v, want the one that was reported", c.FlavorStatus)
	}
}

func TestAClusterStaysUntilItsFlavorsAreGone(t *testing.T) {
	for name, tt := range map[string]struct {
		commands []Command
		there    bool
	}{
		"still in Nova": {[]Command{RemoveCluster{Name: "demo"}}, true},
		"gone":          {[]Command{RemoveCluster{Name: "demo"}, ReportFlavors{[]ClusterFlavorReport{{Cluster: "demo"}}}}, false},
		"forgotten":     {[]Command{RemoveCluster{Name: "demo", Forget: true}}, false},
		"forgotten later": {[]Command{RemoveCluster{Name: "demo"}, RemoveCluster{Name: "demo", Forget: true}},
			false},
		"no cloud": {[]Command{ApplyCluster{Cluster: Cluster{Name: "demo"}, Expect: 1}, RemoveCluster{Name: "demo"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := flavored(t)
			l.must(made(1, FlavorReport{Name: "small", ID: "f1"}))
			l.must(tt.commands...)
			if _, there := l.snap().Cluster("demo"); there != tt.there {
				t.Errorf("there: %t, want %t", there, tt.there)
			}
		})
	}
}
