package train

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/ebm"
	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/losses"
	"github.com/onnx-ebm/onnx-ebm/samplers"
	"github.com/onnx-ebm/onnx-ebm/samplers/rng"
)

// job is a run that uses all that a checkpoint must hold.
type job struct {
	loss, optimizer string
	dir             string
	workers         int
	kernel          samplers.Kernel
	edit            func(*Config)
}

func (j job) run(t testing.TB, ctx context.Context, resume bool) (*Result, []float32, losses.Loss, error) {
	t.Helper()
	e := energy(t, open(t, j.workers), mlp(t, 2, 16, 16), ebm.Options{Freeze: []string{"b1"}})
	l := newLoss(t, j.loss, &Chains{Target: e, Kernel: j.kernel})
	cfg := Config{
		Steps: 30, Batch: 48, Accumulate: 2, Seed: 5, Optimizer: j.optimizer, LR: parse(t, "warmup:5,cosine:0.01,0.001,30"),
		ClipNorm: 1, EMA: 0.9, Validation: dataset(t, "two-moons:n=100", 2), ValidateEvery: 7, Patience: 50,
		Log: filepath.Join(j.dir, "log.csv"), LogEvery: 2, TensorBoard: filepath.Join(j.dir, "tb"),
		Checkpoint: filepath.Join(j.dir, "checkpoints"), CheckpointEvery: 4, Resume: resume,
	}
	if j.edit != nil {
		j.edit(&cfg)
	}
	res, err := Run(ctx, e, l, dataset(t, "two-moons:n=300", 1), cfg)
	return res, slices.Clone(e.Params()), l, err
}

// files are the bytes of all that a run wrote.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(b)
		return err
	}))
	return all
}

// TestResume: runs interrupted at every kind of moment end with the bytes of an uninterrupted one: parameters, curve, logs, checkpoints.
func TestResume(t *testing.T) {
	for i, c := range [][2]string{
		{"dsm:sigma=0.2,0.4", "adam"}, {"cd:k=3:l2=0.01", "sgd:momentum=0.9"}, {"pcd:k=3:buffer=150:reinit=0.2", "adamw"}, {"nce:nu=2", "lion"},
		{"ssm", "rmsprop:centered=true"}, {"energy-discrepancy:m=3", "adam"},
	} {
		name := c[0]
		whole := job{loss: c[0], optimizer: c[1], dir: t.TempDir(), workers: 1}
		want, params, wantLoss, err := whole.run(t, context.Background(), false)
		require.NoError(t, err, name)
		wantFiles := files(t, whole.dir)
		require.Len(t, wantFiles, 4, name)

		cut := job{loss: c[0], optimizer: c[1], dir: t.TempDir()}
		for part, at := range []int{5 + i, 13, 22} {
			ctx, cancel := context.WithCancel(context.Background())
			cut.workers = 1 + part
			cut.edit = func(cfg *Config) {
				cfg.OnStep = func(p *Progress) error {
					if p.Step == at {
						cancel()
					}
					return nil
				}
			}
			res, _, _, err := cut.run(t, ctx, part > 0)
			require.ErrorIs(t, err, context.Canceled, name)
			require.ErrorContains(t, err, fmt.Sprintf("stopped after %d of 30 steps", at))
			require.Equal(t, at, res.Steps)
		}
		cut.edit = nil
		for range 2 { // the second resume finds everything done
			res, got, gotLoss, err := cut.run(t, context.Background(), true)
			require.NoError(t, err, name)
			require.Equal(t, params, got, name)
			require.Equal(t, want.Curve.encode(), res.Curve.encode(), name)
			res.Curve = want.Curve
			require.Equal(t, fmt.Sprint(*want), fmt.Sprint(*res), name) // no accuracy is a NaN
			if s, ok := wantLoss.(losses.Stateful); ok {
				require.Equal(t, s.State(), gotLoss.(losses.Stateful).State(), name)
			}
			gotFiles := files(t, cut.dir)
			require.Equal(t, wantFiles["log.csv"], gotFiles["log.csv"], name)
			require.Equal(t, wantFiles["tb/"+eventFile], gotFiles["tb/"+eventFile], name)
			require.Equal(t, wantFiles["checkpoints/"+checkpointName(30)], gotFiles["checkpoints/"+checkpointName(30)], name)
			require.Len(t, gotFiles, 4, "two checkpoints stay")
		}
	}
}

// cancelling cancels a context when its rows are read for the n-th time.
type cancelling struct {
	data.Dataset
	n      int
	cancel func()
}

func (c *cancelling) Rows(dst []float32, indices []int) error {
	if c.n--; c.n == 0 {
		c.cancel()
	}
	return c.Dataset.Rows(dst, indices)
}

