package graphs

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

var rnnKernels = kernelTable{
	"RNN":  {3, recurrent(1, 0, []string{"Tanh"}, stepRNN)},
	"GRU":  {3, recurrent(3, 0, []string{"Sigmoid", "Tanh"}, stepGRU)},
	"LSTM": {3, recurrent(4, 3, []string{"Sigmoid", "Tanh", "Tanh"}, stepLSTM)},
}

func init() { register(rnnKernels) }

// cell is one direction of a recurrent layer at one sample: everything a step needs.
type cell struct {
	n         int       // hidden size
	r, rb     []float64 // recurrence weights [gates·n, n], recurrence bias [gates·n]
	wb        []float64 // input bias [gates·n]
	peep      []float64 // peepholes [3·n] of LSTM, or nil
	act       []func(float64) float64
	clip      func(float64) float64
	linear    bool // linear_before_reset of GRU
	coupled   bool // input_forget of LSTM
	h, c, tmp []float64
}

// dot is row i of R times v.
func (l *cell) dot(i int, v []float64) float64 {
	s := 0.0
	for k, x := range v {
		s += l.r[i*l.n+k] * x
	}
	return s
}

// stepRNN is h = f(Wx + Rh + b).
func stepRNN(l *cell, x []float64) {
	for i := range l.n {
		l.tmp[i] = l.act[0](l.clip(x[i] + l.dot(i, l.h) + l.wb[i] + l.rb[i]))
	}
	copy(l.h, l.tmp)
}

// stepGRU is z, r = f(…), h̃ = g(Wx + R(r⊙h) + b) or with linear_before_reset g(Wx + r⊙(Rh + b_R) + b_W), h = (1−z)⊙h̃ + z⊙h.
func stepGRU(l *cell, x []float64) {
	n := l.n
	z, r, rh := l.tmp[:n], l.tmp[n:2*n], l.tmp[2*n:3*n]
	for i := range n {
		z[i] = l.act[0](l.clip(x[i] + l.dot(i, l.h) + l.wb[i] + l.rb[i]))
		r[i] = l.act[0](l.clip(x[n+i] + l.dot(n+i, l.h) + l.wb[n+i] + l.rb[n+i]))
		rh[i] = r[i] * l.h[i]
	}
	next := l.tmp[3*n : 4*n]
	for i := range n {
		g := 2*n + i
		var rec float64
		if l.linear {
			rec = r[i] * (l.dot(g, l.h) + l.rb[g])
		} else {
			rec = l.dot(g, rh) + l.rb[g]
		}
		next[i] = (1-z[i])*l.act[1](l.clip(x[g]+rec+l.wb[g])) + z[i]*l.h[i]
	}
	copy(l.h, next)
}

// stepLSTM has the gates i, o, f, c in this order: c = f⊙c + i⊙g(…), h = o⊙h(c).
func stepLSTM(l *cell, x []float64) {
	n := l.n
	gate := func(g, i int) float64 {
		k := g*n + i
		return x[k] + l.dot(k, l.h) + l.wb[k] + l.rb[k]
	}
	peep := func(g, i int, c float64) float64 {
		if l.peep == nil {
			return 0
		}
		return l.peep[g*n+i] * c
	}
	next := l.tmp[:n]
	for i := range n {
		in := l.act[0](l.clip(gate(0, i) + peep(0, i, l.c[i])))
		forget := 1 - in
		if !l.coupled {
			forget = l.act[0](l.clip(gate(2, i) + peep(2, i, l.c[i])))
		}
		c := forget*l.c[i] + in*l.act[1](l.clip(gate(3, i)))
		next[i] = l.act[0](l.clip(gate(1, i)+peep(1, i, c))) * l.act[2](c)
		l.c[i] = c
	}
	copy(l.h, next)
}

