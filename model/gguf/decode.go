package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// decoder reads the little-endian header and knows how many bytes are left, so that no length field is trusted.
type decoder struct {
	r    *bufio.Reader
	pos  int64
	size int64
	buf  [8]byte
}

func newDecoder(r io.ReaderAt, size int64) *decoder {
	return &decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), size: size}
}

func (d *decoder) left() int64 { return d.size - d.pos }

func (d *decoder) fixed(n int) ([]byte, error) {
	if int64(n) > d.left() {
		return nil, fmt.Errorf("the file ends at byte %d in the middle of the header: it is truncated; download it again", d.size)
	}
	if _, err := io.ReadFull(d.r, d.buf[:n]); err != nil {
		return nil, fmt.Errorf("reading at byte %d: %w", d.pos, err)
	}
	d.pos += int64(n)
	return d.buf[:n], nil
}

func (d *decoder) u32() (uint32, error) {
	b, err := d.fixed(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (d *decoder) u64() (uint64, error) {
	b, err := d.fixed(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (d *decoder) str() (string, error) {
	n, err := d.u64()
	if err != nil {
		return "", err
	}
	if n > uint64(d.left()) {
		return "", fmt.Errorf("a string of %d bytes, but %d are left in the file; download it again", n, d.left())
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		return "", fmt.Errorf("reading at byte %d: %w", d.pos, err)
	}
	d.pos += int64(n)
	return string(b), nil
}

// Value types of the format.
const (
	tUint8 = iota
	tInt8
	tUint16
	tInt16
	tUint32
	tInt32
	tFloat32
	tBool
	tString
	tArray
	tUint64
	tInt64
	tFloat64
)

// minBytes is the least number of bytes that a value of each type takes.
var minBytes = [...]int64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

func (d *decoder) value() (Value, error) {
	typ, err := d.u32()
	if err != nil {
		return Value{}, err
	}
	if typ != tArray {
		return d.scalar(typ)
	}
	return d.array(1)
}

func (d *decoder) scalar(typ uint32) (Value, error) {
	if typ == tString {
		s, err := d.str()
		return Value{kind: kString, s: s}, err
	}
	if typ > tFloat64 {
		return Value{}, fmt.Errorf("unknown value type %d", typ)
	}
	b, err := d.fixed(int(minBytes[typ]))
	if err != nil {
		return Value{}, err
	}
	le := binary.LittleEndian
	switch typ {
	case tUint8:
		return Value{kind: kInt, i: int64(b[0])}, nil
	case tInt8:
		return Value{kind: kInt, i: int64(int8(b[0]))}, nil
	case tUint16:
		return Value{kind: kInt, i: int64(le.Uint16(b))}, nil
	case tInt16:
		return Value{kind: kInt, i: int64(int16(le.Uint16(b)))}, nil
	case tUint32:
		return Value{kind: kInt, i: int64(le.Uint32(b))}, nil
	case tInt32:
		return Value{kind: kInt, i: int64(int32(le.Uint32(b)))}, nil
	case tFloat32:
		return Value{kind: kFloat, f: float64(math.Float32frombits(le.Uint32(b)))}, nil
	case tBool:
		if b[0] > 1 {
			return Value{}, fmt.Errorf("a bool with value %d", b[0])
		}
		return Value{kind: kBool, i: int64(b[0])}, nil
	case tUint64:
		u := le.Uint64(b)
		if u > math.MaxInt64 {
			return Value{kind: kBigUint, u: u}, nil
		}
		return Value{kind: kInt, i: int64(u)}, nil
	case tInt64:
		return Value{kind: kInt, i: int64(le.Uint64(b))}, nil
	default:
		return Value{kind: kFloat, f: math.Float64frombits(le.Uint64(b))}, nil
	}
}

// array reads the elements after the type field. Slices grow with what was really read; nothing is allocated from the count alone.
func (d *decoder) array(depth int) (Value, error) {
	elem, err := d.u32()
	if err != nil {
		return Value{}, err
	}
	n, err := d.u64()
	if err != nil {
		return Value{}, err
	}
	if elem > tFloat64 {
		return Value{}, fmt.Errorf("an array of unknown value type %d", elem)
	}
	if n > uint64(d.left()/minBytes[elem]) {
		return Value{}, fmt.Errorf("an array of %d elements, but %d bytes are left in the file; download it again", n, d.left())
	}
	v := Value{kind: kArray, elem: elem}
	for ; n > 0; n-- {
		if elem == tArray {
			if depth >= 4 {
				return Value{}, errors.New("arrays are nested too deeply")
			}
			inner, err := d.array(depth + 1)
			if err != nil {
				return Value{}, err
			}
			v.arrays = append(v.arrays, inner)
			continue
		}
		e, err := d.scalar(elem)
		if err != nil {
			return Value{}, err
		}
		switch e.kind {
		case kString:
			v.strings = append(v.strings, e.s)
		case kFloat:
			v.floats = append(v.floats, e.f)
		case kBigUint:
			return Value{}, fmt.Errorf("an array element of %d does not fit 63 bits", e.u)
		default:
			v.ints = append(v.ints, e.i)
		}
	}
	return v, nil
}
