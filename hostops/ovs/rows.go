package ovs

import (
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
)

// The database and the tables of ovs-vswitchd.conf.db(5) that are read here.
const (
	database        = "Open_vSwitch"
	tableRoot       = "Open_vSwitch"
	tableBridge     = "Bridge"
	tablePort       = "Port"
	tableInterface  = "Interface"
	kindPatch       = "patch"
	kindInternal    = "internal"
	optionPeer      = "peer"
	configHWAddress = "hwaddr"
)

// The rows have the columns that are read or written here, and no other, so that no other
// can be changed.
type (
	rootRow struct {
		UUID    string   `ovsdb:"_uuid"`
		Bridges []string `ovsdb:"bridges"`
		NextCfg int      `ovsdb:"next_cfg"`
		CurCfg  int      `ovsdb:"cur_cfg"`
	}
	bridgeRow struct {
		UUID         string            `ovsdb:"_uuid"`
		Name         string            `ovsdb:"name"`
		Ports        []string          `ovsdb:"ports"`
		DatapathType string            `ovsdb:"datapath_type"`
		OtherConfig  map[string]string `ovsdb:"other_config"`
		ExternalIDs  map[string]string `ovsdb:"external_ids"`
	}
	portRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Interfaces  []string          `ovsdb:"interfaces"`
		Tag         *int              `ovsdb:"tag"`
		Trunks      []int             `ovsdb:"trunks"` // written only
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	interfaceRow struct {
		UUID       string            `ovsdb:"_uuid"`
		Name       string            `ovsdb:"name"`
		Type       string            `ovsdb:"type"`
		Options    map[string]string `ovsdb:"options"`
		MTURequest *int              `ovsdb:"mtu_request"`
		OFPort     *int              `ovsdb:"ofport"`
		Error      *string           `ovsdb:"error"`
	}
)

func dbModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel(database, map[string]model.Model{
		tableRoot: &rootRow{}, tableBridge: &bridgeRow{}, tablePort: &portRow{}, tableInterface: &interfaceRow{},
	})
}

// monitored asks for these columns only: statistics change all the time.
func monitored() []client.MonitorOption {
	r, b, p, i := &rootRow{}, &bridgeRow{}, &portRow{}, &interfaceRow{}
	return []client.MonitorOption{
		client.WithTable(r, &r.Bridges, &r.NextCfg, &r.CurCfg),
		client.WithTable(b, &b.Name, &b.Ports, &b.DatapathType, &b.OtherConfig, &b.ExternalIDs),
		client.WithTable(p, &p.Name, &p.Interfaces, &p.Tag, &p.ExternalIDs),
		client.WithTable(i, &i.Name, &i.Type, &i.Options, &i.MTURequest, &i.OFPort, &i.Error),
	}
}

// tables is the database at one moment, by UUID.
type tables struct {
	root       *rootRow
	bridges    map[string]*bridgeRow
	ports      map[string]*portRow
	interfaces map[string]*interfaceRow
}

func (t tables) bridge(name string) *bridgeRow {
	for _, b := range t.bridges {
		if b.Name == name {
			return b
		}
	}
	return nil
}

func (t tables) port(name string) *portRow {
	for _, p := range t.ports {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (t tables) iface(name string) *interfaceRow {
	for _, i := range t.interfaces {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// holder returns the bridge that a port is in; nil: none.
func (t tables) holder(port string) *bridgeRow {
	for _, b := range t.bridges {
		for _, p := range b.Ports {
			if p == port {
				return b
			}
		}
	}
	return nil
}

// observed turns the database into values.
func observed(mesh string, t tables) Have {
	have := Have{Mesh: mesh, Bridges: map[string]HasBridge{}, Ports: map[string]HasPort{}}
	for _, b := range t.bridges {
		out := HasBridge{Name: b.Name, MAC: b.OtherConfig[configHWAddress], Datapath: b.DatapathType, Mark: parseMark(mesh, b.ExternalIDs)}
		if out.Datapath == "" {
			out.Datapath = DatapathSystem
		}
		if own := t.iface(b.Name); own != nil && own.MTURequest != nil {
			out.MTU = *own.MTURequest
		}
		have.Bridges[b.Name] = out
		for _, uuid := range b.Ports {
			if p := t.ports[uuid]; p != nil {
				have.Ports[p.Name] = t.observedPort(mesh, b.Name, p)
			}
		}
	}
	return have
}

func (t tables) observedPort(mesh, bridge string, p *portRow) HasPort {
	out := HasPort{Name: p.Name, Bridge: bridge, Kind: "bond", Mark: parseMark(mesh, p.ExternalIDs)}
	if p.Tag != nil {
		out.Tag = *p.Tag
	}
	if len(p.Interfaces) != 1 || t.interfaces[p.Interfaces[0]] == nil {
		return out
	}
	i := t.interfaces[p.Interfaces[0]]
	out.Kind = i.Type
	if i.Type == "system" {
		out.Kind = ""
	}
	if i.Type == kindPatch {
		out.Peer = i.Options[optionPeer]
	}
	if i.Error != nil {
		out.Error = *i.Error
	}
	out.Open = i.OFPort != nil && *i.OFPort > 0
	return out
}
