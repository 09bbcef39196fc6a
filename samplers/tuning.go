package samplers

// Tuning is what a kernel has adapted.
type Tuning struct{ Factor float64 }

func (t *Tuning) clone() *Tuning { return t }
