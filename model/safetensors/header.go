package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/hone-lm/hone/model/internal/strictjson"
)

func unquote(raw []byte) (string, error) {
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// parseTensor reads {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}; further keys are let pass, as in the reference implementation.
func parseTensor(field strictjson.Field) (t Tensor, err error) {
	t.Name = field.Key
	fields, err := strictjson.Object(field.Raw)
	if err != nil {
		return t, err
	}
	var seen int
	for _, x := range fields {
		switch x.Key {
		case "dtype":
			s, err := str(x.Raw)
			if err != nil {
				return t, fmt.Errorf("dtype: %w", err)
			}
			if t.Dtype = Dtype(s); bitSizes[t.Dtype] == 0 {
				return t, fmt.Errorf("unknown dtype %q", s)
			}
		case "shape":
			dims, err := uints(x.Raw)
			if err != nil {
				return t, fmt.Errorf("shape: %w", err)
			}
			t.setShape(dims)
		case "data_offsets":
			o, err := uints(x.Raw)
			if err != nil || len(o) != 2 {
				return t, errors.New("data_offsets must be two non-negative integers")
			}
			t.begin, t.end = o[0], o[1]
		default:
			continue
		}
		seen++
	}
	if seen != 3 {
		return t, errors.New("needs dtype, shape and data_offsets")
	}
	return t, nil
}

func uints(raw []byte) ([]uint64, error) {
	list, err := strictjson.Array(raw)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, len(list))
	for i, x := range list {
		if out[i], err = parseUint(x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// overflowing marks a shape whose element count does not fit; validate refuses it in the reference's order of checks.
const overflowing = -1

func (t *Tensor) setShape(dims []uint64) {
	elems, ok := uint64(1), true
	t.Shape = make([]int, len(dims))
	for i, d := range dims {
		if ok {
			elems, ok = mul(elems, d)
		}
		t.Shape[i] = int(min(d, math.MaxInt))
	}
	t.Elems = int(elems)
	if !ok || elems > math.MaxInt {
		t.Elems = overflowing
	}
}

// validate checks that the tensors cover the data section of size bytes without hole or overlap, each with the bytes that its shape needs.
func (f *File) validate(size uint64) error {
	next := uint64(0)
	for _, t := range f.Tensors {
		if t.begin != next || t.end < t.begin {
			return fail("InvalidOffset", "tensor %q stands at data bytes %d to %d, expected it to begin at %d: tensors overlap or leave a hole; download or save the file again", t.Name, t.begin, t.end, next)
		}
		next = t.end
		if t.Elems == overflowing {
			return fail("ValidationOverflow", "tensor %q: the product of shape %v overflows; download the file again", t.Name, t.Shape)
		}
		nbits, ok := mul(uint64(t.Elems), bitSizes[t.Dtype])
		if !ok {
			return fail("ValidationOverflow", "tensor %q: the size of shape %v overflows; download the file again", t.Name, t.Shape)
		}
		if nbits%8 != 0 {
			return fail("MisalignedSlice", "tensor %q: %v of %s is no whole number of bytes", t.Name, t.Shape, t.Dtype)
		}
		if nbits/8 != t.end-t.begin {
			return fail("TensorInvalidInfo", "tensor %q: %v of %s needs %d bytes, but its data_offsets span %d; download or save the file again", t.Name, t.Shape, t.Dtype, nbits/8, t.end-t.begin)
		}
	}
	switch {
	case next > size:
		return fail("MetadataIncompleteBuffer", "the tensors need %d bytes of data, but the file has %d: it is truncated; download it again", next, size)
	case next < size:
		return fail("MetadataIncompleteBuffer", "%d bytes follow the last tensor; download or save the file again", size-next)
	}
	return nil
}
