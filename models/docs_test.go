package models

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/onnx-ebm/onnx-ebm/internal/docs"
)

// TestDocs keeps the table of docs/energies.md true.
func TestDocs(t *testing.T) {
	const path = "../docs/energies.md"
	text := energyTable(t)
	if *update {
		require.NoError(t, docs.Update(path, "builtins", text))
	}
	have, err := docs.Section(path, "builtins")
	require.NoError(t, err)
	require.Equal(t, text, have, "docs/energies.md is out of date: go test ./models -run Docs -update")
}

// energyTable has a row for each builtin, its answers at the default keys.
func energyTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| name | E(x) | keys = defaults | least E | log Z | sd of coordinates | exact draws |\n|---|---|---|---|---|---|---|\n")
	for _, e := range Help() {
		formula := e.Formula
		if e.Note != "" {
			formula += " (" + e.Note + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Name, strings.ReplaceAll(formula, "|", "\\|"), strings.Join(e.Keys, ", "), answers(t, e.Name))
	}
	return b.String()
}

func answers(t *testing.T, name string) string {
	if name == "logistic" { // whatever the data
		return "– | – | – | no"
	}
	a := builtin(t, "builtin:"+name)
	least, logZ, spread, draws := "–", "–", "–", "no"
	if n := len(a.Minima); n > 0 {
		least = short(a.Minima[0].Energy)
		if n > 1 {
			least += fmt.Sprintf(", %d points", n)
		}
	}
	if a.LogZKnown {
		logZ = short(a.LogZ)
	}
	if a.Std != nil {
		var all []string
		for _, s := range a.Std {
			all = append(all, short(s))
		}
		spread = strings.Join(all, ", ")
	}
	if a.CanDraw() {
		draws = "yes"
	}
	return strings.Join([]string{least, logZ, spread, draws}, " | ")
}

func short(v float64) string { return strconv.FormatFloat(v+0, 'g', 6, 64) }