// recurrent runs a layer: X [T, B, I], W [D, G·n, I], R [D, G·n, n], B [D, 2G·n], sequence_lens [B], initial states [D, B, n], peepholes [D, 3n],
// with layout=1 the batch first. It gives Y [T, D, B, n] and the last states.
func recurrent(gates, peeps int, defaults []string, step func(*cell, []float64)) func(*call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		if err := needFloat(c.in[0], c.in[1], c.in[2], c.arg(3), c.arg(5), c.arg(6), c.arg(7)); err != nil {
			return nil, err
		}
		batchFirst := c.Int("layout", 0) != 0
		swap := func(a *Array, perm ...int) (*Array, error) {
			if a == nil || !batchFirst {
				return a, nil
			}
			return a.transpose(perm)
		}
		x, err := swap(c.in[0], 1, 0, 2)
		if err != nil {
			return nil, err
		}
		w, r := c.in[1], c.in[2]
		if len(x.Dims) != 3 || len(w.Dims) != 3 || len(r.Dims) != 3 {
			return nil, fmt.Errorf("dims %v, %v, %v are not of rank 3", x.Dims, w.Dims, r.Dims)
		}
		steps, batch, width, dirs, n := x.Dims[0], x.Dims[1], x.Dims[2], r.Dims[0], r.Dims[2]
		if !slices.Equal(w.Dims, []int{dirs, gates * n, width}) || !slices.Equal(r.Dims, []int{dirs, gates * n, n}) || dirs < 1 || dirs > 2 {
			return nil, fmt.Errorf("input %v, weights %v and %v", x.Dims, w.Dims, r.Dims)
		}
		optional := func(i int, dims ...int) ([]float64, error) {
			a := c.arg(i)
			if a == nil {
				return make([]float64, product(dims)), nil
			}
			if !slices.Equal(a.Dims, dims) {
				return nil, fmt.Errorf("input %d of dims %v, not %v", i, a.Dims, dims)
			}
			return a.F, nil
		}
		bias, err := optional(3, dirs, 2*gates*n)
		if err != nil {
			return nil, err
		}
		lens, err := c.ints(4)
		if err != nil {
			return nil, err
		}
		if c.arg(4) == nil {
			lens = slices.Repeat([]int{steps}, batch)
		}
		if len(lens) != batch || slices.ContainsFunc(lens, func(l int) bool { return l < 0 || l > steps }) {
			return nil, fmt.Errorf("sequence lengths %v for a batch of %d and %d steps", lens, batch, steps)
		}
		var states [2][]float64
		for i := range states {
			if a := c.arg(5 + i); a != nil && (i == 0 || gates == 4) {
				if a, err = swap(a, 1, 0, 2); err != nil {
					return nil, err
				}
				if !slices.Equal(a.Dims, []int{dirs, batch, n}) {
					return nil, fmt.Errorf("initial state of dims %v", a.Dims)
				}
				states[i] = slices.Clone(a.F)
			} else {
				states[i] = make([]float64, dirs*batch*n)
			}
		}
		var peep []float64
		if peeps > 0 && c.arg(7) != nil {
			if peep, err = optional(7, dirs, peeps*n); err != nil {
				return nil, err
			}
		}
		acts, err := activations(c, defaults, dirs)
		if err != nil {
			return nil, err
		}
		reversed := []bool{c.Text("direction", "forward") == "reverse", true}
		limit := func(v float64) float64 { return v }
		if t := c.float("clip", 0); t > 0 {
			limit = func(v float64) float64 { return min(max(v, -t), t) }
		}
		y, err := newArray(x.DType, []int{steps, dirs, batch, n})
		if err != nil {
			return nil, err
		}
		rows := gates * n
		wx := make([]float64, steps*batch*rows)
		for d := range dirs {
			clear(wx)
			mulAdd(wx, x.F, w.F[d*rows*width:][:rows*width], steps*batch, width, rows, false, true)
			l := &cell{
				n: n, r: r.F[d*rows*n:][:rows*n], wb: bias[d*2*rows:][:rows], rb: bias[d*2*rows+rows:][:rows],
				act: acts[d], clip: limit, tmp: make([]float64, 4*n),
				linear: c.Int("linear_before_reset", 0) != 0, coupled: c.Int("input_forget", 0) != 0,
			}
			if peep != nil {
				l.peep = peep[d*peeps*n:][:peeps*n]
			}
			for b := range batch {
				at := (d*batch + b) * n
				l.h, l.c = states[0][at:][:n], states[1][at:][:n]
				for s := range lens[b] {
					t := s
					if reversed[d] {
						t = lens[b] - 1 - s
					}
					step(l, wx[(t*batch+b)*rows:][:rows])
					copy(y.F[((t*dirs+d)*batch+b)*n:], l.h)
				}
			}
		}
		if y, err = swap(y, 2, 0, 1, 3); err != nil {
			return nil, err
		}
		outs := []*Array{y}
		for _, s := range states {
			last, err := swap(reals(x.DType, []int{dirs, batch, n}, s), 1, 0, 2)
			if err != nil {
				return nil, err
			}
			outs = append(outs, last)
		}
		if gates != 4 {
			outs = outs[:2]
		}
		return outs, nil
	}
}

// parametric lists the activations that take values from activation_alpha and activation_beta, with their defaults.
var parametric = map[string]struct {
	alpha, beta   float64
	hasA, hasB    bool
	withParameter func(x, alpha, beta float64) float64
}{
	"affine":          {1, 0, true, true, func(x, a, b float64) float64 { return a*x + b }},
	"leakyrelu":       {0.01, 0, true, false, func(x, a, _ float64) float64 { return leaky(x, a) }},
	"elu":             {1, 0, true, false, func(x, a, _ float64) float64 { return elu(x, a) }},
	"thresholdedrelu": {1, 0, true, false, func(x, a, _ float64) float64 { return x * float64(truth(x >= a)) }},
	"scaledtanh":      {1, 1, true, true, func(x, a, b float64) float64 { return a * math.Tanh(b*x) }},
	"hardsigmoid":     {0.2, 0.5, true, true, hardSigmoid},
}

var plain = map[string]func(float64) float64{
	"relu": relu, "tanh": math.Tanh, "sigmoid": sigmoid, "softsign": softsign, "softplus": softplus,
}

// activations resolves the activation names, case-insensitively, per direction; parameters are consumed in order by the activations that have them.
func activations(c *call, defaults []string, dirs int) ([][]func(float64) float64, error) {
	names, ok := c.Attrs["activations"].([]string)
	if !ok || len(names) == 0 {
		names = slices.Repeat(defaults, dirs)
	}
	if len(names) != dirs*len(defaults) {
		return nil, fmt.Errorf("activations %v for %d directions", names, dirs)
	}
	alphas, betas := c.FloatList("activation_alpha"), c.FloatList("activation_beta")
	take := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := float64((*list)[0])
		*list = (*list)[1:]
		return v
	}
	acts := make([][]func(float64) float64, dirs)
	for i, name := range names {
		d := i / len(defaults)
		name = strings.ToLower(name)
		if f, ok := plain[name]; ok {
			acts[d] = append(acts[d], f)
			continue
		}
		p, ok := parametric[name]
		if !ok {
			return nil, errors.New("activation " + name + " is not known")
		}
		a, b := p.alpha, p.beta
		if p.hasA {
			a = take(&alphas, a)
		}
		if p.hasB {
			b = take(&betas, b)
		}
		acts[d] = append(acts[d], func(x float64) float64 { return p.withParameter(x, a, b) })
	}
	return acts, nil
}
