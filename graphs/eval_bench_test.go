package graphs

import "testing"

func benchNode(b *testing.B, op string, attrs Attrs, ins ...*Array) {
	n := &Node{Op: op, Attrs: attrs, Out: []*Value{{}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := evaluateNode(n, ins); err != nil {
			b.Fatal(err)
		}
	}
}

func sawtooth(dims ...int) *Array {
	a := arrF(dims, make([]float64, product(dims))...)
	for i := range a.F {
		a.F[i] = float64(i%17) / 17
	}
	return a
}

// BenchmarkEvaluateScalar is the cost of a node of shape arithmetic.
func BenchmarkEvaluateScalar(b *testing.B) { benchNode(b, "Mul", nil, arrI(nil, 3), arrI(nil, 4)) }

func BenchmarkEvaluateBroadcast(b *testing.B) {
	benchNode(b, "Add", nil, sawtooth(512, 512), sawtooth(512))
}

func BenchmarkEvaluateMatMul(b *testing.B) {
	benchNode(b, "MatMul", nil, sawtooth(256, 256), sawtooth(256, 256))
}

func BenchmarkEvaluateConv(b *testing.B) {
	benchNode(b, "Conv", Attrs{"pads": []int64{1, 1, 1, 1}}, sawtooth(4, 16, 32, 32), sawtooth(32, 16, 3, 3))
}

func BenchmarkEvaluateReduceSum(b *testing.B) {
	benchNode(b, "ReduceSum", nil, sawtooth(512, 512), vecI(0))
}
