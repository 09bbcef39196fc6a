package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"

	"github.com/onnx-ebm/onnx-ebm/internal/share"
)

// BindOptions says which memory and tiles a binding uses; the zero value makes
// its own memory and follows the default rule for tiles.
type BindOptions struct {
	// Shared gives memory for Shared inputs by name, such as parts of one flat
	// parameter store. It is aliased: later changes are seen by the next run (on
	// CUDA after Changed). Inputs not named get zeroed memory of their own.
	Shared map[string][]float32

	// Rows does the same for Rows inputs and outputs: n items of memory each.
	Rows map[string][]float32

	// Tile is the largest number of rows of a tile; 0: the default rule.
	// Tiles is the number of tiles, such as another binding has; it wins.
	Tile, Tiles int
}

// Binding is a program with memory for n rows. Different tiles may run at the
// same time; otherwise a binding is used by one goroutine at a time.
// Bound memory is pinned and kept alive until Close.
type Binding struct {
	*resources
	n       int
	in, out map[string][]float32
	sums    []sum
	runTile func(context.Context, int) error
}

// sum is an output that is added up over the tiles.
type sum struct {
	total []float32
	parts [][]float32
}

// resources is what has to be given back; it does not refer to its Binding.
type resources struct {
	program *program
	tiles   []*tile
	pin     goruntime.Pinner
	once    sync.Once
}

// tile is a range of rows with its own binding of ONNX Runtime.
type tile struct {
	mu       sync.Mutex
	first, n int
	io       ioBinding
	values   []value
	inputs   []boundInput
	closed   bool
}

// boundInput remembers what to copy to a device again.
type boundInput struct {
	name  string
	rows  bool
	value int
}

// Bind makes a binding for n rows, n ≥ 1.
func (p *Program) Bind(n int, opt BindOptions) (*Binding, error) {
	b, err := p.program.bind(n, opt)
	goruntime.KeepAlive(p)
	if err != nil {
		return nil, fmt.Errorf("runtime: model %s: %w", p.model.Name, err)
	}
	return b, nil
}

func (p *program) bind(n int, opt BindOptions) (*Binding, error) {
	if n < 1 {
		return nil, fmt.Errorf("batch of %d rows: need 1 or more", n)
	}
	count, err := p.tiles(n, opt)
	if err != nil {
		return nil, err
	}
	if err := p.checkNames(opt); err != nil {
		return nil, err
	}
	if !p.retain() {
		return nil, ErrClosed
	}
	b := &Binding{
		resources: &resources{program: p, tiles: make([]*tile, count)},
		n:         n, in: map[string][]float32{}, out: map[string][]float32{},
	}
	if err := b.build(opt); err != nil {
		b.release()
		return nil, err
	}
	b.runTile = b.RunTile
	goruntime.AddCleanup(b, (*resources).release, b.resources)
	return b, nil
}

func (p *program) tiles(n int, opt BindOptions) (int, error) {
	switch {
	case opt.Tile < 0 || opt.Tiles < 0 || opt.Tiles > n:
		return 0, fmt.Errorf("%d tiles of at most %d rows for a batch of %d", opt.Tiles, opt.Tile, n)
	case opt.Tiles > 0:
		return opt.Tiles, nil
	case opt.Tile > 0:
		return (n + opt.Tile - 1) / opt.Tile, nil
	case p.rt.device.cuda:
		return (n + deviceRows - 1) / deviceRows, nil
	}
	return tileCount(n, p.model), nil
}

func (p *program) checkNames(opt BindOptions) error {
	ports := slices.Concat(p.model.Inputs, p.model.Outputs)
	for kind, given := range map[Kind]map[string][]float32{Shared: opt.Shared, Rows: opt.Rows} {
		for name := range given {
			if !slices.ContainsFunc(ports, func(q Port) bool { return q.Name == name && q.Kind == kind }) {
				return fmt.Errorf("memory was given for %q, which is no %s port", name, kind)
			}
		}
	}
	return nil
}

// build makes memory, values and bindings of all tiles.
func (b *Binding) build(opt BindOptions) error {
	for i := range b.tiles {
		io, err := newIOBinding(b.program.pointer)
		if err != nil {
			return err
		}
		first, rows := span(b.n, len(b.tiles), i)
		b.tiles[i] = &tile{first: first, n: rows, io: io}
	}
	for _, p := range b.program.model.Inputs {
		memory, err := b.memory(p, opt)
		if err != nil {
			return err
		}
		b.in[p.Name] = memory
		for _, t := range b.tiles {
			if err := b.bindInput(t, p, memory); err != nil {
				return fmt.Errorf("input %s: %w", p.Name, err)
			}
		}
	}
	for _, p := range b.program.model.Outputs {
		memory, err := b.memory(p, opt)
		if err != nil {
			return err
		}
		b.out[p.Name] = memory
		if err := b.bindOutput(p, memory); err != nil {
			return fmt.Errorf("output %s: %w", p.Name, err)
		}
	}
	return nil
}

// memory gives the memory of a whole port: the caller's or new one.
func (b *Binding) memory(p Port, opt BindOptions) ([]float32, error) {
	size := p.elements()
	if p.Kind == Rows {
		size *= b.n
	}
	given, ok := opt.Shared[p.Name]
	if p.Kind == Rows {
		given, ok = opt.Rows[p.Name]
	}
	if !ok {
		return floats(size), nil
	}
	if len(given) != size {
		return nil, fmt.Errorf("port %s: %d elements of memory were given, it has %d", p.Name, len(given), size)
	}
	return given, nil
}

