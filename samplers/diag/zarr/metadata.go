package zarr

import (
	"encoding/json"
	"fmt"
)

// The metadata of the Zarr core specification, version 3: a file zarr.json in the
// folder of each group and array.

type groupMetadata struct {
	Format       int               `json:"zarr_format"`
	NodeType     string            `json:"node_type"`
	Attributes   map[string]string `json:"attributes"`
	Consolidated *consolidated     `json:"consolidated_metadata,omitempty"`
}

// consolidated repeats at the root the metadata of all below, which xarray looks
// for first.
type consolidated struct {
	Kind           string         `json:"kind"`
	MustUnderstand bool           `json:"must_understand"`
	Metadata       map[string]any `json:"metadata"`
}

func newGroup(attributes map[string]string) groupMetadata {
	if attributes == nil {
		attributes = map[string]string{}
	}
	return groupMetadata{Format: 3, NodeType: "group", Attributes: attributes}
}

type arrayMetadata struct {
	Format     int             `json:"zarr_format"`
	NodeType   string          `json:"node_type"`
	Shape      []int           `json:"shape"`
	DataType   json.RawMessage `json:"data_type"`
	Grid       named           `json:"chunk_grid"`
	Keys       named           `json:"chunk_key_encoding"`
	FillValue  json.RawMessage `json:"fill_value"`
	Codecs     []named         `json:"codecs"`
	Attributes map[string]any  `json:"attributes"`
	Dimensions []string        `json:"dimension_names"`
}

// named is an extension point: a name and what configures it.
type named struct {
	Name          string        `json:"name"`
	Configuration configuration `json:"configuration,omitzero"`
}

type configuration struct {
	ChunkShape []int  `json:"chunk_shape,omitempty"`
	Separator  string `json:"separator,omitempty"`
	Endian     string `json:"endian,omitempty"`
}

func newArray(dtype string, shape, chunk []int, dims []string) arrayMetadata {
	fill, endian := "0", "little"
	switch dtype {
	case "bool":
		fill, endian = "false", ""
	case "float32", "float64":
		fill = "0.0"
	}
	return arrayMetadata{
		Format: 3, NodeType: "array", Shape: shape,
		DataType:   json.RawMessage(`"` + dtype + `"`),
		Grid:       named{"regular", configuration{ChunkShape: chunk}},
		Keys:       named{"default", configuration{Separator: "/"}},
		FillValue:  json.RawMessage(fill),
		Codecs:     []named{{"bytes", configuration{Endian: endian}}},
		Attributes: map[string]any{},
		Dimensions: dims,
	}
}

func marshal(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("zarr: %w", err)
	}
	return append(text, '\n'), nil
}
