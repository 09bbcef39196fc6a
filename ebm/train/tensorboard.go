package train

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// eventFile is the name of the event file in its folder; TensorBoard wants "tfevents" in it.
const eventFile = "events.out.tfevents.0.onnx-ebm"

// Field numbers of the messages Event, Summary and Summary.Value (tensorflow/core/util/event.proto, framework/summary.proto).
const (
	eventWallTime    protowire.Number = 1
	eventStep        protowire.Number = 2
	eventFileVersion protowire.Number = 3
	eventSummary     protowire.Number = 5
	summaryValue     protowire.Number = 1
	valueTag         protowire.Number = 1
	valueSimple      protowire.Number = 2
)

// eventFormat is TensorBoard's: records of serialized Events with scalars. The wall time of an event is its step, in seconds, so that
// equal runs give equal files.
type eventFormat struct{}

func (eventFormat) begin(dst []byte, _ []string) []byte {
	e := protowire.AppendFixed64(protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type), 0)
	e = protowire.AppendString(protowire.AppendTag(e, eventFileVersion, protowire.BytesType), "brain.Event:2")
	return appendRecord(dst, e)
}

func (eventFormat) row(dst []byte, columns []string, values []float64) []byte {
	var summary []byte
	for i, v := range values {
		if i == 0 || IsAbsent(v) {
			continue
		}
		value := protowire.AppendString(protowire.AppendTag(nil, valueTag, protowire.BytesType), columns[i])
		value = protowire.AppendFixed32(protowire.AppendTag(value, valueSimple, protowire.Fixed32Type), math.Float32bits(float32(v)))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, summaryValue, protowire.BytesType), value)
	}
	step := values[0]
	e := protowire.AppendFixed64(protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type), math.Float64bits(step))
	e = protowire.AppendVarint(protowire.AppendTag(e, eventStep, protowire.VarintType), uint64(step))
	e = protowire.AppendBytes(protowire.AppendTag(e, eventSummary, protowire.BytesType), summary)
	return appendRecord(dst, e)
}

// appendRecord adds a TFRecord: length, its masked CRC-32C, the data, their masked CRC-32C.
func appendRecord(dst, data []byte) []byte {
	from := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(data)))
	dst = binary.LittleEndian.AppendUint32(dst, maskedCRC(dst[from:]))
	dst = append(dst, data...)
	return binary.LittleEndian.AppendUint32(dst, maskedCRC(data))
}

// maskedCRC is the CRC-32C, rotated right by 15 and shifted: a CRC of data that holds CRCs is a poor one.
func maskedCRC(b []byte) uint32 {
	crc := crc32.Checksum(b, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}
