package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/hone-lm/hone/model/internal/half"
)

// Type is a tensor's storage type (ggml's numbering).
type Type uint32

// The types that Read dequantises.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q8_0 Type = 8
	BF16 Type = 30
)

type typeInfo struct {
	name  string
	block int // elements in a block
	bytes int // bytes in a block
}

// types lists every type of ggml with its block size, so that the layout of a file is checked, and its metadata read, even where Read cannot serve the tensors.
var types = map[Type]typeInfo{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20}, Q8_0: {"Q8_0", 32, 34},
	6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, 9: {"Q8_1", 32, 36},
	10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, 12: {"Q4_K", 256, 144}, 13: {"Q5_K", 256, 176}, 14: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18},
	21: {"IQ3_S", 256, 110}, 22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 29: {"IQ1_M", 256, 56},
	24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8},
	34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17},
}

// String returns ggml's name of the type.
func (t Type) String() string {
	if i, ok := types[t]; ok {
		return i.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Read dequantises the tensor into dst, which must have exactly its number of elements, row by row as Shape says.
func (g *File) Read(name string, dst []float32) error {
	t, ok := g.Tensor(name)
	if !ok {
		return fmt.Errorf("%s: no tensor %q", g.Path, name)
	}
	if len(dst) != t.Elems {
		return fmt.Errorf("%s: tensor %q is %v, %d elements, not %d", g.Path, name, t.Shape, t.Elems, len(dst))
	}
	widen := widener(t.Type)
	if widen == nil {
		return fmt.Errorf("%s: tensor %q has type %v, which is not read; convert the model to F32, F16, BF16, Q8_0, Q4_0 or Q4_1", g.Path, name, t.Type)
	}
	info := types[t.Type]
	blocks := t.Elems / info.block
	step := min(blocks, max(1, 1<<18/info.bytes))
	buf := make([]byte, step*info.bytes)
	for b := 0; b < blocks; b += step {
		n := min(step, blocks-b)
		part := buf[:n*info.bytes]
		if _, err := g.data.ReadAt(part, t.offset+int64(b)*int64(info.bytes)); err != nil {
			return fmt.Errorf("%s: tensor %q: reading at byte %d: %w", g.Path, name, t.offset+int64(b)*int64(info.bytes), err)
		}
		widen(dst[b*info.block:(b+n)*info.block], part)
	}
	return nil
}

// ReadStored reads len(dst) bytes of the tensor as the file stores it, from a byte offset within it on.
func (g *File) ReadStored(name string, from int64, dst []byte) error {
	t, ok := g.Tensor(name)
	if !ok {
		return fmt.Errorf("%s: no tensor %q", g.Path, name)
	}
	if from < 0 || from > t.bytes || int64(len(dst)) > t.bytes-from {
		return fmt.Errorf("%s: tensor %q has %d bytes, not %d from %d on", g.Path, name, t.bytes, len(dst), from)
	}
	if _, err := g.data.ReadAt(dst, t.offset+from); err != nil {
		return fmt.Errorf("%s: tensor %q: reading at byte %d: %w", g.Path, name, t.offset+from, err)
	}
	return nil
}

// widener returns the function that turns whole blocks into float32, or nil.
func widener(t Type) func(dst []float32, src []byte) {
	switch t {
	case F32:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
			}
		}
	case F16:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = half.F16(binary.LittleEndian.Uint16(src[2*i:]))
			}
		}
	case BF16:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = half.BF16(binary.LittleEndian.Uint16(src[2*i:]))
			}
		}
	case Q8_0:
		return q8_0
	case Q4_0:
		return q4_0
	case Q4_1:
		return q4_1
	}
	return nil
}

// q8_0: a block is a float16 scale d and 32 signed bytes q; the value is d*q.
func q8_0(dst []float32, src []byte) {
	for len(dst) > 0 {
		d := half.F16(binary.LittleEndian.Uint16(src))
		for i := range 32 {
			dst[i] = d * float32(int8(src[2+i]))
		}
		dst, src = dst[32:], src[34:]
	}
}

// q4_0: a block is a float16 scale d and 16 bytes; the low nibbles are elements 0..15, the high ones 16..31; the value is d*(q-8).
func q4_0(dst []float32, src []byte) {
	for len(dst) > 0 {
		d := half.F16(binary.LittleEndian.Uint16(src))
		for i, b := range src[2:18] {
			dst[i] = d * float32(int(b&15)-8)
			dst[i+16] = d * float32(int(b>>4)-8)
		}
		dst, src = dst[32:], src[18:]
	}
}

// q4_1: as q4_0 with a float16 minimum m after the scale; the value is d*q + m, product and sum rounded one after the other as in the reference.
func q4_1(dst []float32, src []byte) {
	for len(dst) > 0 {
		d := half.F16(binary.LittleEndian.Uint16(src))
		m := half.F16(binary.LittleEndian.Uint16(src[2:]))
		for i, b := range src[4:20] {
			lo, hi := d*float32(b&15), d*float32(b>>4)
			// the conversions keep compilers of other CPUs from fusing product and sum
			dst[i] = float32(lo) + m
			dst[i+16] = float32(hi) + m
		}
		dst, src = dst[32:], src[20:]
	}
}
