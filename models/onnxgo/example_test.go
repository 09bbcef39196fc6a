package onnxgo_test

import (
	"fmt"
	"log"
	"os"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/onnx-ebm/onnx-ebm/models/onnxgo"
	"github.com/onnx-ebm/onnx-ebm/runtime"
)

// The energy and the score of two points; the file maps x [N, 2] to energy [N].
func Example() {
	rt, err := runtime.Open(runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.ReadFile("energy.onnx")
	if err != nil {
		log.Fatal(err)
	}
	backend, err := onnxgo.New(rt, onnxgo.WithModel(file)) // in place of gorgonnx.NewGraph()
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	model := onnx.NewModel(backend)
	if err := model.UnmarshalBinary(file); err != nil {
		log.Fatal(err)
	}
	x := tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{1, 2, 3, 4}))
	if err := model.SetInput(0, x); err != nil {
		log.Fatal(err)
	}
	if err := backend.Run(); err != nil {
		log.Fatal(err)
	}
	outputs, err := model.GetOutputTensors()
	if err != nil {
		log.Fatal(err)
	}
	gradients, err := backend.Gradient("energy", "x")
	if err != nil {
		log.Fatal(err)
	}
	score, err := tensor.Neg(gradients[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(outputs[0], score)
}
