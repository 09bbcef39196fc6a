package data

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/onnx-ebm/onnx-ebm/internal/spec"
)

// openCSV reads a table of numbers: one row a line, separated by the commas,
// semicolons or tabs that the first line has. A first line that is not numbers
// names the columns; lines that begin with # are skipped. The key columns
// chooses columns by name or by number from 0, and the key label the one that
// holds classes, which is then none of the items' unless columns names it.
func openCSV(path string, s *spec.Spec, _ Options) (Dataset, error) {
	wanted, label := s.Words("columns"), s.Word("label", "")
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	x, y, width, err := readTable(f, wanted, label)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", path, err)
	}
	ds, err := inMemory(path, []int{width}, x)
	if err != nil || label == "" {
		return ds, err
	}
	return withLabels(ds, y, path+": "+label)
}

// readTable returns the wanted columns (none: all but the label's) of a table,
// row after row, and how many they are, and the column of labels (empty: none).
func readTable(f io.Reader, wanted []string, label string) (x, y []float32, width int, err error) {
	in := bufio.NewReaderSize(f, 1<<16)
	if bom, _ := in.Peek(3); string(bom) == "\ufeff" {
		in.Discard(3)
	}
	lines := csv.NewReader(in)
	lines.Comma = separator(in)
	lines.Comment = '#'
	lines.TrimLeadingSpace = lines.Comma != '\t'
	lines.ReuseRecord = true

	var columns []int
	labels := -1
	for first := true; ; first = false {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, 0, fmt.Errorf("not a table of numbers: %w", err)
		}
		if first {
			header := isHeader(fields)
			if columns, labels, err = choose(fields, header, wanted, label); err != nil {
				return nil, nil, 0, err
			}
			if header {
				continue
			}
		}
		number := func(c int) (float32, error) {
			v, err := strconv.ParseFloat(strings.TrimSpace(fields[c]), 32)
			if err != nil {
				line, _ := lines.FieldPos(c)
				return 0, fmt.Errorf("line %d, column %d: %q is not a float32 number", line, c, fields[c])
			}
			return float32(v), nil
		}
		for _, c := range columns {
			v, err := number(c)
			if err != nil {
				return nil, nil, 0, err
			}
			x = append(x, v)
		}
		if labels >= 0 {
			v, err := number(labels)
			if err != nil {
				return nil, nil, 0, err
			}
			y = append(y, v)
		}
	}
	return x, y, max(1, len(columns)), nil
}

// separator is the first of tab, semicolon and comma that the first line has.
func separator(in *bufio.Reader) rune {
	start, _ := in.Peek(in.Size())
	line, _, _ := strings.Cut(string(start), "\n")
	for _, r := range "\t;" {
		if strings.ContainsRune(line, r) {
			return r
		}
	}
	return ','
}

// isHeader reports that no field is a number.
func isHeader(fields []string) bool {
	for _, field := range fields {
		if _, err := strconv.ParseFloat(strings.TrimSpace(field), 64); err == nil {
			return false
		}
	}
	return true
}

// choose returns the positions of the wanted columns and of the labels, −1 where there are none.
func choose(fields []string, header bool, wanted []string, label string) (columns []int, labels int, err error) {
	position := map[string]int{}
	for i, name := range fields {
		position[strconv.Itoa(i)] = i
		if header {
			position[strings.TrimSpace(name)] = i
		}
	}
	find := func(name string) (int, error) {
		i, ok := position[name]
		switch {
		case ok:
			return i, nil
		case header:
			return 0, fmt.Errorf("no column %q; it has %s", name, strings.Join(fields, ", "))
		}
		return 0, fmt.Errorf("no column %q; it has columns 0 to %d", name, len(fields)-1)
	}
	labels = -1
	if label != "" {
		if labels, err = find(label); err != nil {
			return nil, 0, err
		}
	}
	if len(wanted) == 0 {
		for i := range fields {
			if i != labels {
				columns = append(columns, i)
			}
		}
	}
	for _, name := range wanted {
		i, err := find(name)
		if err != nil {
			return nil, 0, err
		}
		columns = append(columns, i)
	}
	return columns, labels, nil
}
