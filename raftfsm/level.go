package raftfsm

import (
	"fmt"

	"tenks/raftfsm/state"
)

// Level is the newest level that this version knows: every field and kind up to it. A peer
// passes over a field of a later one without a word and so would have another state than
// the rest; that is why commands use no more than the mesh's level (state.RaiseLevel).
//
// Who adds a field or a kind puts it into the table of the newest level below. Once a version
// with that level is in use somewhere, a new level is begun: see DESIGN.md, Levels.
const Level = 1

// newFields are the fields of commands and rows that are not of level 0, as "Type.Field",
// with the level that they came with, and what people call them. Fields of types that came
// with a level are in newTypes as a whole.
var newFields = map[string]since{
	"Cluster.Flavors":          {1, "nova_flavors"},
	"Cluster.FlavorStatus":     {1, "nova_flavors"},
	"Cluster.WaitForPlacement": {1, "wait_for_placement"},
	"Cluster.IronicLimits":     {1, "ironic.concurrency or ironic.rate"},
	"Spec.Nodes":               {1, "specs.nodes"},
	"Spec.VolumePrefix":        {1, "specs.vol_name_prefix"},

	"Node.Origin":            {1, "a node that was there before"},
	"Node.Anew":              {1, "a node that is made anew"},
	"Node.AdoptIronic":       {1, "the adoption of a record of Ironic"},
	"Node.RecoverIndex":      {1, "tenks node recover"},
	"NodeChange.Anew":        {1, "a node that is made anew"},
	"NodeChange.AdoptIronic": {1, "the adoption of a record of Ironic"},
	"Node.Pin":               {1, "specs.nodes.hypervisor"},
	"NodeChange.Pin":         {1, "specs.nodes.hypervisor"},
	"DrainPeer.Pins":         {1, "tenks peer drain --ignore-pins"},
	"NodeChange.Endpoint":    {1, "a BMC's port that changes"},

	"Machine.Trunks":   {1, "a trunk port"},
	"Machine.Hardware": {1, "an option of a node type"},
	"Port.Trunk":       {1, "a trunk port"},
	"Volume.Copy":      {1, "volumes.copy"},
	"Volume.Checksum":  {1, "volumes.checksum"},
	"Volume.Format":    {1, "volumes.format"},
	"Volume.Path":      {1, "volumes.path"},
	"Volume.Pool":      {1, "volumes.pool"},
	"Volume.Bus":       {1, "volumes.bus"},
	"Volume.Cache":     {1, "volumes.cache"},
	"Volume.Discard":   {1, "volumes.discard"},
	"Volume.Serial":    {1, "volumes.serial"},
	"Volume.WWN":       {1, "volumes.wwn"},
	"Volume.Made":      {1, "a volume that is made anew"},

	// These only have the words: Machine.Hardware has the level.
	"Hardware.Arch":                {1, "architecture"},
	"Hardware.MachineType":         {1, "machine"},
	"Hardware.CPUMode":             {1, "cpu_mode"},
	"Hardware.CPUModel":            {1, "cpu_model"},
	"Hardware.Topology":            {1, "cpu_topology"},
	"Hardware.VolumePrefix":        {1, "specs.vol_name_prefix"},
	"Hardware.ClockOffset":         {1, "clock_offset"},
	"Hardware.DiskBus":             {1, "disk_bus"},
	"Hardware.DiskCache":           {1, "disk_cache"},
	"Hardware.NICModel":            {1, "nic_model"},
	"Hardware.NoConsoleLog":        {1, "console_log_enabled"},
	"Hardware.NewConsoleLog":       {1, "console_log_append"},
	"Hardware.ConsoleLogBytes":     {1, "console_log_size"},
	"Hardware.ConsoleLogKeep":      {1, "console_log_keep"},
	"Hardware.VNC":                 {1, "enable_vnc"},
	"Hardware.Spice":               {1, "enable_spice"},
	"Hardware.GuestAgent":          {1, "enable_guest_virtio"},
	"Hardware.SMBIOS":              {1, "smbios"},
	"Hardware.USBDevices":          {1, "usb_devices"},
	"Hardware.TrustGuestRXFilters": {1, "trust_guest_rx_filters"},
	"Hardware.CDROMs":              {1, "volumes.device: cdrom"},
	"Hardware.XMLOverlay":          {1, "xml_overlay"},

	"Enrolment.Shard":          {1, "ironic_config.shard"},
	"Enrolment.Owner":          {1, "ironic_config.owner"},
	"Enrolment.Lessee":         {1, "ironic_config.lessee"},
	"Enrolment.Objects":        {1, "properties that are no scalars"},
	"Enrolment.Extra":          {1, "ironic_config.extra"},
	"Enrolment.AutomatedClean": {1, "ironic_config.automated_clean"},
	"Enrolment.State":          {1, "ironic_config.state"},
	"Enrolment.Inspect":        {1, "ironic_config.inspect"},
	"Enrolment.Recover":        {1, "ironic_config.recover"},
	"Enrolment.PXE":            {1, "pxe_enabled"},
	"Enrolment.PortGroups":     {1, "port groups"},
	"Enrolment.NetworkData":    {1, "ironic_config.network_data"},

	// What peers report by themselves: see Withhold.
	"IronicStatus.Reached":    {1, "ironic_config.state"},
	"IronicStatus.Record":     {1, "the adoption of a record of Ironic"},
	"HostStatus.Display":      {1, "a node's screen"},
	"Hypervisor.Archs":        {1, "architectures of a hypervisor"},
	"Hypervisor.PhysnetLinks": {1, "overlays and MTUs of a hypervisor"},
	"Hypervisor.VXLAN":        {1, "overlays of a hypervisor"},
}

