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
// chooses columns by name or by number from 0.
func openCSV(path string, s *spec.Spec, _ Options) (Dataset, error) {
	wanted := s.Words("columns")
	if err := s.Done(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	x, width, err := readTable(f, wanted)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", path, err)
	}
	return inMemory(path, []int{width}, x)
}

// readTable returns the wanted columns (none: all) of a table, row after row,
// and how many they are.
func readTable(f io.Reader, wanted []string) (x []float32, width int, err error) {
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
	for first := true; ; first = false {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("not a table of numbers: %w", err)
		}
		if first {
			header := isHeader(fields)
			if columns, err = choose(fields, header, wanted); err != nil {
				return nil, 0, err
			}
			if header {
				continue
			}
		}
		for _, c := range columns {
			v, err := strconv.ParseFloat(strings.TrimSpace(fields[c]), 32)
			if err != nil {
				line, _ := lines.FieldPos(c)
				return nil, 0, fmt.Errorf("line %d, column %d: %q is not a float32 number", line, c, fields[c])
			}
			x = append(x, float32(v))
		}
	}
	return x, max(1, len(columns)), nil
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

// choose returns the positions of the wanted columns.
func choose(fields []string, header bool, wanted []string) ([]int, error) {
	position := map[string]int{}
	for i, name := range fields {
		position[strconv.Itoa(i)] = i
		if header {
			position[strings.TrimSpace(name)] = i
		}
	}
	var columns []int
	if len(wanted) == 0 {
		for i := range fields {
			columns = append(columns, i)
		}
	}
	for _, name := range wanted {
		i, ok := position[name]
		if !ok && header {
			return nil, fmt.Errorf("no column %q; it has %s", name, strings.Join(fields, ", "))
		}
		if !ok {
			return nil, fmt.Errorf("no column %q; it has columns 0 to %d", name, len(fields)-1)
		}
		columns = append(columns, i)
	}
	return columns, nil
}
