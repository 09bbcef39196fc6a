package docs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.md")
	doc := "# A\n<!-- begin one -->\nold\n<!-- end one -->\n<!-- begin two -->\n<!-- end two -->\nrest\n"
	require.NoError(t, os.WriteFile(path, []byte(doc), 0o644))
	text, err := Section(path, "one")
	require.NoError(t, err)
	require.Equal(t, "old\n", text)
	require.NoError(t, Update(path, "two", "new\n"))
	require.NoError(t, Update(path, "one", ""))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "# A\n<!-- begin one -->\n<!-- end one -->\n<!-- begin two -->\nnew\n<!-- end two -->\nrest\n", string(raw))
	require.Error(t, Update(path, "three", ""))
}
