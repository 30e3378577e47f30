package sensor

// Crossed says which thresholds a reading is at or beyond, one bit per Level. before is
// what it said of the reading before: a threshold that was crossed stays so until the
// reading has gone back by the hysteresis, so that one that hangs about it does not
// cross it again and again.
func Crossed(v float64, l Limits, hysteresis float64, before uint8) uint8 {
	var now uint8
	for at := LowerFatal; at < Levels; at++ {
		if !l.Has(at) {
			continue
		}
		slack := 0.0
		if before&(1<<at) != 0 {
			slack = hysteresis
		}
		if at < UpperCaution && v <= l[at]+slack || at >= UpperCaution && v >= l[at]-slack {
			now |= 1 << at
		}
	}
	return now
}
