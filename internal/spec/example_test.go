package spec_test

import (
	"fmt"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

func Example() {
	s, err := spec.Parse("mlp:128,64:act=silu")
	if err != nil {
		fmt.Println(err)
		return
	}
	hidden := s.ListInts(32)
	act := s.Word("act", "relu", "relu", "silu", "tanh")
	if err := s.Done(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Name, hidden, act)
	// Output: mlp [128 64] silu
}
