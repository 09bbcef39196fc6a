package losses

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// Three classes of points of the plane: f_k(x) = a_k·x − ½ b_k‖x‖², θ = (a₁, b₁, a₂, …), and t behind x.
const labelDim, labelClasses = 2, 3

func logitPoint(theta []float64, k int, x []float64) (f float64, g []float64, curve float64) {
	a, b := theta[3*k:3*k+2], theta[3*k+2]
	f = inner(a, x) - b*inner(x, x)/2
	return f, []float64{a[0] - b*x[0], a[1] - b*x[1]}, -b
}

// jointPoint is E(x, t) with its derivatives by all of (x, t): with p the softmax of f + t and ∇F_k = (∇f_k, e_k),
// ∇E = −Σ p_k ∇F_k and ∇²E = −Σ p_k ∇²f_k − Σ p_k ∇F_k∇F_kᵀ + (Σ p_k ∇F_k)(Σ p_k ∇F_k)ᵀ.
func jointPoint(theta, row []float64) point {
	const d, n = labelDim, labelDim + labelClasses
	x, t := row[:d], row[d:]
	var z float64
	p, slopes, curves := make([]float64, labelClasses), make([][]float64, labelClasses), make([]float64, labelClasses)
	for k := range p {
		f, g, c := logitPoint(theta, k, x)
		p[k] = math.Exp(f + t[k])
		z += p[k]
		slopes[k] = append(append([]float64{}, g...), make([]float64, labelClasses)...)
		slopes[k][d+k], curves[k] = 1, c
	}
	out := point{e: -math.Log(z), g: make([]float64, n), h: make([][]float64, n)}
	for i := range out.h {
		out.h[i] = make([]float64, n)
	}
	for k := range p {
		p[k] /= z
		for i, s := range slopes[k] {
			out.g[i] -= p[k] * s
		}
	}
	for i := range n {
		for j := range n {
			out.h[i][j] = out.g[i] * out.g[j]
			for k := range p {
				out.h[i][j] -= p[k] * slopes[k][i] * slopes[k][j]
				if i == j && i < d {
					out.h[i][j] -= p[k] * curves[k]
				}
			}
		}
	}
	return out
}

// marginPoint is jointPoint in x alone, at given weights.
func marginPoint(t []float64) energy {
	return func(theta, x []float64) point {
		p := jointPoint(theta, append(append([]float64{}, x...), t...))
		h := [][]float64{p.h[0][:labelDim], p.h[1][:labelDim]}
		return point{e: p.e, g: p.g[:labelDim], h: h}
	}
}

func classWeights(class int) []float64 {
	t := []float64{-1e4, -1e4, -1e4}
	t[class] = 0
	return t
}

func labelModels(at energy) (joint, margin *testModel) {
	theta := []float32{0.5, -1, 1, -0.7, 0.3, 1.5, 0.1, 0.9, 0.8}
	return &testModel{dim: labelDim + labelClasses, theta: theta, energy: jointPoint}, &testModel{dim: labelDim, theta: slices.Clone(theta), energy: at}
}

func labelBatch(n int, class func(i int) int) (joint, items Batch) {
	items = Batch{N: n, Dim: labelDim, X: make([]float32, n*labelDim)}
	rng.NewKey(3).Normals(items.X, 0, 0)
	joint = Batch{N: n, Dim: labelDim + labelClasses}
	for i := range n {
		joint.X = append(joint.X, items.X[i*labelDim:(i+1)*labelDim]...)
		joint.X = append(joint.X, narrow(classWeights(class(i)))...)
	}
	return joint, items
}

var labelledLosses = []string{
	"sm", "ssm:projections=2", "sm-hutchinson:vectors=gaussian", "dsm:sigma=0.2,0.5", "energy-discrepancy:m=3", "nce:nu=2",
	"dsm:gradient-penalty=0.3:l2=0.1", "nce:l1=0.1", "sm:gradient-penalty=0.2",
}

// A labelled loss is, with one class in the batch, the plain loss of −f_y, and without classes that of −log Σ exp f: values, terms and
// gradients, and the same draws.
func TestLabelledIsTheLossOfItems(t *testing.T) {
	for _, text := range labelledLosses {
		for class := -1; class < labelClasses; class++ {
			weights := make([]float64, labelClasses)
			if class >= 0 {
				weights = classWeights(class)
			}
			joint, margin := labelModels(marginPoint(weights))
			jointBatch, items := labelBatch(5, func(i int) int {
				if class < 0 {
					return i % labelClasses
				}
				return class
			})
			run := func(m *testModel, b Batch, wrap func(Loss) Loss) (Result, []float32) {
				l, err := New(text, Options{})
				require.NoError(t, err)
				grad := make([]float32, len(m.theta))
				r, err := Run(t.Context(), m, wrap(l), b, rng.NewKey(7), grad)
				require.NoError(t, err, text)
				require.Zero(t, m.open)
				return r, grad
			}
			want, wantGrad := run(margin, items, func(l Loss) Loss { return l })
			got, gotGrad := run(joint, jointBatch, func(l Loss) Loss { return &Labelled{Of: l, Classes: labelClasses, ByClass: class >= 0} })
			require.InEpsilon(t, want.Loss, got.Loss, 1e-5, "%s class %d", text, class)
			require.Equal(t, names(want.Terms), names(got.Terms))
			for i, term := range want.Terms {
				require.InDelta(t, term.Value, got.Terms[i].Value, 1e-5, "%s %s", text, term.Name)
			}
			for i := range wantGrad {
				require.InDelta(t, wantGrad[i], gotGrad[i], 2e-4, "%s class %d, parameter %d", text, class, i)
			}
		}
	}
}

