package ggufmeta

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// file writes a GGUF header with key-values; each is a key, a type and the bytes of the value.
type file struct{ bytes.Buffer }

func (f *file) put(v ...any) {
	for _, x := range v {
		if s, ok := x.(string); ok {
			f.put(uint64(len(s)))
			f.WriteString(s)
			continue
		}
		if err := binary.Write(f, binary.LittleEndian, x); err != nil {
			panic(err)
		}
	}
}

func header(keys uint64) *file {
	f := new(file)
	f.WriteString("GGUF")
	f.put(uint32(3), uint64(0), keys)
	return f
}

func whole() *file {
	f := header(6)
	f.put("s", uint32(typeString), "text")
	f.put("l", uint32(typeArray), uint32(typeString), uint64(2), "a", "b")
	f.put("i", uint32(typeInt32), int32(-5))
	f.put("n", uint32(typeArray), uint32(typeUint8), uint64(3), []byte{1, 2, 3})
	f.put("f", uint32(typeArray), uint32(typeFloat32), uint64(1), float32(1))
	f.put("b", uint32(typeBool), uint8(1))
	return f
}

func TestRead(t *testing.T) {
	f := whole()
	m, err := Read(bytes.NewReader(f.Bytes()), int64(f.Len()))
	if err != nil {
		t.Fatal(err)
	}
	s, okS := m.String("s")
	l, okL := m.Strings("l")
	i, okI := m.Ints("i")
	n, okN := m.Ints("n")
	b, okB := m.Bool("b")
	if !okS || !okL || !okI || !okN || !okB || s != "text" || !b || !slices.Equal(l, []string{"a", "b"}) || !slices.Equal(i, []int64{-5}) || !slices.Equal(n, []int64{1, 2, 3}) {
		t.Errorf("%q %q %v %v %v", s, l, i, n, b)
	}
	if _, ok := m.String("l"); ok {
		t.Error("an array is taken for a string")
	}
	if _, ok := m.Ints("f"); ok {
		t.Error("floats are taken for integers")
	}
}

func TestTruncated(t *testing.T) {
	f := whole()
	for n := range f.Len() {
		if _, err := Read(bytes.NewReader(f.Bytes()[:n]), int64(n)); err == nil {
			t.Fatalf("%d of %d bytes are taken", n, f.Len())
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		want string
		make func() *file
	}{
		{"does not begin with GGUF", func() *file { f := new(file); f.WriteString(strings.Repeat("x", 40)); return f }},
		{"version 1", func() *file { f := new(file); f.WriteString("GGUF"); f.put(uint32(1), uint64(0), uint64(0)); return f }},
		{"value type 99", func() *file { f := header(1); f.put("k", uint32(99)); return f }},
		{"do not fit", func() *file {
			f := header(1)
			f.put("k", uint32(typeArray), uint32(typeString), uint64(1)<<60)
			return f
		}},
		{"ends before", func() *file { f := header(1); f.put("k", uint32(typeString), uint64(1)<<62); return f }},
		{"twice", func() *file {
			f := header(2)
			f.put("k", uint32(typeBool), uint8(0), "k", uint32(typeBool), uint8(0))
			return f
		}},
		{"array of arrays", func() *file { f := header(1); f.put("k", uint32(typeArray), uint32(typeArray), uint64(0)); return f }},
	} {
		f := c.make()
		if _, err := Read(bytes.NewReader(f.Bytes()), int64(f.Len())); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(whole().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Read(bytes.NewReader(b), int64(len(b))) // must not panic
	})
}
