package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Lookup finds name in a table whose keys are lower case, whatever the case
// of name. An unknown name is an error that lists the valid ones; what says
// what is looked up ("data set", "loss").
func Lookup[V any](what, name string, table map[string]V) (V, error) {
	if v, ok := table[strings.ToLower(name)]; ok {
		return v, nil
	}
	var zero V
	return zero, Unknown(what, name, slices.Sorted(maps.Keys(table)))
}

// Unknown is the error for a name that is not among valid. It names the
// nearest one, where one is near, and lists all.
func Unknown(what, name string, valid []string) error {
	hint := ""
	if near := nearest(strings.ToLower(name), valid); near != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", near)
	}
	return fmt.Errorf("unknown %s %q%s; valid: %s", what, name, hint, strings.Join(valid, ", "))
}

// nearest is the name at the least edit distance, if at most 2.
func nearest(name string, valid []string) string {
	best, found := 3, ""
	if len(name) > 64 {
		return ""
	}
	for _, v := range valid {
		if d := distance(name, v); d < best && d < len(v) {
			best, found = d, v
		}
	}
	return found
}

// distance is Levenshtein's: insertions, deletions and substitutions.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
