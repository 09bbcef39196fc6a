package main

import (
	"slices"
	"strconv"
)

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// isCount tells whether s is a whole number from 0 on.
func isCount(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0
}
