//go:build linux

package npy

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// residentFile is how much of mapped files the process holds in memory, bytes.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssFile:" {
			kib, err := strconv.Atoi(f[1])
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Skip("the system does not tell")
	return 0
}

// A file of zeros that takes no space on disk: however much of it is read, little stays resident.
func TestMappedFilesStayOutOfMemory(t *testing.T) {
	const rows, width = 4096, 64 << 10
	path := filepath.Join(t.TempDir(), "large.npy")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, WriteHeader(f, []int{rows, width / 4}))
	at, err := f.Seek(0, 1)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(at+rows*width))
	require.NoError(t, f.Close())
	m, err := Map(path)
	require.NoError(t, err)
	defer m.Close()
	before, most := residentFile(t), 0
	dst := make([]float32, 16*width/4)
	indices := make([]int, 16)
	for step := range rows / 16 {
		for i := range indices {
			indices[i] = (step*16 + i) * 1021 % rows // every row once, far apart
		}
		require.NoError(t, m.Rows(dst, indices))
		most = max(most, residentFile(t)-before)
	}
	require.Less(t, most, rows*width/2, "of a file of %d", rows*width)
	require.Positive(t, most, "the measure sees pages")
}
