package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const shared = "../../../shared/models"

// builder writes the bytes of a GGUF file field by field.
type builder struct{ bytes.Buffer }

func (b *builder) put(values ...any) *builder {
	for _, v := range values {
		if s, ok := v.(string); ok {
			binary.Write(b, binary.LittleEndian, uint64(len(s)))
			b.WriteString(s)
			continue
		}
		binary.Write(b, binary.LittleEndian, v)
	}
	return b
}

func (b *builder) pad(align int) *builder {
	for b.Len()%align != 0 {
		b.WriteByte(0)
	}
	return b
}

func header(version uint32, tensors, pairs uint64) *builder {
	b := &builder{}
	b.WriteString("GGUF")
	return b.put(version, tensors, pairs)
}

func open(b []byte) (*File, error) { return New(bytes.NewReader(b), int64(len(b)), "x.gguf") }

// everyType is a file with metadata of every value type and no tensors.
func everyType() *builder {
	b := header(3, 0, 16)
	b.put("u8", uint32(tUint8), uint8(200), "i8", uint32(tInt8), int8(-3), "u16", uint32(tUint16), uint16(65535), "i16", uint32(tInt16), int16(-300))
	b.put("u32", uint32(tUint32), uint32(1<<31), "i32", uint32(tInt32), int32(-7), "f32", uint32(tFloat32), float32(0.5), "bool", uint32(tBool), uint8(1))
	b.put("str", uint32(tString), "héllo", "u64", uint32(tUint64), uint64(math.MaxUint64), "i64", uint32(tInt64), int64(-1), "f64", uint32(tFloat64), 1e-300)
	b.put("ints", uint32(tArray), uint32(tInt8), uint64(2), int8(-1), int8(5), "floats", uint32(tArray), uint32(tFloat32), uint64(1), float32(2))
	b.put("strs", uint32(tArray), uint32(tString), uint64(2), "a", "", "nest", uint32(tArray), uint32(tArray), uint64(1), uint32(tBool), uint64(2), uint8(0), uint8(1))
	return b
}

func TestValues(t *testing.T) {
	b := everyType()
	f, err := open(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	uintIs := func(key string, want uint64) {
		v, _ := f.Meta(key)
		if got, ok := v.Uint(); !ok || got != want {
			t.Errorf("%s: %d %v, want %d", key, got, ok, want)
		}
	}
	uintIs("u8", 200)
	uintIs("u16", 65535)
	uintIs("u32", 1<<31)
	uintIs("u64", math.MaxUint64)
	for key, want := range map[string]float64{"i8": -3, "i16": -300, "i32": -7, "i64": -1, "f32": 0.5, "f64": 1e-300} {
		v, ok := f.Meta(key)
		if got, is := v.Float(); !ok || !is || got != want {
			t.Errorf("%s: %g, want %g", key, got, want)
		}
	}
	if v, _ := f.Meta("i8"); v.kind != kInt {
		t.Error("i8 is not an integer")
	} else if _, ok := v.Uint(); ok {
		t.Error("a negative value was given as Uint")
	}
	if v, _ := f.Meta("bool"); !must(v.Bool()) {
		t.Error("bool")
	}
	if v, _ := f.Meta("str"); must(v.String()) != "héllo" {
		t.Error("str")
	}
	if v, _ := f.Meta("ints"); must(v.Ints())[1] != 5 {
		t.Error("ints")
	}
	if v, _ := f.Meta("floats"); must(v.Floats())[0] != 2 {
		t.Error("floats")
	}
	if v, _ := f.Meta("strs"); strings.Join(must(v.Strings()), "|") != "a|" {
		t.Error("strings")
	}
	if v, _ := f.Meta("nest"); !must(must(v.Arrays())[0].Bools())[1] {
		t.Error("nested")
	}
	if _, ok := f.Meta("none"); ok {
		t.Error("a key that is not there was found")
	}
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("value is of another kind")
	}
	return v
}

