package runtime

// #include <stdint.h>
import "C"

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"
)

// ErrClosed is the error of using a program or binding after its Close.
var ErrClosed = errors.New("runtime: closed")

// Kind says how a tensor relates to the rows of the batch.
type Kind uint8

const (
	Rows   Kind = iota // has a leading batch axis: tiles see their rows of it
	Shared             // inputs: every tile sees the same tensor (parameters)
	Sum                // outputs: one tensor a tile, added up over the tiles
)

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

var kindNames = []string{"Rows", "Shared", "Sum"}

// Port is a float32 input or output of a model.
type Port struct {
	Name string
	Item []int64 // Rows: dimensions without the batch axis; otherwise all of them. Empty: a number (for each row)
	Kind Kind

	// Axis is the position of the batch axis among a Rows tensor's dimensions, 0
	// for most. With another one the memory of In and Out is not [.., n, ..] but
	// the tensors of the tiles one after the other, each as its tile sees it.
	Axis int
}

// elements is the number of elements of an item.
func (p Port) elements() int {
	n := int64(1)
	for _, d := range p.Item {
		n *= d
	}
	return int(n)
}

// Model is a serialized ONNX model without external data, and what its ports
// mean. A Rows tensor of the graph has rank 1+len(Item) and the batch in front
// (or at Port.Axis), so a number for each row has shape [N] and never rank 0.
type Model struct {
	Name            string // names the model in errors
	Bytes           []byte
	Inputs, Outputs []Port

	// RowCost is the number of floating-point operations a row takes, a hint for
	// the size of tiles. 0: estimated as 4 for each parameter, which is right for
	// the gradient of a dense network and too low for a convolution.
	RowCost float64
}

// Program is a compiled model. It is safe for concurrent use.
type Program struct {
	*program
}

// program is what a Program and its bindings share; the session is released
// with the last of them.
type program struct {
	rt      *Runtime
	model   Model // without Bytes
	session *ort.DynamicAdvancedSession
	pointer C.uintptr_t
	users   atomic.Int64 // bindings, and one for the Program until its Close
	closed  atomic.Bool
}

// Compile builds an executable program. A model takes milliseconds to compile
// (about 20 for 1000 nodes): keep programs, don't remake them in a loop.
func (r *Runtime) Compile(m Model) (*Program, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	session, err := r.session(m)
	if err != nil {
		return nil, fmt.Errorf("runtime: model %s: %w%s", m.Name, err, dump(m))
	}
	p := &program{rt: r, model: m, session: session}
	if p.model.RowCost == 0 {
		p.model.RowCost = estimateCost(m)
	}
	p.model.Bytes = nil
	p.users.Store(1)
	if p.pointer, err = sessionPointer(session); err != nil {
		return nil, errors.Join(err, session.Destroy())
	}
	q := &Program{p}
	goruntime.AddCleanup(q, (*program).close, p)
	return q, nil
}

func (r *Runtime) session(m Model) (*ort.DynamicAdvancedSession, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer o.Destroy()
	err = errors.Join(
		o.SetIntraOpNumThreads(1),
		o.SetInterOpNumThreads(1),
		o.SetLogSeverityLevel(ort.LoggingLevelFatal), // errors come back as values
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
	)
	switch {
	case err != nil:
	case r.device.cuda:
		err = appendCUDA(o, r.device.id)
	default:
		err = addElementwise(o)
	}
	if err != nil {
		return nil, err
	}
	return ort.NewDynamicAdvancedSessionWithONNXData(m.Bytes, names(m.Inputs), names(m.Outputs), o)
}

func names(ports []Port) []string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = p.Name
	}
	return list
}

func (m Model) check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("runtime: model %s: "+format, append([]any{m.Name}, a...)...)
	}
	if len(m.Bytes) == 0 {
		return bad("no bytes")
	}
	if len(m.Outputs) == 0 {
		return bad("no outputs")
	}
	seen := map[string]bool{}
	for i, p := range slices.Concat(m.Inputs, m.Outputs) {
		input := i < len(m.Inputs)
		switch {
		case p.Name == "" || seen[p.Name]:
			return bad("port name %q is empty or used twice", p.Name)
		case input && p.Kind != Rows && p.Kind != Shared:
			return bad("input %s can't be %s: use Rows or Shared", p.Name, p.Kind)
		case !input && p.Kind != Rows && p.Kind != Sum:
			return bad("output %s can't be %s: use Rows or Sum", p.Name, p.Kind)
		}
		if p.Axis < 0 || p.Axis > len(p.Item) || p.Axis > 0 && p.Kind != Rows {
			return bad("port %s can't have its batch axis at %d", p.Name, p.Axis)
		}
		seen[p.Name] = true
		for _, d := range p.Item {
			if d < 1 {
				return bad("port %s has item dimensions %v: all must be 1 or more", p.Name, p.Item)
			}
		}
	}
	return nil
}

// Close releases the program once its last binding is closed; bindings that
// were made before go on working. Closing twice is harmless.
func (p *Program) Close() error {
	p.close()
	return nil
}

func (p *program) close() {
	if p.closed.CompareAndSwap(false, true) {
		p.release()
	}
}

// retain counts one more user; false once the program is closed.
func (p *program) retain() bool {
	for {
		n := p.users.Load()
		if n == 0 || p.closed.Load() {
			return false
		}
		if p.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *program) release() {
	if p.users.Add(-1) == 0 {
		p.session.Destroy()
	}
}

// dump writes a refused model where ONNX_EBM_DUMP says and tells so.
func dump(m Model) string {
	dir := os.Getenv("ONNX_EBM_DUMP")
	if dir == "" {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, m.Name)
	path := filepath.Join(dir, fmt.Sprintf("%s-%.4x.onnx", name, sha256.Sum256(m.Bytes)))
	if err := os.WriteFile(path, m.Bytes, 0o644); err != nil {
		return fmt.Sprintf(" (not dumped: %v)", err)
	}
	return " (dumped to " + path + ")"
}
