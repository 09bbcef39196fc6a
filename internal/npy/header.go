package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	magic = "\x93NUMPY"
	// maxHeader bounds what a header may ask for; real ones have ~100 bytes.
	maxHeader = 1 << 20
)

// header is what precedes the data of a .npy file.
type header struct {
	dtype   dtype
	fortran bool
	shape   []int
	count   int // elements
	length  int // bytes of the header itself, magic included
}

// row is the row of the element stored at position i.
func (h header) row(i int) int {
	if h.fortran && len(h.shape) > 0 {
		return i % max(h.shape[0], 1)
	}
	return i / max(rowLen(h.shape), 1)
}

func readHeader(r io.Reader, opts options) (header, error) {
	var h header
	start := make([]byte, 10, 12)
	if _, err := io.ReadFull(r, start); err != nil || string(start[:6]) != magic {
		if err != nil && !isEnd(err) {
			return h, err
		}
		return h, errors.New("not a .npy file")
	}
	size := int(binary.LittleEndian.Uint16(start[8:]))
	switch major := start[6]; major {
	case 1:
	case 2, 3:
		start = start[:12]
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return h, errors.New("the header is cut off")
		}
		long := binary.LittleEndian.Uint32(start[8:])
		if long > maxHeader {
			return h, fmt.Errorf("a header of %d bytes is not plausible", long)
		}
		size = int(long)
	default:
		return h, fmt.Errorf(".npy version %d.%d is not known; 1.0 to 3.0 are", major, start[7])
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, errors.New("the header is cut off")
	}
	h.length = len(start) + size
	descr, err := h.parse(string(text))
	if err != nil {
		return h, fmt.Errorf("malformed header: %w", err)
	}
	if h.count, err = count(h.shape); err != nil {
		return h, err
	}
	h.dtype, err = parseDtype(descr, opts)
	return h, err
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// parse reads the Python literal {'descr': '<f4', 'fortran_order': False,
// 'shape': (2, 3), } with its three keys in any order.
func (h *header) parse(text string) (descr string, err error) {
	s := scanner{rest: text}
	seen := map[string]bool{}
	s.need("{")
	for s.err == nil && !s.have("}") {
		key := s.text()
		s.need(":")
		if seen[key] {
			s.fail("key %q twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			if s.err == nil && s.peek("[") {
				return "", errors.New("structured dtypes are not supported; save one field as float32")
			}
			descr = s.text()
		case "fortran_order":
			h.fortran = s.truth()
		case "shape":
			h.shape = s.tuple()
		default:
			s.fail("unknown key %q", key)
		}
		if !s.have(",") && !s.peek("}") {
			s.fail("%q where a comma should be", s.rest)
		}
	}
	if s.err == nil && strings.TrimSpace(s.rest) != "" {
		s.fail("text after the dictionary")
	}
	if s.err == nil && len(seen) != 3 {
		s.fail("it needs descr, fortran_order and shape")
	}
	return descr, s.err
}

// scanner takes Python literals off the front of a text and keeps its first
// error, after which it does nothing.
type scanner struct {
	rest string
	err  error
}

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

func (s *scanner) peek(token string) bool {
	s.rest = strings.TrimLeft(s.rest, " \t\r\n")
	return strings.HasPrefix(s.rest, token)
}

func (s *scanner) have(token string) bool {
	if s.err != nil || !s.peek(token) {
		return false
	}
	s.rest = s.rest[len(token):]
	return true
}

func (s *scanner) need(token string) {
	if s.err == nil && !s.have(token) {
		s.fail("no %q", token)
	}
}

// text is a quoted string without escapes.
func (s *scanner) text() string {
	quote := "'"
	if s.peek(`"`) {
		quote = `"`
	}
	s.need(quote)
	out, rest, ok := strings.Cut(s.rest, quote)
	if s.err == nil && (!ok || strings.ContainsAny(out, "\\\n")) {
		s.fail("a string without its end")
	}
	if s.err != nil {
		return ""
	}
	s.rest = rest
	return out
}

func (s *scanner) truth() bool {
	if s.have("True") {
		return true
	}
	s.need("False")
	return false
}

// tuple is (), (3,) or (3, 4), where Python 2 wrote 3L.
func (s *scanner) tuple() []int {
	shape := []int{}
	s.need("(")
	for s.err == nil && !s.have(")") {
		digits := len(s.rest) - len(strings.TrimLeft(s.rest, "-0123456789"))
		n, err := strconv.Atoi(s.rest[:digits])
		if err != nil {
			s.fail("%q is not an extent", s.rest[:min(digits, 24)])
			break
		}
		s.rest = s.rest[digits:]
		s.have("L")
		shape = append(shape, n)
		if len(shape) > 64 {
			s.fail("more than 64 axes")
		}
		if comma := s.have(","); !comma && (len(shape) == 1 || !s.peek(")")) {
			s.fail("the shape is not a tuple")
		}
		s.peek("") // spaces before the next extent
	}
	return shape
}

// formatHeader is the header NumPy's save writes for C-order float32: version
// 1.0, with room for the leading extent to grow, padded so that the data start
// at a multiple of 64 bytes.
func formatHeader(shape []int) []byte {
	var dims strings.Builder
	for i, d := range shape {
		if i > 0 {
			dims.WriteString(", ")
		}
		dims.WriteString(strconv.Itoa(d))
	}
	if len(shape) == 1 {
		dims.WriteString(",")
	}
	text := "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims.String() + "), }"
	if len(shape) > 0 {
		text += strings.Repeat(" ", 21-len(strconv.Itoa(shape[0])))
	}
	const before = len(magic) + 4
	text += strings.Repeat(" ", 63-(before+len(text))%64) + "\n"
	out := append([]byte(magic), 1, 0, 0, 0)
	binary.LittleEndian.PutUint16(out[8:], uint16(len(text)))
	return append(out, text...)
}
