package losses

import (
	"testing"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

func FuzzReplayBufferLoad(f *testing.F) {
	r := &ReplayBuffer{Size: 2}
	if err := r.ensure(1, 3, rng.NewKey(0)); err != nil {
		f.Fatal(err)
	}
	f.Add(r.State())
	f.Add((&ReplayBuffer{}).State())
	f.Fuzz(func(t *testing.T, state []byte) {
		var r ReplayBuffer
		if r.Load(state) == nil && string(r.State()) != string(state) {
			t.Fatal("an accepted state changed")
		}
	})
}

func FuzzNew(f *testing.F) {
	for _, usage := range Usages() {
		f.Add(usage)
	}
	f.Add("dsm:sigma=0.1,0.3:weight=one")
	f.Fuzz(func(t *testing.T, text string) {
		if loss, err := New(text, Options{}); (loss == nil) == (err == nil) {
			t.Fatalf("loss %v, error %v", loss, err)
		}
	})
}
