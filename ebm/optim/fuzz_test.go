package optim

import "testing"

func FuzzLoad(f *testing.F) {
	o := NewAdam()
	if err := o.Step(make([]float32, 2), make([]float32, 2), 0.1); err != nil {
		f.Fatal(err)
	}
	f.Add(o.State())
	f.Add(NewAdam().State())
	f.Fuzz(func(t *testing.T, state []byte) {
		o := NewAdam()
		if o.Load(state) == nil && o.steps > 0 && string(o.State()) != string(state) {
			t.Fatal("an accepted state changed")
		}
	})
}