// Each item is under the energy of its own class.
func TestLabelledByClass(t *testing.T) {
	classOf := func(i int) int { return i * 2 % labelClasses }
	joint, _ := labelModels(nil)
	b, items := labelBatch(6, classOf)
	want := 0.0
	for i := range items.N {
		p := marginPoint(classWeights(classOf(i)))(widen(joint.theta), widen(items.X[i*labelDim:(i+1)*labelDim]))
		want += (inner(p.g, p.g)/2 - p.lap()) / float64(items.N)
	}
	l := &Labelled{Of: &ScoreMatching{}, Classes: labelClasses, ByClass: true}
	r, err := Run(t.Context(), joint, l, b, rng.NewKey(1), nil)
	require.NoError(t, err)
	require.InDelta(t, want, r.Loss, 1e-6)
	require.Equal(t, "sm by class", l.Name())
	require.True(t, NeedsSecondOrder(l))
}

// The cross-entropy is that of the softmax; its gradient and everything else agree with differences.
func TestLabelledCrossEntropy(t *testing.T) {
	classOf := func(i int) int { return i % labelClasses }
	b, items := labelBatch(6, classOf)
	for _, text := range append([]string{"cd"}, labelledLosses...) {
		joint, _ := labelModels(nil)
		of, err := New(text, Options{})
		require.NoError(t, err)
		l := &Labelled{Of: of, Classes: labelClasses, CrossEntropy: 0.7}
		batch := b
		if text == "cd" {
			batch.Neg, batch.M = slices.Clone(b.X[:2*b.Dim]), 2
		}
		r, err := Run(t.Context(), joint, l, batch, rng.NewKey(1), nil)
		require.NoError(t, err)
		want := 0.0
		for i := range items.N {
			var z, own float64
			for k := range labelClasses {
				f, _, _ := logitPoint(widen(joint.theta), k, widen(items.X[i*labelDim:(i+1)*labelDim]))
				z += math.Exp(f)
				if k == classOf(i) {
					own = f
				}
			}
			want += (math.Log(z) - own) / float64(items.N)
		}
		entropy, ok := r.Term("cross_entropy")
		require.True(t, ok)
		require.InDelta(t, want, entropy, 1e-6)
		report, err := CheckGradients(t.Context(), joint, l, batch, CheckOptions{})
		require.NoError(t, err)
		require.Less(t, report.Worst.Error, 5e-3, "%s: %+v", text, report.Worst)
	}
}

// The class of largest f counts, whatever the loss sees; rows with a NaN are not correct.
func TestLabelledCorrect(t *testing.T) {
	joint, _ := labelModels(jointPoint)
	m := &evaluator{testModel: joint}
	b, items := labelBatch(60, func(i int) int { return i % labelClasses })
	theta, want, seen := widen(joint.theta), 0, map[int]bool{}
	for i := range items.N {
		best, at := math.Inf(-1), 0
		for k := range labelClasses {
			if f, _, _ := logitPoint(theta, k, widen(items.X[i*labelDim:(i+1)*labelDim])); f > best {
				best, at = f, k
			}
		}
		seen[at] = true
		if at == i%labelClasses {
			want++
		}
	}
	require.Len(t, seen, labelClasses)
	for _, byClass := range []bool{false, true} {
		l := &Labelled{Of: &ScoreMatching{}, Classes: labelClasses, ByClass: byClass}
		got, err := l.Correct(t.Context(), m, b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	l := &Labelled{Of: &ScoreMatching{}, Classes: labelClasses}
	b.X[0] = float32(math.NaN())
	got, err := l.Correct(t.Context(), m, Batch{N: 1, Dim: b.Dim, X: b.X[:b.Dim]})
	require.NoError(t, err)
	require.Zero(t, got)
}

func TestLabelledRefuses(t *testing.T) {
	joint, _ := labelModels(nil)
	b, _ := labelBatch(2, func(int) int { return 0 })
	_, err := Run(t.Context(), joint, &Labelled{Of: &ScoreMatching{}, Classes: 5}, b, rng.NewKey(1), nil)
	require.ErrorContains(t, err, "rows of 5 values cannot end with the weights of 5 classes")
	found, ok := As[*ScoreMatching](&Labelled{Of: &ScoreMatching{}})
	require.True(t, ok)
	require.NotNil(t, found)
	_, ok = As[*NCE](&Labelled{Of: &ScoreMatching{}})
	require.False(t, ok)
}