// oneTensor is a file with one tensor of the given type, dimensions (innermost first) and data.
func oneTensor(typ Type, dims []uint64, offset uint64, data []byte) []byte {
	b := header(3, 1, 0).put("w", uint32(len(dims)))
	for _, d := range dims {
		b.put(d)
	}
	b.put(uint32(typ), offset).pad(32)
	b.Write(data)
	return b.pad(32).Bytes()
}

func TestDequantise(t *testing.T) {
	scale := []byte{0x00, 0x38} // 0.5
	minimum := []byte{0x00, 0xbc}
	q := make([]byte, 32)
	for i := range q {
		q[i] = byte(i * 7)
	}
	cat := func(parts ...[]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	cases := []struct {
		typ  Type
		data []byte
		at   func(i int) float32
	}{
		{Q8_0, cat(scale, q), func(i int) float32 { return 0.5 * float32(int8(q[i])) }},
		{Q4_0, cat(scale, q[:16]), func(i int) float32 { return 0.5 * float32(int(q[i%16]>>(i/16*4)&15)-8) }},
		{Q4_1, cat(scale, minimum, q[:16]), func(i int) float32 { return 0.5*float32(q[i%16]>>(i/16*4)&15) - 1 }},
	}
	for _, c := range cases {
		f, err := open(oneTensor(c.typ, []uint64{32}, 0, c.data))
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]float32, 32)
		if err := f.Read("w", dst); err != nil {
			t.Fatal(err)
		}
		for i, x := range dst {
			if x != c.at(i) {
				t.Errorf("%v element %d: %g, want %g", c.typ, i, x, c.at(i))
			}
		}
	}
}

func TestRefused(t *testing.T) {
	good := oneTensor(F32, []uint64{4, 2}, 0, make([]byte, 32))
	if _, err := open(good); err != nil {
		t.Fatal(err)
	}
	big := bytes.Clone(good)
	binary.BigEndian.PutUint32(big[4:], 3)
	two := header(3, 2, 0).put("a", uint32(1), uint64(8), uint32(F32), uint64(0), "b", uint32(1), uint64(8), uint32(F32), uint64(0)).pad(32)
	two.Write(make([]byte, 64))
	hole := header(3, 2, 0).put("a", uint32(1), uint64(8), uint32(F32), uint64(0), "b", uint32(1), uint64(8), uint32(F32), uint64(64)).pad(32)
	hole.Write(make([]byte, 96))
	cases := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "too short"},
		{"zip", []byte("PK\x03\x04 and more"), `begin with "GGUF"`},
		{"git lfs", []byte("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"},
		{"big-endian", big, "big-endian"},
		{"version 1", header(1, 0, 0).Bytes(), "version 1"},
		{"version 4", header(4, 0, 0).Bytes(), "version 4"},
		{"truncated", good[:len(good)-8], "truncated"},
		{"oversized", append(bytes.Clone(good), 1), "follow the last tensor"},
		{"cut header", good[:60], "truncated"},
		{"overlap", two.Bytes(), "overlaps"},
		{"hole", hole.Bytes(), "hole"},
		{"tensor count", header(3, 1<<60, 0).Bytes(), "more than the file can hold"},
		{"metadata count", header(3, 0, 1<<60).Bytes(), "more than the file can hold"},
		{"string length", header(3, 0, 1).put("k", uint32(tString), uint64(1)<<62).Bytes(), "are left in the file"},
		{"array length", header(3, 0, 1).put("k", uint32(tArray), uint32(tUint8), uint64(1)<<62).Bytes(), "are left in the file"},
		{"value type", header(3, 0, 1).put("k", uint32(99), uint64(0)).Bytes(), "unknown value type"},
		{"key twice", header(3, 0, 2).put("k", uint32(tBool), uint8(1), "k", uint32(tBool), uint8(1)).Bytes(), "stands twice"},
		{"overflow", oneTensor(F32, []uint64{1 << 40, 1 << 40}, 0, nil), "dimension"},
		{"block", oneTensor(Q8_0, []uint64{33}, 0, make([]byte, 64)), "multiple"},
		{"tensor type", oneTensor(99, []uint64{32}, 0, nil), "unknown tensor type"},
		{"alignment", header(3, 0, 1).put("general.alignment", uint32(tUint32), uint32(3)).Bytes(), "power of two"},
		{"no tensors but data", append(header(3, 0, 0).pad(32).Bytes(), make([]byte, 64)...), "lists no tensors"},
	}
	for _, c := range cases {
		_, err := open(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.gguf: ") {
			t.Errorf("%s: error %v, want it to contain %q", c.name, err, c.want)
		}
	}
	k, err := open(oneTensor(12, []uint64{256}, 0, make([]byte, 144)))
	if err != nil {
		t.Fatal(err) // metadata of such a file is of use
	}
	if err := k.Read("w", make([]float32, 256)); err == nil || !strings.Contains(err.Error(), "Q4_K") {
		t.Errorf("Q4_K was read: %v", err)
	}
	if err := k.Read("v", nil); err == nil {
		t.Error("a tensor that is not there was read")
	}
}

