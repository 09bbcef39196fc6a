package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestWrongUsage(t *testing.T) {
	dir := t.TempDir()
	x := writeArray(t, filepath.Join(dir, "x.npy"), normals("x", 20), 10, 2)
	out := filepath.Join(dir, "out.npy")
	require.NoError(t, os.WriteFile(out, []byte("old"), 0o600))
	sample := func(more ...string) []string {
		return append([]string{"sample", "builtin:gaussian", "--chains", "4", "--steps", "10", "--step-size", "0.1", "-o", out}, more...)
	}
	train := func(more ...string) []string {
		return append([]string{"train", "--data", "two-moons:n=50", "--model", "mlp:4", "--steps", "2", "-o", out}, more...)
	}
	cases := []struct {
		args  []string
		parts []string
	}{
		{[]string{"evl"}, []string{`unknown command "evl"`, "did you mean eval?", "train"}},
		{[]string{"trian", "--data", "x"}, []string{`unknown command "trian"`, "train"}},
		{[]string{"runtime", "instal"}, []string{`unknown command "instal"`, "install"}},
		{[]string{"doctor", "x"}, []string{`unexpected argument "x"`}},
		{[]string{"doctor", "--device", "gpu"}, []string{"--device gpu", "cpu, cuda or cuda:K"}},
		{[]string{"doctor", "--workers", "0"}, []string{"--workers 0"}},
		{[]string{"doctor", "--workers", "two"}, []string{"--workers two: not a whole number"}},
		{[]string{"doctor", "--bogus"}, []string{`unknown flag "--bogus"`, "--device", "--json"}},
		{[]string{"inspect"}, []string{"missing MODEL"}},
		{[]string{"inspect", "a", "b"}, []string{`unexpected argument "b"`}},
		{[]string{"inspect", "builtin:gausian"}, []string{`unknown builtin "gausian"`, "did you mean gaussian", "rosenbrock"}},
		{[]string{"inspect", "builtin:gaussian:sd=1"}, []string{"sd", "mean", "cov"}},
		{[]string{"import"}, []string{"missing SRC.onnx, -o"}},
		{[]string{"import", "a.onnx", "-o", "-"}, []string{`-o "-": name a file`}},
		{[]string{"import", "a.onnx", "-o", out, "--as", "square"}, []string{`unknown --as "square"`, "neglogsumexp"}},
		{[]string{"import", "a.onnx", "-o", out, "--as", "neglogit"}, []string{"K ≥ 0"}},
		{[]string{"import", "a.onnx", "-o", out, "--as", "neglogit:-1"}, []string{"K ≥ 0"}},
		{[]string{"import", "a.onnx", "-o", out, "--as", "sum:2"}, []string{`unknown --as "sum:2"`}},
		{[]string{"import", "a.onnx", "-o", out, "--set", "t"}, []string{"--set t", "NAME=VALUE"}},
		{[]string{"import", "a.onnx", "-o", out, "--set", "t=abc"}, []string{"abc", "number"}},
		{[]string{"import", "a.onnx", "-o", out, "--set", "t=1", "--set", "t=2"}, []string{"twice"}},
		{[]string{"derive"}, []string{"missing MODEL, --what, -o"}},
		{[]string{"derive", "builtin:gaussian", "--what", "jacobian", "-o", out}, []string{`"jacobian"`, "gradient, score, hvp, laplacian"}},
		{[]string{"eval"}, []string{"missing MODEL, --in"}},
		{[]string{"eval", "builtin:gaussian", "--in", x, "--hvp", out}, []string{"missing --vector"}},
		{[]string{"eval", "builtin:gaussian", "--vector", x}, []string{"missing --in, --hvp"}},
		{[]string{"eval", "builtin:gaussian", "--in", x, "--log-density", out}, []string{"missing --log-z"}},
		{[]string{"eval", "builtin:gaussian", "--in", x, "--log-z", "1"}, []string{"missing --log-density"}},
		{[]string{"eval", "builtin:gaussian", "--in", x, "--log-z", "NaN", "--log-density", out}, []string{"--log-z"}},
		{[]string{"eval", "builtin:gaussian", "--in", x, "--energy", "-"}, []string{"name a file"}},
		{[]string{"loss"}, []string{"missing MODEL, --loss, --in"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "dms"}, []string{`unknown loss "dms"`, "did you mean dsm", "energy-discrepancy"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "cd"}, []string{"missing --neg"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "nce"}, []string{"missing --neg, --noise-density or --noise-logp"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "dsm"}, []string{"missing --noise"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "ssm"}, []string{"missing --vector"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "energy-discrepancy"}, []string{"missing --noise"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "sm", "--sigma", "1"}, []string{"--sigma is not for the loss sm"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "dsm", "--noise", x, "--sigma", "-1"}, []string{"sigma"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "dsm", "--noise", x, "--weight", "two"}, []string{"weight", "one", "sigma2"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "dsm:sigma=1", "--noise", x, "--sigma", "2"}, []string{"twice"}},
		{[]string{"loss", "builtin:gaussian", "--in", x, "--loss", "nce", "--neg", x, "--noise-density", "normal"}, []string{"normal", "gaussian"}},
		{[]string{"sample"}, []string{"missing MODEL, --chains, --steps, --step-size, -o"}},
		{[]string{"sample", "builtin:gaussian", "--chains", "3"}, []string{"missing --steps, --step-size, -o"}},
		{sample("--sampler", "hmx"), []string{`unknown sampler "hmx"`, "did you mean hmc", "nesterov"}},
		{sample("--step-size", "fast"), []string{"--step-size", "linear:from,to,steps"}},
		{sample("--step-size", "-0.1"), []string{"--step-size -0.1"}},
		{sample("--chains", "0"), []string{"--chains 0"}},
		{sample("--burn-in", "11"), []string{"--burn-in 11", "--steps 10"}},
		{sample("--burn-in", "2", "--adapt", "3"), []string{"--adapt 3"}},
		{sample("--thin", "0"), []string{"--thin 0"}},
		{sample("--clamp", "1"), []string{"--clamp 1", "LO,HI"}},
		{sample("--clamp", "1,0"), []string{"--clamp 1,0"}},
		{sample("--clamp", "0,1", "--clamp-mode", "wrap"), []string{"wrap", "reflect"}},
		{sample("--leapfrog", "5"), []string{"--leapfrog is not for the sampler langevin"}},
		{sample("--with-start"), []string{"--draws or --energies"}},
		{sample("--resume"), []string{"missing --checkpoint"}},
		{sample("--plot", "p.svg"), []string{"PNG"}},
		{sample("--seed", "-1"), []string{"--seed -1"}},
		{sample("--sampler", "hmc", "--jitter", "2"), []string{"--jitter 2"}},
		{sample("--sampler", "parallel-tempering", "--temperatures", "1,x"), []string{"--temperatures 1,x"}},
		{[]string{"plot"}, []string{"missing MODEL, -o"}},
		{[]string{"plot", "builtin:rings", "-o", "p.jpg"}, []string{"PNG"}},
		{[]string{"plot", "builtin:rings", "-o", "p.png", "--range", "1,0,0,1"}, []string{"--range", "less than"}},
		{[]string{"plot", "builtin:rings", "-o", "p.png", "--range", "1,2,3"}, []string{"xmin,xmax,ymin,ymax"}},
		{[]string{"train"}, []string{"missing --data, --model, --loss, --steps or --epochs, -o"}},
		{train("--loss", "foo"), []string{`unknown loss "foo"`, "dsm"}},
		{train("--loss", "dsm:sigmas=1"), []string{"sigmas", "sigma"}},
		{train("--loss", "dsm", "--lr", "abc"), []string{"--lr"}},
		{train("--loss", "dsm", "--optimizer", "adagrad"), []string{"--optimizer", "adam"}},
		{train("--loss", "dsm", "--sampler-steps", "3"), []string{"--sampler-steps", "cd"}},
		{train("--loss", "cd:k=3", "--sampler-steps", "4"), []string{"k is given twice"}},
		{train("--loss", "dsm", "--epochs", "3"), []string{"--steps and --epochs"}},
		{train("--loss", "dsm", "--batch", "0"), []string{"--batch 0"}},
		{train("--loss", "dsm", "--resume"), []string{"missing --checkpoint"}},
		{train("--loss", "dsm", "--log", "x.txt"), []string{".csv"}},
		{train("--loss", "dsm", "--ema", "1"), []string{"--ema 1"}},
		{train("--loss", "dsm", "--non-finite", "ignore"), []string{"stop", "skip"}},
		{train("--loss", "dsm", "--data", "two-moon"), []string{`unknown data set "two-moon"`, "two-moons"}},
		{train("--loss", "dsm", "--model", "mlq:3"), []string{`unknown network "mlq"`, "mlp"}},
	}
	before := snapshot(t, dir)
	for _, c := range cases {
		fail(t, exitUsage, c.args, c.parts...)
	}
	require.Equal(t, before, snapshot(t, dir))
}

func TestEveryMissingFlagAtOnce(t *testing.T) {
	o := fail(t, exitUsage, []string{"train", "--sampler", "hmx"}, "--data", "--model", "--loss", "--steps", "-o", `unknown sampler "hmx"`)
	require.Empty(t, o.stdout)
}

func TestHelpIsComplete(t *testing.T) {
	a := &app{}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			visit(s)
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		o := succeed(t, args...)
		require.Contains(t, o.stdout, "Examples:", c.CommandPath())
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.Empty(t, o.stderr)
	}
	visit(a.root())
	sample := succeed(t, "sample", "--help").stdout
	for _, part := range []string{"parallel-tempering", "--leapfrog", "--friction", "warmup:steps,SCHEDULE"} {
		require.Contains(t, sample, part)
	}
}
