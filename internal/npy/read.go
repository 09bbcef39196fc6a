package npy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Option changes what is read.
type Option func(*options)

type options struct {
	ints    bool
	doubles *[]float64
}

// Ints also accepts integers and booleans, as for labels. A value that float32
// cannot hold exactly is an error.
func Ints(o *options) { o.ints = true }

// Doubles also puts the values of a float64 file, not rounded, in *to.
func Doubles(to *[]float64) Option { return func(o *options) { o.doubles = to } }

func collect(opts []Option) (o options) {
	for _, f := range opts {
		f(&o)
	}
	return o
}

// ReadFile reads a .npy file. Errors name the file and, where one row is to
// blame, the row.
func ReadFile(path string, opts ...Option) (Array, error) {
	f, size, err := open(path)
	if err != nil {
		return Array{}, err
	}
	defer f.Close()
	a, err := read(f, size, collect(opts))
	if err != nil {
		return Array{}, fmt.Errorf("npy: %s: %w", path, err)
	}
	return a, nil
}

// open opens a file for reading; size is -1 where it is not known before the
// end (pipes).
func open(path string) (*os.File, int64, error) {
	if path == "" || path == "-" {
		return nil, 0, fmt.Errorf("npy: %q is not a file name; name a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("npy: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder, not a file", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("npy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return f, -1, nil
	}
	return f, info.Size(), nil
}

// Read reads one .npy array and the end of r after it. Memory grows with what
// r really holds, whatever the header says.
func Read(r io.Reader, opts ...Option) (Array, error) {
	a, err := read(r, -1, collect(opts))
	if err != nil {
		return Array{}, fmt.Errorf("npy: %w", err)
	}
	return a, nil
}

// read reads an array from r, which holds size bytes (-1: not known).
func read(r io.Reader, size int64, opts options) (Array, error) {
	h, err := readHeader(r, opts)
	if err != nil {
		return Array{}, err
	}
	if size >= 0 {
		if err := h.checkSize(size); err != nil {
			return Array{}, err
		}
	}
	var doubles []float64
	var keep func(raw []byte)
	if opts.doubles != nil && h.dtype.kind == 'f' && h.dtype.size == 8 {
		keep = func(raw []byte) { doubles = h.dtype.appendDoubles(doubles, raw) }
	}
	data, err := h.readData(r, size >= 0, keep)
	if err != nil {
		return Array{}, err
	}
	var extra [1]byte
	if n, _ := r.Read(extra[:]); n > 0 {
		return Array{}, errors.New("there is more in the file after the array; save one array a file")
	}
	if h.fortran {
		data, doubles = toC(data, h.shape), toC(doubles, h.shape)
	}
	if keep != nil {
		*opts.doubles = doubles
	}
	return Array{Shape: h.shape, Data: data}, nil
}

// checkSize compares the size of a file with what its header promises.
func (h header) checkSize(size int64) error {
	need, have := int64(h.count)*int64(h.dtype.size), size-int64(h.length)
	switch {
	case have < need:
		return fmt.Errorf("shape %v needs %d bytes of data and the file holds %d; it is cut off", h.shape, need, have)
	case have > need:
		return fmt.Errorf("%d bytes follow the array; save one array a file", have-need)
	}
	return nil
}

// chunk is the number of elements read at a time: small enough to stay in
// cache between reading and conversion.
const chunk = 1 << 15

// readData reads all elements in file order. trusted says that the data are
// known to be there; keep, if not nil, sees the bytes that are converted.
func (h header) readData(r io.Reader, trusted bool, keep func(raw []byte)) ([]float32, error) {
	out := []float32{}
	if trusted {
		out = make([]float32, 0, h.count)
	}
	var raw []byte
	if h.dtype.size != 4 || h.dtype.kind != 'f' {
		raw = make([]byte, min(h.count, chunk)*h.dtype.size)
	}
	for len(out) < h.count {
		at := len(out)
		n := min(h.count-at, chunk)
		if trusted && h.dtype.isNative() {
			n = h.count // straight to its place, in one read
		}
		out = slices.Grow(out, n)[:at+n]
		part := raw[:min(len(raw), n*h.dtype.size)]
		if raw == nil {
			part = bytesOf(out[at:])
		}
		if _, err := io.ReadFull(r, part); err != nil {
			if isEnd(err) {
				return nil, fmt.Errorf("shape %v needs %d values and the file ends before; it is cut off", h.shape, h.count)
			}
			return nil, err
		}
		if raw == nil && h.dtype.isNative() {
			continue
		}
		if bad := h.dtype.convert(out[at:], part); bad >= 0 {
			return nil, fmt.Errorf("row %d (from 0) holds a value that float32 cannot (it would become %v)", h.row(at+bad), out[at+bad])
		}
		if keep != nil {
			keep(part)
		}
	}
	return out, nil
}