func TestSharedFiles(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(shared, "gguf", "*.gguf"))
	more, _ := filepath.Glob(filepath.Join(shared, "smollm2-135m-instruct", "*.gguf"))
	files = append(files, more...)
	if len(files) == 0 {
		t.Skip("../shared absent: no GGUF files to read")
	}
	for _, path := range files {
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		tokens, _ := f.Meta("tokenizer.ggml.tokens")
		if list, ok := tokens.Strings(); !ok || len(list) == 0 {
			t.Errorf("%s: no token list", path)
		}
		for _, w := range f.Tensors {
			if w.Elems > 1<<20 {
				continue
			}
			dst := make([]float32, w.Elems)
			if err := f.Read(w.Name, dst); err != nil {
				t.Error(err)
			}
		}
		f.Close()
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(oneTensor(F32, []uint64{4, 2}, 0, make([]byte, 32)))
	f.Add(oneTensor(Q4_1, []uint64{32}, 0, make([]byte, 20)))
	b := header(2, 0, 2).put("general.alignment", uint32(tUint32), uint32(64), "n", uint32(tArray), uint32(tArray), uint64(1), uint32(tString), uint64(1), "x")
	f.Add(b.Bytes())
	f.Add(everyType().Bytes())
	if data, err := os.ReadFile(filepath.Join(shared, "gguf", "qwen2-q8_0.gguf")); err == nil {
		f.Add(data[:2000]) // whole files make the fuzzer slow
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := open(data)
		if err != nil {
			return
		}
		for _, w := range g.Tensors {
			if err := g.Read(w.Name, make([]float32, w.Elems)); err != nil && widener(w.Type) != nil {
				t.Errorf("the layout was accepted, but %v", err)
			}
		}
	})
}

// What is stored is given byte by byte, within the tensor alone.
func TestReadStored(t *testing.T) {
	data := make([]byte, 68)
	for i := range data {
		data[i] = byte(i + 1)
	}
	f, err := open(oneTensor(Q8_0, []uint64{32, 2}, 0, data))
	if err != nil {
		t.Fatal(err)
	}
	row := make([]byte, 34)
	if err := f.ReadStored("w", 34, row); err != nil || !bytes.Equal(row, data[34:]) {
		t.Errorf("%v, %v", row, err)
	}
	for _, from := range []int64{-1, 35, 69} {
		if err := f.ReadStored("w", from, row); err == nil || !strings.Contains(err.Error(), "has 68 bytes") {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if err := f.ReadStored("v", 0, row); err == nil {
		t.Error("a tensor that is not there was read")
	}
}
