package main

import (
	"fmt"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/ebm/data"
	"github.com/onnx-ebm/onnx-ebm/models"
	"github.com/onnx-ebm/onnx-ebm/samplers/schedule"
)

const modelHelp = `MODEL is an energy file (made by import or train), any other .onnx file with one float input and one
number a row as its output, or a builtin, also weighted and added up (onnx-ebm inspect --help has the formulas):
  energy.onnx
  builtin:double-well:dim=2:h=2
  builtin:gaussian+0.5*builtin:rings`

// dataFileHelp is the part of help that concerns written models.
const dataFileHelp = "Of more than 1800 MiB of parameters the file has its data beside it, in FILE.data: keep both in one folder."

// builtinHelp lists the builtins with their formulas.
func builtinHelp() string {
	return "Builtins, E(x) and the keys with their defaults, after builtin:\n" + entries(models.Help())
}

// entries lists names with their keys, formulas and notes.
func entries(list []models.Entry) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "  %s\n      %s\n", strings.Join(append([]string{e.Name}, e.Keys...), ":"), e.Formula)
		if e.Note != "" {
			fmt.Fprintf(&b, "      %s\n", e.Note)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// dataHelp describes DATA.
func dataHelp() string {
	var b strings.Builder
	b.WriteString("DATA is a .npy, .npz, .csv or IDX file, a folder of PNG images, or a set:")
	for _, s := range data.Sets() {
		name := s.Name
		if s.Keys != "" {
			name += ":" + s.Keys
		}
		fmt.Fprintf(&b, "\n  %-46s %s", name, s.About)
	}
	b.WriteString("\nClasses come with sets that have them, as the array y of a .npz (or labels=NAME), label=COLUMN of a .csv, labels=FILE of .npy and IDX," +
		"\nor as the folders in a folder of PNG images.")
	return b.String()
}

// scheduleHelp describes SCHEDULE.
func scheduleHelp() string {
	return "SCHEDULE, the value at step 0, 1, …, is " + strings.Join(schedule.Forms(), " or\n  ") + "."
}
