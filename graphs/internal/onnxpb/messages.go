package onnxpb

// maxField is above every modelled field number.
const maxField = 32

// fields holds a pointer to each modelled field of a message, indexed by field number.
type fields [maxField]any

type message interface {
	fields() fields
	header() *Header
}

// Header is the part that all messages share.
type Header struct {
	has     uint32 // bit n: the scalar field n is present, even where it is zero
	size    int    // encoded size, set by the sizing pass
	Unknown []byte // fields that are not modelled, tags included
}

func (h *Header) header() *Header { return h }

// Has reports whether scalar field n was in the file or was marked.
func (h *Header) Has(n int) bool { return h.has&(1<<n) != 0 }

// Mark makes the encoder write scalar field n even where it is zero.
func (h *Header) Mark(n int) { h.has |= 1 << n }

// Model is ModelProto.
type Model struct {
	Header
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	DocString       string
	Graph           *Graph
	OpsetImport     []*OperatorSetID
	MetadataProps   []*StringStringEntry
	Functions       []*Function
}

func (m *Model) fields() fields {
	return fields{
		1: &m.IRVersion, 2: &m.ProducerName, 3: &m.ProducerVersion, 4: &m.Domain, 5: &m.ModelVersion, 6: &m.DocString,
		7: one(&m.Graph), 8: many(&m.OpsetImport), 14: many(&m.MetadataProps), 25: many(&m.Functions),
	}
}

// OperatorSetID is OperatorSetIdProto.
type OperatorSetID struct {
	Header
	Domain  string
	Version int64
}

func (m *OperatorSetID) fields() fields { return fields{1: &m.Domain, 2: &m.Version} }

// Graph is GraphProto.
type Graph struct {
	Header
	Node              []*Node
	Name              string
	Initializer       []*Tensor
	DocString         string
	Input             []*ValueInfo
	Output            []*ValueInfo
	ValueInfo         []*ValueInfo
	SparseInitializer []*SparseTensor
	MetadataProps     []*StringStringEntry
}

func (m *Graph) fields() fields {
	return fields{
		1: many(&m.Node), 2: &m.Name, 5: many(&m.Initializer), 10: &m.DocString, 11: many(&m.Input), 12: many(&m.Output),
		13: many(&m.ValueInfo), 15: many(&m.SparseInitializer), 16: many(&m.MetadataProps),
	}
}

// Node is NodeProto.
type Node struct {
	Header
	Input         []string
	Output        []string
	Name          string
	OpType        string
	Attribute     []*Attribute
	DocString     string
	Domain        string
	Overload      string
	MetadataProps []*StringStringEntry
}

func (m *Node) fields() fields {
	return fields{
		1: &m.Input, 2: &m.Output, 3: &m.Name, 4: &m.OpType, 5: many(&m.Attribute), 6: &m.DocString, 7: &m.Domain,
		8: &m.Overload, 9: many(&m.MetadataProps),
	}
}

// AttributeType is AttributeProto.AttributeType.
type AttributeType int32

// Types of attributes.
const (
	AttrUndefined     AttributeType = 0
	AttrFloat         AttributeType = 1
	AttrInt           AttributeType = 2
	AttrString        AttributeType = 3
	AttrTensor        AttributeType = 4
	AttrGraph         AttributeType = 5
	AttrFloats        AttributeType = 6
	AttrInts          AttributeType = 7
	AttrStrings       AttributeType = 8
	AttrTensors       AttributeType = 9
	AttrGraphs        AttributeType = 10
	AttrSparseTensor  AttributeType = 11
	AttrSparseTensors AttributeType = 12
	AttrTypeProto     AttributeType = 13
	AttrTypeProtos    AttributeType = 14
)

var attributeTypes = [...]string{
	"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings", "tensors", "graphs",
	"sparse tensor", "sparse tensors", "type", "types",
}

// String returns the type's name, such as "ints".
func (t AttributeType) String() string {
	if t < 0 || int(t) >= len(attributeTypes) {
		return "unknown"
	}
	return attributeTypes[t]
}

// Field numbers of the scalar values of an Attribute, for Has and Mark.
const (
	FieldF = 2
	FieldI = 3
	FieldS = 4
)

// Attribute is AttributeProto.
type Attribute struct {
	Header
	Name          string
	F             float32
	I             int64
	S             []byte
	T             *Tensor
	G             *Graph
	Floats        []float32
	Ints          []int64
	Strings       [][]byte
	Tensors       []*Tensor
	Graphs        []*Graph
	DocString     string
	TP            *Type
	TypeProtos    []*Type
	Type          AttributeType
	RefAttrName   string
	SparseTensor  *SparseTensor
	SparseTensors []*SparseTensor
}

func (m *Attribute) fields() fields {
	return fields{
		1: &m.Name, 2: &m.F, 3: &m.I, 4: &m.S, 5: one(&m.T), 6: one(&m.G), 7: &m.Floats, 8: &m.Ints, 9: &m.Strings,
		10: many(&m.Tensors), 11: many(&m.Graphs), 13: &m.DocString, 14: one(&m.TP), 15: many(&m.TypeProtos),
		20: (*int32)(&m.Type), 21: &m.RefAttrName, 22: one(&m.SparseTensor), 23: many(&m.SparseTensors),
	}
}

