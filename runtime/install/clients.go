package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// fetch gets the archive of a release into an empty directory.
type fetch func(ctx context.Context, r release, dir string) (archive string, err error)

var clients = map[string]fetch{Pip: fetchPip, Npm: fetchNpm}

// pipCommands are the names under which pip is found.
var pipCommands = [][]string{{"pip"}, {"pip3"}, {"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"py", "-m", "pip"}}

// wheelTags are pip's names of the platforms. Asking for one Python version
// makes the answer independent of the Python that is installed.
var wheelTags = map[string][]string{
	"linux/amd64":   {"manylinux_2_27_x86_64", "manylinux_2_28_x86_64"},
	"linux/arm64":   {"manylinux_2_27_aarch64", "manylinux_2_28_aarch64"},
	"darwin/arm64":  {"macosx_14_0_arm64"},
	"windows/amd64": {"win_amd64"},
}

func fetchPip(ctx context.Context, r release, dir string) (string, error) {
	tags := wheelTags[r.platform]
	if tags == nil {
		return "", fmt.Errorf("no wheel for %s is known", r.platform)
	}
	pip, err := findPip(ctx)
	if err != nil {
		return "", err
	}
	name := "onnxruntime"
	if r.cuda {
		name = "onnxruntime-gpu"
	}
	args := []string{"download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:",
		"--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"}
	for _, tag := range tags {
		args = append(args, "--platform", tag)
	}
	args = append(args, "--dest", dir, name+"=="+r.version)
	if err := run(ctx, dir, slices.Concat(pip, args)); err != nil {
		return "", err
	}
	return onlyFile(dir, "*.whl")
}

func findPip(ctx context.Context) ([]string, error) {
	for _, c := range pipCommands {
		if _, err := exec.LookPath(c[0]); err != nil {
			continue
		}
		if exec.CommandContext(ctx, c[0], append(slices.Clone(c[1:]), "--version")...).Run() == nil {
			return c, nil
		}
	}
	return nil, errors.New("not installed")
}

func fetchNpm(ctx context.Context, r release, dir string) (string, error) {
	if r.cuda {
		return "", errors.New("its package has no CUDA library")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errors.New("not installed")
	}
	if err := run(ctx, dir, []string{npm, "pack", "--silent", "--ignore-scripts", "onnxruntime-node@" + r.version}); err != nil {
		return "", err
	}
	return onlyFile(dir, "*.tgz")
}

// run runs a client; an error carries its last line that tells what failed.
func run(ctx context.Context, dir string, command []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "npm_config_update_notifier=false", "npm_config_loglevel=error")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	if reason := lastError(string(out)); reason != "" {
		return errors.New(reason)
	}
	return err
}

func lastError(out string) string {
	best := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line != "" && (best == "" || strings.Contains(strings.ToLower(line), "error")) && !strings.Contains(line, "complete log") {
			best = line
		}
	}
	const most = 200
	if len(best) > most {
		best = best[:most] + "…"
	}
	return best
}

func onlyFile(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("left %d files %s, expected one", len(found), pattern)
	}
	return found[0], nil
}
