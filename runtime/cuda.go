package runtime

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

const cudaProvider = "CUDAExecutionProvider"

var (
	cudaMutex   sync.Mutex
	cudaChecked = map[int]error{}
)

// checkCUDA runs a small graph on the device, once per device and process, so
// that a device that can't be had is an error of Open.
func (r *Runtime) checkCUDA() error {
	if !slices.Contains(r.lib.providers, cudaProvider) {
		return r.noCUDA(fmt.Errorf("%s was built without CUDA; get one with CUDA: %s --cuda", r.lib.path, installCommand))
	}
	cudaMutex.Lock()
	defer cudaMutex.Unlock()
	err, done := cudaChecked[r.device.id]
	if !done {
		err = r.tryCUDA()
		cudaChecked[r.device.id] = err
	}
	if err != nil {
		return r.noCUDA(fmt.Errorf("%s; it needs an NVIDIA driver, and CUDA 13 and cuDNN 9 where the loader finds them (%s --cuda gets ONNX Runtime alone); or use --device cpu", reason(err), installCommand))
	}
	return nil
}

func (r *Runtime) noCUDA(err error) error {
	return fmt.Errorf("runtime: device %s: %w", r.device, err)
}

func (r *Runtime) tryCUDA() error {
	p, err := r.Compile(Model{Name: "device test", Bytes: doubleModel, Inputs: []Port{{Name: "x"}}, Outputs: []Port{{Name: "y"}}})
	if err != nil {
		return err
	}
	defer p.Close()
	b, err := p.Bind(1, BindOptions{})
	if err != nil {
		return err
	}
	defer b.Close()
	b.In("x")[0] = 21
	if err := b.Run(context.Background()); err != nil {
		return err
	}
	if n := repairSignals(); n > 0 {
		r.log.Debug("signal handlers of CUDA repaired", "count", n)
	}
	if y := b.Out("y")[0]; y != 42 {
		return fmt.Errorf("the device computes 21+21=%v", y)
	}
	return nil
}

func appendCUDA(o *ort.SessionOptions, id int) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy()
	if err := cuda.Update(map[string]string{"device_id": strconv.Itoa(id)}); err != nil {
		return err
	}
	return o.AppendExecutionProviderCUDA(cuda)
}

// doubleModel is y = x + x for x [N], opset 13, IR version 8.
var doubleModel = []byte("\x08\x08\x42\x02\x10\x0d\x3a\x31" +
	"\x0a\x0e\x0a\x01x\x0a\x01x\x12\x01y\x22\x03Add" + "\x12\x01g" +
	"\x5a\x0d\x0a\x01x\x12\x08\x0a\x06\x08\x01\x12\x02\x0a\x00" +
	"\x62\x0d\x0a\x01y\x12\x08\x0a\x06\x08\x01\x12\x02\x0a\x00")

// reason cuts ONNX Runtime's places in its source off an error.
func reason(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	for _, mark := range []string{"[ONNXRuntimeError] : ", " : FAIL : ", " with error: "} {
		if _, after, found := strings.Cut(line, mark); found {
			line = after
		}
	}
	return line
}
