package npy

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/onnx-ebm/onnx-ebm/internal/atomicfile"
)

// Write writes a as .npy: version 1.0, little-endian float32, C order.
func Write(w io.Writer, a Array) error {
	n, err := count(a.Shape)
	if err != nil {
		return fmt.Errorf("npy: %w", err)
	}
	if n != len(a.Data) {
		return fmt.Errorf("npy: shape %v holds %d values, not the %d given", a.Shape, n, len(a.Data))
	}
	if err := WriteHeader(w, a.Shape); err != nil {
		return err
	}
	return WriteData(w, a.Data)
}

// WriteHeader begins a .npy file whose data the caller writes in pieces with
// WriteData, as many values as shape holds.
func WriteHeader(w io.Writer, shape []int) error {
	if _, err := count(shape); err != nil {
		return fmt.Errorf("npy: %w", err)
	}
	_, err := w.Write(formatHeader(shape))
	return err
}

// WriteData writes values in the file's byte order.
func WriteData(w io.Writer, data []float32) error {
	little := dtype{kind: 'f', size: 4, order: binary.LittleEndian}
	if little.isNative() {
		_, err := w.Write(bytesOf(data))
		return err
	}
	swapped := make([]float32, min(len(data), chunk))
	for len(data) > 0 {
		n := min(len(data), chunk)
		little.convert(swapped[:n], bytesOf(data[:n]))
		if _, err := w.Write(bytesOf(swapped[:n])); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// WriteFile replaces the file at path with a, whole or not at all.
func WriteFile(path string, a Array) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Write(w, a) })
}
