// Package docs keeps generated parts of documents up to date: a test makes the text, compares it with what the document holds between two
// markers, and writes it there when asked to.
package docs

import (
	"fmt"
	"os"
	"strings"
)

// Section returns the text between the markers of a section of a document.
func Section(path, name string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("docs: %w", err)
	}
	_, text, _, err := split(string(raw), name)
	return text, err
}

// Update puts text between the markers of a section of a document.
func Update(path, name, text string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("docs: %w", err)
	}
	before, _, after, err := split(string(raw), name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(before+text+after), 0o644); err != nil {
		return fmt.Errorf("docs: %w", err)
	}
	return nil
}

func split(doc, name string) (before, text, after string, err error) {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	i, j := strings.Index(doc, begin), strings.Index(doc, end)
	if i < 0 || j < i {
		return "", "", "", fmt.Errorf("docs: no section %q", name)
	}
	i += len(begin)
	return doc[:i], doc[i:j], doc[j:], nil
}
