package ebm

// CompileAtMost lowers the number of parameters that are compiled into programs and returns what restores it.
func CompileAtMost(n int) func() {
	old := maxCompiled
	maxCompiled = n
	return func() { maxCompiled = old }
}
