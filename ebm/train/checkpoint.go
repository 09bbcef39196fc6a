package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
	"github.com/onnx-ebm/onnx-ebm/losses"
)

// A checkpoint is one file:
//
//	magic "EBMCKPT1", length of the header, the header in JSON, CRC-32C of all that, then the sections one after another
//
// with little-endian integers of 64 (length) and 32 bits (CRC). The header gives each section's name, size and CRC-32C, so that a
// file that was cut short or changed is known as such. Files are written under another name, synced and renamed.
const magic = "EBMCKPT1"

// keepCheckpoints is how many files stay: the newest, and one more in case that is damaged.
const keepCheckpoints = 2

// staleAfter is the age at which a temporary file is taken for the leftover of a killed process.
const staleAfter = 10 * time.Minute

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// number is a float64 that JSON keeps bit by bit, NaN included.
type number float64

// MarshalJSON gives the bits as a whole number.
func (n number) MarshalJSON() ([]byte, error) {
	return strconv.AppendUint(nil, math.Float64bits(float64(n)), 10), nil
}

// UnmarshalJSON reads what MarshalJSON gave.
func (n *number) UnmarshalJSON(b []byte) error {
	bits, err := strconv.ParseUint(string(b), 10, 64)
	*n = number(math.Float64frombits(bits))
	return err
}

type header struct {
	State    state             `json:"state"`
	Columns  []string          `json:"columns"`
	Settings map[string]string `json:"settings"`
	Sections []section         `json:"sections"`
}

type section struct {
	Name string `json:"name"`
	Size int    `json:"size"`
	CRC  uint32 `json:"crc32c"`
	data []byte
}

// part is a piece of a run's state: how it is saved, and how it is put back.
type part struct {
	name string
	save func() []byte
	load func([]byte) error
}

// parts are all pieces of this run.
func (r *runner) parts() []part {
	into := func(what string, dst []float32) func([]byte) error {
		return func(b []byte) error {
			if len(b) != 4*len(dst) {
				return fmt.Errorf("%d bytes of %s, expected %d", len(b), what, 4*len(dst))
			}
			copy(dst, floats(b))
			return nil
		}
	}
	parts := []part{
		{"params", func() []byte { return bytesOf(r.model.Params()) }, into("parameters", r.model.Params())},
		{"optimizer", r.opt.State, r.opt.Load},
		{"curve", r.curve.encode, func(b []byte) error { return r.curve.decode(r.curve.Columns, b) }},
		{"best", func() []byte { return bytesOf(r.st.best) }, func(b []byte) error {
			if len(b) == 0 {
				return nil
			}
			r.st.best = make([]float32, len(r.model.Params()))
			return into("best parameters", r.st.best)(b)
		}},
	}
	if s, ok := losses.As[losses.Stateful](r.loss); ok {
		parts = append(parts, part{"loss", s.State, s.Load})
	}
	if r.ownOpt != nil {
		parts = append(parts, part{"own optimizer", r.ownOpt.State, r.ownOpt.Load})
		if _, ok := losses.As[losses.Stateful](r.loss); !ok {
			parts = append(parts, part{"own", func() []byte { return bytesOf(ownParams(r.loss)) }, into("own parameters", ownParams(r.loss))})
		}
	}
	if r.ema != nil {
		parts = append(parts, part{"ema", r.ema.State, r.ema.Load})
	}
	return parts
}

func bytesOf(v []float32) []byte {
	out := make([]byte, 0, 4*len(v))
	for _, f := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(f))
	}
	return out
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func checkpointName(step int) string { return fmt.Sprintf("step-%09d.ckpt", step) }

// stepOf reads the step from a checkpoint's name.
func stepOf(name string) (step int, ok bool) {
	text, ok := strings.CutPrefix(name, "step-")
	if !ok {
		return 0, false
	}
	if text, ok = strings.CutSuffix(text, ".ckpt"); !ok {
		return 0, false
	}
	step, err := strconv.Atoi(text)
	return step, err == nil && step >= 0
}

// checkpoint saves the run, unless there is no folder or this step is saved already.
func (r *runner) checkpoint() error {
	dir := r.cfg.Checkpoint
	if dir == "" || r.saved == r.st.Step && !r.st.Pending {
		return nil
	}
	if err := r.checkParams(); err != nil {
		return err
	}
	if err := r.logs.flush(); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("train: checkpoint folder: %w", err)
	}
	h := header{State: r.st, Columns: r.curve.Columns, Settings: r.settings}
	for _, p := range r.parts() {
		data := p.save()
		h.Sections = append(h.Sections, section{p.name, len(data), crc32.Checksum(data, castagnoli), data})
	}
	err := atomicfile.Write(filepath.Join(dir, checkpointName(r.st.Step)), func(w io.Writer) error { return writeCheckpoint(w, h) })
	if err != nil {
		return fmt.Errorf("train: checkpoint: %w", err)
	}
	r.saved = r.st.Step
	return prune(dir, r.st.Step)
}

func writeCheckpoint(w io.Writer, h header) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	head := binary.LittleEndian.AppendUint64([]byte(magic), uint64(len(text)))
	head = append(head, text...)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, s := range h.Sections {
		if _, err := w.Write(s.data); err != nil {
			return err
		}
	}
	return nil
}

