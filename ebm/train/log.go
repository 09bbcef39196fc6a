package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// format turns rows of a curve into bytes.
type format interface {
	begin(dst []byte, columns []string) []byte
	row(dst []byte, columns []string, values []float64) []byte
}

// logFormats by the end of the file's name.
var logFormats = map[string]format{".csv": csvFormat{}, ".jsonl": jsonFormat{}}

// csvFormat has a line of names; a cell without a value is empty, one that is not finite reads NaN, +Inf or -Inf.
type csvFormat struct{}

func (csvFormat) begin(dst []byte, columns []string) []byte {
	return append(dst, strings.Join(columns, ",")+"\n"...)
}

func (csvFormat) row(dst []byte, _ []string, values []float64) []byte {
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !IsAbsent(v) {
			dst = strconv.AppendFloat(dst, v, 'g', -1, 64)
		}
	}
	return append(dst, '\n')
}

// jsonFormat has an object a line; a cell without a value is left out, one that is not finite is null.
type jsonFormat struct{}

func (jsonFormat) begin(dst []byte, _ []string) []byte { return dst }

func (jsonFormat) row(dst []byte, columns []string, values []float64) []byte {
	separator := byte('{')
	for i, v := range values {
		if IsAbsent(v) {
			continue
		}
		name, _ := json.Marshal(columns[i])
		dst = append(append(append(dst, separator), name...), ':')
		separator = ','
		if math.IsNaN(v) || math.IsInf(v, 0) {
			dst = append(dst, "null"...)
		} else {
			dst = strconv.AppendFloat(dst, v, 'g', -1, 64)
		}
	}
	return append(dst, "}\n"...)
}

// flushEvery is how long a reader of a log waits for a row at most, as long as steps are done.
const flushEvery = time.Second

// logs are the files that rows of the curve go to. They are made with the first row.
type logs struct {
	outputs []logOutput
	open    bool
	buffer  []byte
	flushed time.Time
}

type logOutput struct {
	path   string
	folder bool // path lies in a folder to be made
	format format
	file   *os.File
	w      *bufio.Writer
}

func newLogs(cfg Config) logs {
	var l logs
	if cfg.Log != "" {
		l.outputs = append(l.outputs, logOutput{path: cfg.Log, format: logFormats[strings.ToLower(filepath.Ext(cfg.Log))]})
	}
	if cfg.TensorBoard != "" {
		l.outputs = append(l.outputs, logOutput{path: filepath.Join(cfg.TensorBoard, eventFile), folder: true, format: eventFormat{}})
	}
	return l
}

// start makes the files.
func (l *logs) start(columns []string) error {
	if l.open {
		return nil
	}
	l.open = true
	for i := range l.outputs {
		o := &l.outputs[i]
		if o.folder {
			if err := os.Mkdir(filepath.Dir(o.path), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("train: log: %w", err)
			}
		}
		var err error
		if o.file, err = os.Create(o.path); err != nil {
			return fmt.Errorf("train: log: %w", err)
		}
		o.w = bufio.NewWriterSize(o.file, 1<<16)
		if err := l.put(o.w, o.format.begin(l.buffer[:0], columns)); err != nil {
			return err
		}
	}
	return nil
}

func (l *logs) put(w io.Writer, b []byte) error {
	l.buffer = b[:0]
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("train: log: %w", err)
	}
	return nil
}

func (l *logs) add(c *Curve, row int) error {
	for _, o := range l.outputs {
		if err := l.put(o.w, o.format.row(l.buffer[:0], c.Columns, c.Row(row))); err != nil {
			return err
		}
	}
	return nil
}

// write adds the last row.
func (l *logs) write(c *Curve) error {
	if len(l.outputs) == 0 {
		return nil
	}
	if err := l.start(c.Columns); err != nil {
		return err
	}
	if err := l.add(c, c.Rows()-1); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(l.flushed) > flushEvery {
		l.flushed = now
		return l.flush()
	}
	return nil
}

// rewrite makes the files anew from a curve, as after a resume; the last row is left out where it is pending.
func (l *logs) rewrite(c *Curve, pending bool) error {
	rows := c.Rows()
	if pending {
		rows--
	}
	if len(l.outputs) == 0 || rows < 1 {
		return nil
	}
	if err := l.start(c.Columns); err != nil {
		return err
	}
	for i := range rows {
		if err := l.add(c, i); err != nil {
			return err
		}
	}
	return l.flush()
}

func (l *logs) flush() error {
	for _, o := range l.outputs {
		if o.w == nil {
			continue
		}
		if err := o.w.Flush(); err != nil {
			return fmt.Errorf("train: log: %w", err)
		}
	}
	return nil
}

// close flushes and closes the files; a second call does nothing.
func (l *logs) close() error {
	err := l.flush()
	for i := range l.outputs {
		o := &l.outputs[i]
		if o.file != nil {
			if closing := o.file.Close(); closing != nil {
				err = errors.Join(err, fmt.Errorf("train: log: %w", closing))
			}
			o.file, o.w = nil, nil
		}
	}
	return err
}