// Tensor is TensorProto.
type Tensor struct {
	Header
	Dims          []int64
	DataType      int32
	Segment       *Segment
	FloatData     Packed[float32]
	Int32Data     Packed[int32]
	StringData    [][]byte
	Int64Data     Packed[int64]
	Name          string
	RawData       []byte
	DoubleData    Packed[float64]
	Uint64Data    Packed[uint64]
	DocString     string
	ExternalData  []*StringStringEntry
	DataLocation  int32
	MetadataProps []*StringStringEntry
}

// FieldRawData is the field number of Tensor.RawData, for Has and Mark.
const FieldRawData = 9

// External is the value of Tensor.DataLocation for data in another file.
const External = 1

func (m *Tensor) fields() fields {
	return fields{
		1: &m.Dims, 2: &m.DataType, 3: one(&m.Segment), 4: &m.FloatData, 5: &m.Int32Data, 6: &m.StringData, 7: &m.Int64Data,
		8: &m.Name, 9: &m.RawData, 10: &m.DoubleData, 11: &m.Uint64Data, 12: &m.DocString, 13: many(&m.ExternalData),
		14: &m.DataLocation, 16: many(&m.MetadataProps),
	}
}

// Segment is TensorProto.Segment.
type Segment struct {
	Header
	Begin, End int64
}

func (m *Segment) fields() fields { return fields{1: &m.Begin, 2: &m.End} }

// SparseTensor is SparseTensorProto.
type SparseTensor struct {
	Header
	Values  *Tensor
	Indices *Tensor
	Dims    []int64
}

func (m *SparseTensor) fields() fields {
	return fields{1: one(&m.Values), 2: one(&m.Indices), 3: &m.Dims}
}

// ValueInfo is ValueInfoProto.
type ValueInfo struct {
	Header
	Name          string
	Type          *Type
	DocString     string
	MetadataProps []*StringStringEntry
}

func (m *ValueInfo) fields() fields {
	return fields{1: &m.Name, 2: one(&m.Type), 3: &m.DocString, 4: many(&m.MetadataProps)}
}

// Type is TypeProto. Other kinds than tensors stay among the unknown fields.
type Type struct {
	Header
	Tensor     *TensorType
	Denotation string
}

func (m *Type) fields() fields { return fields{1: one(&m.Tensor), 6: &m.Denotation} }

// TensorType is TypeProto.Tensor.
type TensorType struct {
	Header
	ElemType int32
	Shape    *Shape
}

func (m *TensorType) fields() fields { return fields{1: &m.ElemType, 2: one(&m.Shape)} }

// Shape is TensorShapeProto.
type Shape struct {
	Header
	Dim []*Dim
}

func (m *Shape) fields() fields { return fields{1: many(&m.Dim)} }

// FieldDimValue is the field number of Dim.Value, for Has and Mark.
const FieldDimValue = 1

// Dim is TensorShapeProto.Dimension. Value counts only where Has(FieldDimValue).
type Dim struct {
	Header
	Value      int64
	Param      string
	Denotation string
}

func (m *Dim) fields() fields { return fields{1: &m.Value, 2: &m.Param, 3: &m.Denotation} }

// StringStringEntry is StringStringEntryProto.
type StringStringEntry struct {
	Header
	Key, Value string
}

func (m *StringStringEntry) fields() fields { return fields{1: &m.Key, 2: &m.Value} }

// Function is FunctionProto.
type Function struct {
	Header
	Name           string
	Input          []string
	Output         []string
	Attribute      []string
	Node           []*Node
	DocString      string
	OpsetImport    []*OperatorSetID
	Domain         string
	AttributeProto []*Attribute
	ValueInfo      []*ValueInfo
	Overload       string
	MetadataProps  []*StringStringEntry
}

func (m *Function) fields() fields {
	return fields{
		1: &m.Name, 4: &m.Input, 5: &m.Output, 6: &m.Attribute, 7: many(&m.Node), 8: &m.DocString, 9: many(&m.OpsetImport),
		10: &m.Domain, 11: many(&m.AttributeProto), 12: many(&m.ValueInfo), 13: &m.Overload, 14: many(&m.MetadataProps),
	}
}

// single is a field that holds one message.
type single interface {
	get() message // nil when absent
	set() message // the message, made where absent
}

// list is a repeated field of messages.
type list interface {
	len() int
	at(i int) message
	add() message
}

type pointer[T any] interface {
	*T
	message
}

type oneField[T any, M pointer[T]] struct{ p *M }

func one[T any, M pointer[T]](p *M) single { return oneField[T, M]{p} }

func (f oneField[T, M]) get() message {
	if *f.p == nil {
		return nil
	}
	return *f.p
}

func (f oneField[T, M]) set() message {
	if *f.p == nil {
		*f.p = new(T)
	}
	return *f.p
}

type manyField[T any, M pointer[T]] struct{ p *[]M }

func many[T any, M pointer[T]](p *[]M) list { return manyField[T, M]{p} }

func (f manyField[T, M]) len() int         { return len(*f.p) }
func (f manyField[T, M]) at(i int) message { return (*f.p)[i] }

func (f manyField[T, M]) add() message {
	m := M(new(T))
	*f.p = append(*f.p, m)
	return m
}
