// Package npy reads and writes NumPy's .npy and .npz files as C-order float32
// arrays. The format is that of numpy/lib/format.py, versions 1.0 to 3.0.
//
// Reading takes float32 and float64, either byte order, C or Fortran order.
// Integers and booleans are read only where asked ([Ints]), other types never.
// A float64 beyond float32's range, or an integer that float32 cannot hold, is
// an error and not an infinity. NaN and infinities in the file are values like
// others; [Array.CheckFinite] finds them.
//
// Malformed headers, truncated data and shapes that the file cannot hold are
// errors found before memory is taken for them. Writing is deterministic: the
// bytes are those NumPy's save writes, and archives hold no time.
package npy