// TestResumeAmidValidation interrupts a validation, after the step's update.
func TestResumeAmidValidation(t *testing.T) {
	for _, text := range []string{"dsm", "pcd:k=2:buffer=100"} {
		whole := job{loss: text, dir: t.TempDir()}
		_, params, _, err := whole.run(t, context.Background(), false)
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(context.Background())
		cut := job{loss: text, dir: t.TempDir(), edit: func(c *Config) { c.Validation = &cancelling{c.Validation, 5, cancel} }}
		res, _, _, err := cut.run(t, ctx, false)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 14, res.Steps)
		cut.edit = nil
		_, got, _, err := cut.run(t, context.Background(), true)
		require.NoError(t, err)
		require.Equal(t, params, got, text)
		require.Equal(t, files(t, whole.dir)["log.csv"], files(t, cut.dir)["log.csv"], text)
	}
}

// cancellingKernel cancels a context after its n-th step.
type cancellingKernel struct {
	samplers.Kernel
	n      int
	cancel func()
}

func (c *cancellingKernel) Step(ctx context.Context, t samplers.Target, s *samplers.State, k rng.Key) (samplers.Info, error) {
	info, err := c.Kernel.Step(ctx, t, s, k)
	if c.n--; c.n == 0 {
		c.cancel()
	}
	return info, err
}

// TestResumeAmidStep interrupts a step after its negatives are drawn: with a replay buffer, which they are written back to, the step
// is finished first; without one it is given up.
func TestResumeAmidStep(t *testing.T) {
	for text, done := range map[string]int{"pcd:k=2:buffer=100": 6, "cd:k=2": 5} {
		whole := job{loss: text, dir: t.TempDir()}
		_, params, _, err := whole.run(t, context.Background(), false)
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(context.Background())
		// Two batches of two sampler steps a step: this is the end of the first batch of the sixth.
		cut := job{loss: text, dir: t.TempDir(), kernel: &cancellingKernel{&samplers.Langevin{}, 22, cancel}}
		res, _, _, err := cut.run(t, ctx, false)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, done, res.Steps, text)
		cut.kernel = nil
		_, got, _, err := cut.run(t, context.Background(), true)
		require.NoError(t, err)
		require.Equal(t, params, got, text)
	}
}

// TestResumeFurther: steps are the total, so a finished run can be lengthened.
func TestResumeFurther(t *testing.T) {
	whole := job{loss: "pcd:k=2:buffer=100", dir: t.TempDir()}
	_, params, _, err := whole.run(t, context.Background(), false)
	require.NoError(t, err)
	short := job{loss: whole.loss, dir: t.TempDir(), edit: func(c *Config) { c.Steps = 14 }}
	_, _, _, err = short.run(t, context.Background(), false)
	require.NoError(t, err)
	short.edit = nil
	_, got, _, err := short.run(t, context.Background(), true)
	require.NoError(t, err)
	require.Equal(t, params, got)

	short.edit = func(c *Config) { c.Steps = 20 }
	_, _, _, err = short.run(t, context.Background(), true)
	require.ErrorContains(t, err, "past the 20 steps")
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	j := job{loss: "dsm", dir: t.TempDir()}
	_, _, _, err := j.run(t, context.Background(), false)
	require.NoError(t, err)
	_, _, _, err = j.run(t, context.Background(), false)
	require.ErrorContains(t, err, "holds checkpoints of an earlier run")
	before := files(t, j.dir)
	for says, edit := range map[string]func(*Config){
		`batch was "48" and is "50" now`: func(c *Config) { c.Batch = 50 },
		`accumulate was "2"`:             func(c *Config) { c.Accumulate = 1 },
		`ema was "0.9"`:                  func(c *Config) { c.EMA = 0 },
		`key was`:                        func(c *Config) { c.Seed = 6 },
		`drop-last was`:                  func(c *Config) { c.DropLast = true },
		`model was "" and is "b.onnx"`:   func(c *Config) { c.Settings = map[string]string{"model": "b.onnx"} },
	} {
		j.edit = edit
		_, _, _, err := j.run(t, context.Background(), true)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "it is of another run")
	}
	require.Equal(t, before, files(t, j.dir))
	j.edit, j.optimizer = nil, "sgd"
	_, _, _, err = j.run(t, context.Background(), true)
	require.ErrorContains(t, err, `optimizer was "adam" and is "sgd" now`)
	j.optimizer, j.loss = "", "ssm"
	_, _, _, err = j.run(t, context.Background(), true)
	require.ErrorContains(t, err, `loss was "dsm" and is "ssm" now`)
}

