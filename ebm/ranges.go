package ebm

// TrainableRanges lists the trainable stretches [from, to) of Params in rising order, neighbours joined. It implements
// losses.PartlyTrainable, so that L1 and L2 penalties regard these alone.
func (e *Energy) TrainableRanges() [][2]int {
	var ranges [][2]int
	for _, q := range e.params.List {
		from, to := q.Offset, q.Offset+q.Len
		switch last := len(ranges) - 1; {
		case !q.Trainable || from == to:
		case last >= 0 && ranges[last][1] == from:
			ranges[last][1] = to
		default:
			ranges = append(ranges, [2]int{from, to})
		}
	}
	return ranges
}
