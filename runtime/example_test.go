package runtime_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// An energy file maps x [N, 2] to energy [N].
func Example() {
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	onnx, err := os.ReadFile("energy.onnx")
	if err != nil {
		log.Fatal(err)
	}
	program, err := rt.Compile(runtime.Model{
		Name:    "energy",
		Bytes:   onnx,
		Inputs:  []runtime.Port{{Name: "x", Item: []int64{2}}},
		Outputs: []runtime.Port{{Name: "energy"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer program.Close()
	binding, err := program.Bind(1000, runtime.BindOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer binding.Close()
	copy(binding.In("x"), []float32{0.5, -0.5})
	if err := binding.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(binding.Out("energy")[0])
}