// readCheckpoint parses a whole file.
func readCheckpoint(b []byte) (header, error) {
	const fixed = len(magic) + 8
	if len(b) < fixed+4 || string(b[:len(magic)]) != magic {
		return header{}, errors.New("it is no checkpoint, or was cut short")
	}
	size := binary.LittleEndian.Uint64(b[len(magic):])
	if size > uint64(len(b)-fixed-4) {
		return header{}, errors.New("it was cut short")
	}
	end := fixed + int(size)
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return header{}, errors.New("its header is damaged")
	}
	h := header{State: state{Accuracy: number(absent), ValidationAccuracy: number(absent)}} // older ones have none
	if err := json.Unmarshal(b[fixed:end], &h); err != nil {
		return header{}, fmt.Errorf("its header: %w", err)
	}
	b = b[end+4:]
	for i := range h.Sections {
		s := &h.Sections[i]
		if s.Size < 0 || s.Size > len(b) {
			return header{}, errors.New("it was cut short")
		}
		s.data, b = b[:s.Size], b[s.Size:]
		if crc32.Checksum(s.data, castagnoli) != s.CRC {
			return header{}, fmt.Errorf("its section %q is damaged", s.Name)
		}
	}
	if len(b) != 0 {
		return header{}, fmt.Errorf("%d bytes follow its end", len(b))
	}
	return h, nil
}

// checkpoints lists the files of a folder, newest first. A missing folder has none.
func checkpoints(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("train: checkpoint folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := stepOf(e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		x, _ := stepOf(a)
		y, _ := stepOf(b)
		return y - x
	})
	return names, nil
}

// prune removes all but the newest checkpoints up to a step. Later ones are damaged, or the run would have started from them; they
// must not crowd out good ones.
func prune(dir string, upTo int) error {
	names, err := checkpoints(dir)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		step, _ := stepOf(name)
		return step > upTo
	})
	for _, name := range names[min(keepCheckpoints, len(names)):] {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("train: old checkpoint: %w", err)
		}
	}
	return nil
}

// sweep removes temporary files that a killed process left.
func sweep(dir string) {
	old, _ := filepath.Glob(filepath.Join(dir, ".onnx-ebm-*.tmp"))
	for _, path := range old {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > staleAfter {
			os.Remove(path)
		}
	}
}

// restore goes on from the newest complete checkpoint, if that is wanted and there is one.
func (r *runner) restore() error {
	dir := r.cfg.Checkpoint
	if dir == "" {
		return nil
	}
	names, err := checkpoints(dir)
	if err != nil {
		return err
	}
	if !r.cfg.Resume {
		if len(names) > 0 {
			return fmt.Errorf("train: %s holds checkpoints of an earlier run (%s): resume it, or name another folder", dir, names[0])
		}
		return nil
	}
	sweep(dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("train: checkpoint: %w", err)
		}
		h, err := readCheckpoint(b)
		if err != nil {
			r.cfg.Notice(fmt.Sprintf("checkpoint %s is left out: %v", path, err))
			continue
		}
		if err := r.load(h); err != nil {
			return fmt.Errorf("train: checkpoint %s: %w", path, err)
		}
		return nil
	}
	r.cfg.Notice(fmt.Sprintf("no complete checkpoint in %s: starting from the beginning", dir))
	return nil
}

// load puts a checkpoint's state in place.
func (r *runner) load(h header) error {
	for _, key := range slices.Sorted(maps.Keys(r.settings)) {
		if was, ok := h.Settings[key]; !ok || was != r.settings[key] {
			return fmt.Errorf("it is of another run: %s was %q and is %q now; resume with the same settings, or name another folder", key, was, r.settings[key])
		}
	}
	if h.State.Step > r.total {
		return fmt.Errorf("it is of step %d, past the %d steps of this run; steps are the total", h.State.Step, r.total)
	}
	r.st, r.curve.Columns = h.State, h.Columns
	for _, p := range r.parts() {
		at := slices.IndexFunc(h.Sections, func(s section) bool { return s.Name == p.name })
		if at < 0 {
			return fmt.Errorf("it lacks the section %q", p.name)
		}
		if err := p.load(h.Sections[at].data); err != nil {
			return fmt.Errorf("section %q: %w", p.name, err)
		}
	}
	if r.st.Pending && r.curve.Rows() == 0 {
		return errors.New("it lacks the last step of its curve")
	}
	r.changed()
	r.saved = r.st.Step
	r.resumeProgress()
	return r.logs.rewrite(&r.curve, r.st.Pending)
}

// resumeProgress sets the progress to that of the last step.
func (r *runner) resumeProgress() {
	p := &r.p
	p.Step, p.Skipped, p.Loss = r.st.Step, r.st.Skipped, float64(r.st.Loss)
	p.Epoch = float64(r.st.Step*r.cfg.Accumulate) / float64(r.loader.PerEpoch())
	p.Validation, p.Best, p.BestStep = float64(r.st.Validation), float64(r.st.Best), r.st.BestStep
	if r.curve.Rows() == 0 {
		return
	}
	row := r.curve.Row(r.curve.Rows() - 1)
	loss := slices.Index(r.curve.Columns, ColumnLoss)
	norm := slices.Index(r.curve.Columns, ColumnGradNorm)
	for i := loss + 1; i < norm; i++ {
		p.Terms = append(p.Terms, losses.Term{Name: r.curve.Columns[i], Value: row[i]})
	}
	if norm >= 0 && norm+1 < len(row) {
		p.GradNorm, p.LR = row[norm], row[norm+1]
	}
}