// newTypes are the types that came with a level, with all fields that they had then.
var newTypes = map[string]int{
	"CDROM": 1, "ClusterFlavorReport": 1, "Flavor": 1, "FlavorReport": 1, "FlavorStatus": 1, "Hardware": 1, "IronicLimits": 1,
	"Level": 1, "NamedNode": 1, "Origin": 1, "OriginLink": 1, "OriginVolume": 1, "PhysnetLink": 1, "PortGroup": 1, "Quota": 1,
	"QuotaRow": 1, "RaiseLevel": 1, "RecoverNodes": 1, "ReportFlavors": 1, "SMBIOS": 1, "SetQuota": 1, "Topology": 1, "USBDevice": 1,
}

// newKinds are the kinds of commands that are not of level 0. A peer that does not know one
// stops at it; so the leader does not let it come to that.
var newKinds = map[string]since{
	"recover-nodes":  {1, "tenks node recover"},
	"report-flavors": {1, "nova_flavors"},
	"set-quota":      {1, "a quota"},
	// raise-level is what others wait for: see state.RaiseLevel.
}

// since is the level that something came with, and what people call it.
type since struct {
	level int
	what  string
}

// raiseLevel reads a RaiseLevel, and refuses a level that this version does not know: what
// follows uses fields that it does not see.
func raiseLevel(b []byte) (state.Command, error) {
	c, err := body[state.RaiseLevel](b)
	if err != nil {
		return nil, err
	}
	level := c.(state.RaiseLevel).Level
	return c, known(&state.Level{Number: level})
}

// known refuses a level that this version does not know.
func known(l *state.Level) error {
	if l != nil && l.Number > Level {
		return fmt.Errorf("level %d, this version knows %d: %w", l.Number, Level, state.ErrNewer)
	}
	return nil
}

// readLevel reads the record of a snapshot's level.
func readLevel(d *state.Dump, b []byte) error {
	l := new(state.Level)
	if err := decoder.Unmarshal(b, l); err != nil {
		return err
	}
	if l.Number > 0 {
		d.Level = l
	}
	return known(l)
}

// levelRecord is what a snapshot says of the level; nil: nothing, so that it can be read by
// who knows of no levels. A state of level 0 that has more than that knows, because it is of
// before there were levels, says 0: such a peer refuses the record, and does not lose fields.
func levelRecord(d state.Dump) *state.Level {
	if d.Level == nil && needsOf(d).level > 0 {
		return &state.Level{}
	}
	return d.Level
}

// Needs returns the level that the mesh must have for a command or a row, and what in it
// needs that.
func Needs(v any) (level int, what string) {
	var need since
	if c, ok := v.(state.Command); ok {
		need = newKinds[state.Kind(c)]
	}
	if of := needsOf(v); of.level > need.level {
		need = of
	}
	return need.level, need.what
}

// Withhold returns a command or a row without what needs a level above the given one. It is for what
// peers report by themselves, and report again once the mesh can take it. What is given
// stays as it is.
func Withhold[T any](v T, level int) T { return withhold(v, level) }
