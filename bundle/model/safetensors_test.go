// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// safetensors returns a file with the given header and size bytes of data.
func safetensors(header string, size int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	out = append(out, header...)
	return append(out, make([]byte, size)...)
}

// manyKeys is the inside of an object with n keys.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":""`, i)
	}
	return b.String()[1:]
}

func TestReadHeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header string
		size   int
		want   string // part of the error; "" = good
	}{
		{"good", `{"__metadata__":{"format":"mlx"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}`, 9, ""},
		{"no tensors, spaces", `{}   `, 0, ""},
		{"empty tensor", `{"a":{"dtype":"F16","shape":[0,4],"data_offsets":[0,0]},"b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}`, 2, ""},
		{"half bytes", `{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, 2, ""},
		{"six bits", `{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]},"b":{"dtype":"F6_E3M2","shape":[2,2],"data_offsets":[3,6]}}`, 6, ""},
		{"F6 of odd count", `{"a":{"dtype":"F6_E2M3","shape":[3],"data_offsets":[0,3]}}`, 3, "does not fill"},
		{"scalar and empty tensors between others", `{"s":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"e":{"dtype":"C64","shape":[3,0],"data_offsets":[2,2]},"t":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[2,3]}}`, 3, ""},
		{"dtype in another case", `{"a":{"dtype":"f16","shape":[1],"data_offsets":[0,2]}}`, 2, "dtype"},
		{"metadata twice", `{"__metadata__":{},"__metadata__":{}}`, 0, "twice"},
		{"metadata key twice", `{"__metadata__":{"a":"1","a":"2"}}`, 0, "want one string"},
		{"escaped spelling of one name", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2, "twice"},
		{"F4 of odd count", `{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2, "does not fill"},
		{"gap", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2, "begins at 1"},
		{"overlap", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3, "begins at 1"},
		{"past the end", `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 3, "tensors end at 4"},
		{"data left", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2, "tensors end at 1"},
		{"shape unlike offsets", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4, "does not fill"},
		{"overflow", `{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}`, 0, "overflows"},
		{"backwards", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1, "does not fill"},
		{"unknown dtype", `{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,1]}}`, 1, "dtype"},
		{"duplicate tensor", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "twice at byte 64"},
		{"duplicate key", `{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "twice"},
		{"unknown key", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1, "unknown key"},
		{"case of key", `{"a":{"DType":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "unknown key"},
		{"negative", `{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1, "natural"},
		{"exponent", `{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}`, 1, "natural"},
		{"three offsets", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1, "natural"},
		{"no shape", `{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1, "want dtype"},
		{"metadata not strings", `{"__metadata__":{"a":1}}`, 0, "want one string"},
		{"not an object", `[]`, 0, "does not begin"},
		{"leading space", ` {}`, 0, "does not begin"},
		{"second document", `{}{}`, 0, "after the header's end"},
		{"newline at the end", "{}\n", 0, "after the header's end"},
		{"long name", `{"` + strings.Repeat("a", maxName+1) + `":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "a name of 257 bytes"},
		{"a key of __metadata__ too long", `{"__metadata__":{"` + strings.Repeat("a", maxName+1) + `":""}}`, 0, "at most 256 bytes"},
		{"keys of __metadata__ without end", `{"__metadata__":{` + manyKeys(maxNotes+1) + `}}`, 0, "at most 4096 keys"},
		{"long string", `{"__metadata__":{"a":"` + strings.Repeat(`\"`, maxString) + `"}}`, 0, "a string of more than"},
		{"rune cut by the end", "{\"\xe2\x82", 0, "UTF-8"},
		{"runes", `{"__metadata__":{"a":"` + strings.Repeat("x€", 10_000) + `"}}`, 0, ""},
		{"cut", `{"a":`, 0, "EOF"},
		{"not UTF-8", "{\"\xff\":1}", 0, "UTF-8 at byte 10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := safetensors(tt.header, tt.size)
			_, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
			if tt.want == "" && err != nil {
				t.Fatal(err)
			}
			if tt.want != "" && (!errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q and ErrInvalid", err, tt.want)
			}
		})
	}
}

// The length is judged before memory is asked for (HOSTILE F5).
func TestReadHeaderLength(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "declares 0 bytes", 1: "declares 1 bytes", 1 << 63: "more than 100000000", MaxHeader + 1: "more than 100000000", 1000: "",
	} {
		data := binary.LittleEndian.AppendUint64(nil, n)
		data = append(data, "{}"...)
		if _, err := ReadHeader(bytes.NewReader(data), int64(len(data))); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("length %d: got %v", n, err)
		}
		// The declared size is a lie: memory must follow what arrives.
		if _, err := ReadHeader(bytes.NewReader(data), 1<<40); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("length %d, size lied: got %v", n, err)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(safetensors(`{"__metadata__":{"format":"mlx"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Add(safetensors(`{"a":{"dtype":"F4","shape":[0,9223372036854775807],"data_offsets":[0,0]}}  `, 0))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !errors.Is(err, bundle.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		at := uint64(0)
		for _, x := range h.Tensors {
			if x.Begin != at || x.Elements()*dtypeBits[x.DType] != 8*(x.End-x.Begin) {
				t.Fatalf("%+v at %d", x, at)
			}
			at = x.End
		}
		if at > uint64(len(data)) {
			t.Fatalf("tensors end at %d of %d", at, len(data))
		}
	})
}
