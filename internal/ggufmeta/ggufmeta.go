// Package ggufmeta reads the key-values of a GGUF file and nothing else, so that a tokenizer can be had without the model reader, which
// stands below it in the order of imports. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
package ggufmeta

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Meta holds the values that tokenizers need: strings, integers, booleans, and arrays of strings, integers and floats. Others are passed over.
type Meta struct {
	strings map[string][]string // scalars are lists of one
	ints    map[string][]int64
	floats  map[string][]float64
	bools   map[string]bool
	scalar  map[string]bool
}

// String returns a string value.
func (m *Meta) String(key string) (string, bool) {
	v, ok := m.strings[key]
	if !ok || !m.scalar[key] {
		return "", false
	}
	return v[0], true
}

// Strings returns an array of strings.
func (m *Meta) Strings(key string) ([]string, bool) {
	v, ok := m.strings[key]
	return v, ok && !m.scalar[key]
}

// Ints returns an array of integers, or a single one as a list of one.
func (m *Meta) Ints(key string) ([]int64, bool) {
	v, ok := m.ints[key]
	return v, ok
}

// Floats returns an array of floats.
func (m *Meta) Floats(key string) ([]float64, bool) {
	v, ok := m.floats[key]
	return v, ok && !m.scalar[key]
}

// Bool returns a boolean value.
func (m *Meta) Bool(key string) (value, ok bool) {
	value, ok = m.bools[key]
	return value, ok
}

// Open reads the metadata of the file at path. Errors name the file and the key.
func Open(path string) (*Meta, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := Read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Read reads metadata from the start of a GGUF file of size bytes.
func Read(r io.Reader, size int64) (*Meta, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 1<<16), left: size}
	m := &Meta{map[string][]string{}, map[string][]int64{}, map[string][]float64{}, map[string]bool{}, map[string]bool{}}
	var head struct {
		Magic         [4]byte
		Version       uint32
		Tensors, Keys uint64
	}
	d.fixed(&head)
	switch {
	case d.err != nil:
	case head.Magic != [4]byte{'G', 'G', 'U', 'F'}:
		return nil, errors.New("not a GGUF file: it does not begin with GGUF")
	case head.Version != 2 && head.Version != 3:
		return nil, fmt.Errorf("GGUF version %d: only versions 2 and 3, little-endian, are read", head.Version)
	}
	for i := uint64(0); i < head.Keys && d.err == nil; i++ {
		key := d.text()
		if d.read(m, key); d.err != nil {
			return nil, fmt.Errorf("metadata key %d %q: %w", i, key, d.err)
		}
	}
	return m, d.err
}

type decoder struct {
	r    *bufio.Reader
	left int64 // bytes of the file not read yet: no length may exceed it
	err  error
}

// Value types of GGUF.
const (
	typeUint8 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

var width = [...]int64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8} // at least, in bytes

func (d *decoder) take(n int64) bool {
	if d.err != nil {
		return false
	}
	if n < 0 || n > d.left {
		d.err = errors.New("the file ends before its metadata does: it was cut short or is damaged; fetch it again")
		return false
	}
	d.left -= n
	return true
}

func (d *decoder) fixed(v any) {
	if d.take(int64(binary.Size(v))) {
		d.err = binary.Read(d.r, binary.LittleEndian, v)
	}
}

func (d *decoder) uint(bytes int64) uint64 {
	var b [8]byte
	if d.take(bytes) {
		_, d.err = io.ReadFull(d.r, b[:bytes])
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (d *decoder) text() string {
	n := d.uint(8)
	if n > uint64(d.left) {
		n = uint64(d.left) + 1 // take reports it
	}
	if !d.take(int64(n)) {
		return ""
	}
	b := make([]byte, n)
	_, d.err = io.ReadFull(d.r, b)
	return string(b)
}

// read enters one value under key.
func (d *decoder) read(m *Meta, key string) {
	kind, count := uint32(d.uint(4)), uint64(1)
	array := kind == typeArray
	if array {
		kind, count = uint32(d.uint(4)), d.uint(8)
	}
	if d.err != nil {
		return
	}
	if kind == typeArray || int(kind) >= len(width) {
		d.err = fmt.Errorf("value type %d is not one of GGUF's, or an array of arrays, which are not read", kind)
		return
	}
	if count > uint64(d.left/width[kind]) {
		d.err = fmt.Errorf("%d values do not fit into the rest of the file", count)
		return
	}
	if _, twice := m.scalar[key]; twice {
		d.err = errors.New("stands twice in the file")
		return
	}
	for i := uint64(0); i < count && d.err == nil; i++ {
		d.value(m, key, kind, array)
	}
	m.scalar[key] = !array
	if array && count == 0 && kind == typeString {
		m.strings[key] = []string{}
	}
}

func (d *decoder) value(m *Meta, key string, kind uint32, array bool) {
	switch kind {
	case typeString:
		m.strings[key] = append(m.strings[key], d.text())
		return
	case typeFloat32:
		m.floats[key] = append(m.floats[key], float64(math.Float32frombits(uint32(d.uint(4)))))
		return
	case typeFloat64:
		m.floats[key] = append(m.floats[key], math.Float64frombits(d.uint(8)))
		return
	}
	v := d.uint(width[kind])
	switch kind {
	case typeBool:
		if !array {
			m.bools[key] = v != 0
		}
		return
	case typeInt8:
		v = uint64(int64(int8(v)))
	case typeInt16:
		v = uint64(int64(int16(v)))
	case typeInt32:
		v = uint64(int64(int32(v)))
	}
	m.ints[key] = append(m.ints[key], int64(v))
}