// TestDamagedCheckpoint: whatever happens to the newest file, the one before is used and the result is the same.
func TestDamagedCheckpoint(t *testing.T) {
	j := job{loss: "dsm", dir: t.TempDir()}
	_, params, _, err := j.run(t, context.Background(), false)
	require.NoError(t, err)
	newest := filepath.Join(j.dir, "checkpoints", checkpointName(30))
	good, err := os.ReadFile(newest)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	flip := func(at int) []byte {
		bad := slices.Clone(good)
		bad[at] ^= 1 << random.IntN(8)
		return bad
	}
	damages := map[string][]byte{"empty": nil, "cut": good[:len(good)-1], "cut early": good[:100], "longer": append(slices.Clone(good), 0)}
	for range 30 {
		at := random.IntN(len(good))
		damages[fmt.Sprint("bit ", at)] = flip(at)
	}
	for i := range 12 {
		damages[fmt.Sprint("head ", i)] = flip(i)
	}
	for what, bad := range damages {
		_, err := readCheckpoint(bad)
		require.Error(t, err, what)
	}
	var notices []string
	j.edit = func(c *Config) { c.Notice = func(s string) { notices = append(notices, s) } }
	resume := func() {
		notices = nil
		_, got, _, err := j.run(t, context.Background(), true)
		require.NoError(t, err)
		require.Equal(t, params, got)
	}
	for _, what := range []string{"empty", "cut"} {
		require.NoError(t, os.WriteFile(newest, damages[what], 0o644))
		resume()
		require.Len(t, notices, 1)
		require.Contains(t, notices[0], newest+" is left out: ")
	}
	for _, name := range []string{checkpointName(30), checkpointName(28)} {
		require.NoError(t, os.WriteFile(filepath.Join(j.dir, "checkpoints", name), []byte("bad"), 0o644))
	}
	capture := j.edit
	j.edit = func(c *Config) {
		capture(c)
		c.OnStep = func(p *Progress) error {
			if p.Step == 10 {
				return ErrStop
			}
			return nil
		}
	}
	_, _, _, err = j.run(t, context.Background(), true)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(j.dir, "checkpoints", checkpointName(10)), "damaged files must not crowd out good ones")
	require.NoError(t, os.Remove(filepath.Join(j.dir, "checkpoints", checkpointName(10))))
	require.NoError(t, os.Remove(filepath.Join(j.dir, "checkpoints", checkpointName(8))))
	j.edit = capture
	resume()
	require.Len(t, notices, 3)
	require.Contains(t, notices[2], "from the beginning")
}

func TestResumeFromNothing(t *testing.T) {
	var notices []string
	j := job{loss: "dsm", dir: t.TempDir(), edit: func(c *Config) { c.Notice = func(s string) { notices = append(notices, s) } }}
	_, _, _, err := j.run(t, context.Background(), true)
	require.NoError(t, err)
	require.Len(t, notices, 1)
	require.Contains(t, notices[0], "no complete checkpoint")
}

// TestSweep: leftovers of killed processes go, files that are being written stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, ".onnx-ebm-1.tmp"), filepath.Join(dir, ".onnx-ebm-2.tmp")
	for _, path := range []string{old, young} {
		require.NoError(t, os.WriteFile(path, nil, 0o644))
	}
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(old, past, past))
	sweep(dir)
	require.NoFileExists(t, old)
	require.FileExists(t, young)
}

const childVariable = "ONNX_EBM_TRAIN_TEST_CHILD"

// killJob checkpoints after every step.
func killJob(dir string) job {
	return job{loss: "pcd:k=2:buffer=5000", dir: dir, edit: func(c *Config) { c.Steps, c.CheckpointEvery = 400, 1 }}
}

// TestKill kills a process at random moments. The newest checkpoint must always load, and the run ends as an undisturbed one.
func TestKill(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		_, _, _, err := killJob(dir).run(t, context.Background(), true)
		require.NoError(t, err)
		return
	}
	open(t, 0)
	dir := t.TempDir()
	random, last, killed := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)), 0, 0
	for range 5 {
		child := exec.Command(os.Args[0], "-test.run=^TestKill$")
		child.Env = append(os.Environ(), childVariable+"="+dir)
		require.NoError(t, child.Start())
		done := make(chan error, 1)
		go func() { done <- child.Wait() }()
		require.Eventually(t, func() bool { // it has got further
			names, _ := checkpoints(filepath.Join(dir, "checkpoints"))
			if len(names) == 0 {
				return false
			}
			step, _ := stepOf(names[0])
			return step > last
		}, 20*time.Second, time.Millisecond)
		time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
		require.NoError(t, child.Process.Kill())
		var exit *exec.ExitError
		if errors.As(<-done, &exit) {
			killed++
		}
		names, err := checkpoints(filepath.Join(dir, "checkpoints"))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(dir, "checkpoints", names[0]))
		require.NoError(t, err)
		h, err := readCheckpoint(b)
		require.NoError(t, err, "the newest checkpoint must be whole")
		require.Greater(t, h.State.Step, last)
		last = h.State.Step
	}
	require.Positive(t, killed)
	t.Logf("%d processes killed, the last at step %d", killed, last)

	_, got, _, err := killJob(dir).run(t, context.Background(), true)
	require.NoError(t, err)
	whole := killJob(t.TempDir())
	checkpointing := whole.edit
	whole.edit = func(c *Config) { checkpointing(c); c.CheckpointEvery = 1000 }
	_, want, _, err := whole.run(t, context.Background(), false)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, files(t, whole.dir)["log.csv"], files(t, dir)["log.csv"])
}

func FuzzReadCheckpoint(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "c")
	w, err := os.Create(path)
	require.NoError(f, err)
	require.NoError(f, writeCheckpoint(w, header{Columns: []string{"a"}, Sections: []section{{Name: "x", Size: 2, CRC: 0x1, data: []byte("ab")}}}))
	require.NoError(f, w.Close())
	b, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readCheckpoint(b)
		for _, s := range h.Sections {
			if err == nil && len(s.data) != s.Size {
				t.Fatal("a section of another size")
			}
		}
	})
}