func (b *Binding) bindInput(t *tile, p Port, memory []float32) error {
	v, err := b.value(t, p, memory)
	if err != nil {
		return err
	}
	t.inputs = append(t.inputs, boundInput{p.Name, p.Kind == Rows, len(t.values) - 1})
	return t.io.input(v)
}

func (b *Binding) bindOutput(p Port, memory []float32) error {
	var parts [][]float32
	for _, t := range b.tiles {
		own := memory
		if p.Kind == Sum && len(b.tiles) > 1 {
			own = floats(len(memory))
			parts = append(parts, own)
		}
		v, err := b.value(t, p, own)
		if err != nil {
			return err
		}
		if err := t.io.output(v); err != nil {
			return err
		}
	}
	if parts != nil {
		b.sums = append(b.sums, sum{memory, parts})
	}
	return nil
}

// value makes the tensor a tile sees of a port's memory, and pins that.
func (b *Binding) value(t *tile, p Port, memory []float32) (*value, error) {
	dims := p.Item
	if p.Kind == Rows {
		item := p.elements()
		memory = memory[t.first*item : (t.first+t.n)*item]
		dims = slices.Insert(slices.Clone(p.Item), p.Axis, int64(t.n))
	}
	b.pin.Pin(&memory[0])
	v, err := newValue(p.Name, memory, dims)
	if err != nil {
		return nil, err
	}
	t.values = append(t.values, v)
	return &t.values[len(t.values)-1], nil
}

// In returns the memory of an input, n items in row-major order for Rows; nil
// if there is no such input.
func (b *Binding) In(name string) []float32 { return b.in[name] }

// Out returns the memory of an output, filled by Run; nil if there is none.
func (b *Binding) Out(name string) []float32 { return b.out[name] }

// N is the number of rows.
func (b *Binding) N() int { return b.n }

// Tiles is the number of tiles.
func (b *Binding) Tiles() int { return len(b.tiles) }

// Tile gives the rows of tile i: the first and how many.
func (b *Binding) Tile(i int) (first, n int) { return b.tiles[i].first, b.tiles[i].n }

// Changed tells that the memory of the named inputs was written, all of them
// if none is named. Nothing has to be done on a CPU; on CUDA the memory is
// copied to the device. Rows inputs are copied at every run, there is no need
// to name them.
func (b *Binding) Changed(names ...string) error {
	for _, name := range names {
		if b.in[name] == nil {
			return fmt.Errorf("runtime: model %s: no input %q", b.program.model.Name, name)
		}
	}
	if !b.program.rt.device.cuda {
		return nil
	}
	for _, t := range b.tiles {
		err := t.changed(func(in boundInput) bool { return len(names) == 0 || slices.Contains(names, in.name) })
		if err != nil {
			return b.wrap(err)
		}
	}
	return nil
}

// Run runs all tiles and adds up Sum outputs. The context is checked between
// tiles. It allocates nothing.
func (b *Binding) Run(ctx context.Context) error {
	if len(b.tiles) == 1 {
		return b.RunTile(ctx, 0)
	}
	if err := b.EachTile(ctx, b.runTile); err != nil {
		return err
	}
	return b.AddUp(ctx)
}

// RunTile runs tile i alone: it reads and writes the tile's rows, and the
// tile's own part of Sum outputs, which AddUp turns into the sum.
func (b *Binding) RunTile(ctx context.Context, i int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := b.tiles[i].run(b.program.rt.device.cuda)
	goruntime.KeepAlive(b)
	if err != nil {
		return b.wrap(err)
	}
	return nil
}

// AddUp sets every Sum output to the sum of the tiles' parts, added in float64
// in the order of the tiles. Run does it.
func (b *Binding) AddUp(ctx context.Context) error {
	for _, s := range b.sums {
		if err := addUp(ctx, s.total, s.parts, b.program.rt.workers); err != nil {
			return err
		}
	}
	return nil
}

// EachTile calls fn once for each tile, from as many goroutines as the runtime
// has workers; from the caller's alone if there is one tile. It returns the
// first error, after which no further tile is started.
func (b *Binding) EachTile(ctx context.Context, fn func(ctx context.Context, i int) error) error {
	return share.Each(ctx, len(b.tiles), b.program.rt.workers, fn)
}

// Close gives back what the binding holds, after runs in progress. The memory
// of In and Out stays valid. Closing twice is harmless.
func (b *Binding) Close() error {
	b.release()
	return nil
}

func (b *Binding) wrap(err error) error {
	if err == ErrClosed {
		return err
	}
	return fmt.Errorf("runtime: model %s: %w", b.program.model.Name, err)
}

func (r *resources) release() {
	r.once.Do(func() {
		for _, t := range r.tiles {
			if t != nil {
				t.close()
			}
		}
		r.pin.Unpin()
		r.program.release()
	})
}

func (t *tile) run(copyRows bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	if copyRows {
		if err := t.bindAgain(func(in boundInput) bool { return in.rows }); err != nil {
			return err
		}
	}
	return t.io.run()
}

// changed copies inputs to the device.
func (t *tile) changed(which func(boundInput) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	return t.bindAgain(which)
}

// bindAgain makes ONNX Runtime copy inputs to the device, as it does when they
// are bound.
func (t *tile) bindAgain(which func(boundInput) bool) error {
	for _, in := range t.inputs {
		if !which(in) {
			continue
		}
		if err := t.io.input(&t.values[in.value]); err != nil {
			return err
		}
	}
	return nil
}

func (t *tile) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.io.free()
	for i := range t.values {
		t.values[i].free()
	}
	t.values = nil
}
