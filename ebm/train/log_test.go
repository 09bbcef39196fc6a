package train

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/onnx-ebm/onnx-ebm/ebm"
)

// logged runs CD with everything logged.
func logged(t *testing.T, log, tensorboard string) *Result {
	e := energy(t, open(t, 0), mlp(t, 2, 8), ebm.Options{})
	res, err := Run(context.Background(), e, newLoss(t, "cd:k=2", &Chains{Target: e}), gaussian(t, 100, 1, 1, 1), Config{
		Steps: 7, Batch: 20, Log: log, TensorBoard: tensorboard, Validation: gaussian(t, 30, 2, 1, 1), ValidateEvery: 3,
	})
	require.NoError(t, err)
	return res
}

var wantColumns = []string{"step", "epoch", "loss", "pos_energy", "neg_energy", "energy_gap", "reg_loss", "grad_norm", "lr", "acceptance", "rejected_nonfinite", "validation"}

func TestCSV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	res := logged(t, path, "")
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 8)
	require.Equal(t, wantColumns, rows[0])
	for i, row := range rows[1:] {
		for j, cell := range row {
			v := res.Curve.Row(i)[j]
			if cell == "" {
				require.True(t, IsAbsent(v))
				require.NotContains(t, []int{2, 5, 6}, i, "steps 3, 6 and the last have a validation")
				continue
			}
			got, err := strconv.ParseFloat(cell, 64)
			require.NoError(t, err)
			require.Equal(t, v, got)
		}
	}
	require.Equal(t, "1", rows[1][0])
	require.Equal(t, "0.2", rows[1][1])
}

func TestJSONLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.jsonl")
	res := logged(t, path, "")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	require.Len(t, lines, 7)
	for i, line := range lines {
		var row map[string]float64
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		for j, name := range wantColumns {
			v, ok := row[name]
			require.Equal(t, !IsAbsent(res.Curve.Row(i)[j]), ok)
			if ok {
				require.Equal(t, res.Curve.Row(i)[j], v)
			}
		}
	}
	values := []float64{1, math.NaN(), absent, math.Inf(-1)}
	columns := []string{"a", `b"`, "c", "d"}
	require.Equal(t, `{"a":1,"b\"":null,"d":null}`+"\n", string(jsonFormat{}.row(nil, columns, values)))
	require.Equal(t, "1,NaN,,-Inf\n", string(csvFormat{}.row(nil, columns, values)))
}

// event is a parsed Event.
type event struct {
	wall    float64
	step    uint64
	version string
	scalars map[string]float32
}

// fields calls f for every field of a message.
func fields(t *testing.T, b []byte, f func(n protowire.Number, value []byte, number uint64)) {
	t.Helper()
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		require.Positive(t, size)
		b = b[size:]
		var value []byte
		var number uint64
		switch typ {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, size = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, size = protowire.ConsumeFixed32(b)
			number = uint64(v)
		default:
			value, size = protowire.ConsumeBytes(b)
		}
		require.Positive(t, size)
		f(n, value, number)
		b = b[size:]
	}
}

// events reads a file of records, checking all CRCs by a bitwise CRC-32C of its own.
func events(t *testing.T, b []byte) (all []event) {
	t.Helper()
	crc := func(b []byte) uint32 {
		c := ^uint32(0)
		for _, v := range b {
			c ^= uint32(v)
			for range 8 {
				c = c>>1 ^ 0x82f63b78&-(c&1)
			}
		}
		c = ^c
		return (c>>15 | c<<17) + 0xa282ead8
	}
	for len(b) > 0 {
		require.GreaterOrEqual(t, len(b), 16)
		size := binary.LittleEndian.Uint64(b)
		require.Equal(t, crc(b[:8]), binary.LittleEndian.Uint32(b[8:]))
		data := b[12 : 12+size]
		require.Equal(t, crc(data), binary.LittleEndian.Uint32(b[12+size:]))
		b = b[16+size:]
		e := event{scalars: map[string]float32{}}
		fields(t, data, func(n protowire.Number, value []byte, number uint64) {
			switch n {
			case 1:
				e.wall = math.Float64frombits(number)
			case 2:
				e.step = number
			case 3:
				e.version = string(value)
			case 5:
				fields(t, value, func(n protowire.Number, value []byte, _ uint64) {
					require.EqualValues(t, 1, n)
					var tag string
					var v float32
					fields(t, value, func(n protowire.Number, value []byte, number uint64) {
						if n == 1 {
							tag = string(value)
						} else {
							v = math.Float32frombits(uint32(number))
						}
					})
					e.scalars[tag] = v
				})
			}
		})
		all = append(all, e)
	}
	return all
}

func TestTensorBoard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	res := logged(t, "", dir)
	b, err := os.ReadFile(filepath.Join(dir, eventFile))
	require.NoError(t, err)
	all := events(t, b)
	require.Len(t, all, 8)
	require.Equal(t, "brain.Event:2", all[0].version)
	for i, e := range all[1:] {
		require.EqualValues(t, i+1, e.step)
		want := map[string]float32{}
		for j, v := range res.Curve.Row(i) {
			if j > 0 && !IsAbsent(v) {
				want[wantColumns[j]] = float32(v)
			}
		}
		require.Equal(t, want, e.scalars)
	}
	// The check value of CRC-32C, masked.
	require.Equal(t, uint32(0xe3069283), crc32.Checksum([]byte("123456789"), castagnoli))
	require.Equal(t, uint32(0xe3069283>>15|0xe3069283<<17&0xffffffff)+0xa282ead8, maskedCRC([]byte("123456789")))
}
