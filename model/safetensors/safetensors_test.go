package safetensors

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const shared = "../../../shared"

func open(b []byte) (*File, error) { return New(bytes.NewReader(b), int64(len(b)), "x.safetensors") }

// file puts a header and data together.
func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

type refCase struct{ Name, Base64, Expect string }

func referenceCases(t testing.TB) []refCase {
	data, err := os.ReadFile(filepath.Join(shared, "data/safetensors_cases/cases.json"))
	if err != nil {
		return nil
	}
	var cases []refCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestReferenceCases(t *testing.T) {
	cases := referenceCases(t)
	if cases == nil {
		t.Skip("../shared absent: no reference cases of safetensors")
	}
	for _, c := range cases {
		data, err := base64.StdEncoding.DecodeString(c.Base64)
		if err != nil {
			t.Fatal(err)
		}
		_, err = open(data)
		kind := "ok"
		var e *Error
		if errors.As(err, &e) {
			kind = e.Kind
		} else if err != nil {
			kind = err.Error()
		}
		if kind != c.Expect {
			t.Errorf("%s: %s (%v), want %s", c.Name, kind, err, c.Expect)
		}
	}
}

func TestRefused(t *testing.T) {
	cases := []struct {
		name string
		data []byte
		kind string
		want string
	}{
		{"key twice", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "InvalidHeaderDeserialization", "stands twice"},
		{"hole", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 1, 2, 3), "InvalidOffset", `tensor "b"`},
		{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 1, 2, 3), "InvalidOffset", `tensor "b"`},
		{"backwards", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,0]}}`, 1), "InvalidOffset", `tensor "b"`},
		{"dtype", file(`{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}}`, 1), "InvalidHeaderDeserialization", "unknown dtype"},
		{"spelling", file(`{"a":{"Dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "InvalidHeaderDeserialization", "needs dtype"},
		{"negative", file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "InvalidHeaderDeserialization", "non-negative"},
		{"fraction", file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 1), "InvalidHeaderDeserialization", "non-negative"},
		{"sub-byte", file(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}`, 1), "MisalignedSlice", "whole number"},
		{"text after", file(`{} x`), "InvalidHeaderDeserialization", "follows"},
		{"meta", file(`{"__metadata__":{"a":1}}`), "InvalidHeaderDeserialization", "not a string"},
		{"null", file(`{"a":null}`), "InvalidHeaderDeserialization", `tensor "a"`},
		{"zip", []byte("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00"), "", "torch.save"},
		{"pickle", []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), "", "pickle"},
		{"git lfs", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"), "", "git lfs pull"},
		{"gguf", []byte("GGUF\x03\x00\x00\x00\x00\x00"), "", "GGUF"},
	}
	for _, c := range cases {
		_, err := open(c.data)
		var e *Error
		if !errors.As(err, &e) || c.kind != "" && e.Kind != c.kind || !strings.Contains(e.Error(), c.want) || !strings.HasPrefix(e.Error(), "x.safetensors: ") {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.kind, c.want)
		}
	}
}

func TestReadDtypes(t *testing.T) {
	data := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1.5))
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(-2))
	data = append(data, 0x00, 0x3c, 0x80, 0x3f, 7, 0, 0, 0)
	f, err := open(file(`{"d":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"f":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},
		"h":{"dtype":"F16","shape":[1,1],"data_offsets":[12,14]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[14,16]},"i":{"dtype":"I32","shape":[1],"data_offsets":[16,20]}}`, data...))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float32{"d": 1.5, "f": -2, "h": 1, "b": 1} {
		var got [1]float32
		if err := f.Read(name, got[:]); err != nil || got[0] != want {
			t.Errorf("%s: %v %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"i", "none"} {
		if err := f.Read(name, make([]float32, 1)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if err := f.Read("f", nil); err == nil {
		t.Error("a wrong length was accepted")
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	fill := func(v ...float32) func([]float32) { return func(dst []float32) { copy(dst, v) } }
	tensors := []Out{
		{"z<", BF16, []int{2}, fill(1.00390625, -3)}, // the first is a tie between 1 and 1.0078125: to even
		{"b", F32, []int{2, 2}, fill(1, 2, 3, float32(math.Inf(1)))},
		{"a", F32, nil, fill(5)},
	}
	if err := Write(path, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(path)
	if err := Write(path, []Out{tensors[2], tensors[0], tensors[1]}, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	second, _ := os.ReadFile(path)
	if !bytes.Equal(first, second) {
		t.Error("the order of the tensors changed the file")
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Tensors[0].Name != "a" || f.Tensors[1].Name != "b" || f.Tensors[2].Name != "z<" || f.Meta["format"] != "pt" || f.start%8 != 0 {
		t.Errorf("read back %+v", f)
	}
	got := make([]float32, 2)
	if err := f.Read("z<", got); err != nil || got[0] != 1 || got[1] != -3 {
		t.Errorf("bf16: %v %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("temporary files were left: %v", left)
	}
	if err := Write(path, []Out{tensors[0], tensors[0]}, nil); err == nil {
		t.Error("a name that stands twice was written")
	}
}

func TestFolder(t *testing.T) {
	write := func(dir, name string, tensors ...string) {
		var out []Out
		for _, n := range tensors {
			out = append(out, Out{n, F32, []int{1}, func(d []float32) { d[0] = float32(len(n)) }})
		}
		if err := Write(filepath.Join(dir, name), out, nil); err != nil {
			t.Fatal(err)
		}
	}
	index := func(s string) string {
		dir := t.TempDir()
		write(dir, "one.safetensors", "a", "bb")
		write(dir, "two.safetensors", "ccc")
		os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(s), 0o644)
		return dir
	}
	d, err := OpenFolder(index(`{"metadata":{},"weight_map":{"a":"one.safetensors","bb":"one.safetensors","ccc":"two.safetensors"}}`))
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, 1)
	if err := d.Read("ccc", v); err != nil || v[0] != 3 || len(d.Tensors) != 3 {
		t.Errorf("ccc: %v %v", v, err)
	}
	d.Close()
	pickled := t.TempDir()
	os.WriteFile(filepath.Join(pickled, "pytorch_model.bin"), []byte("PK\x03\x04"), 0o644)
	for _, c := range []struct{ dir, want string }{
		{index(`{"weight_map":{"a":"one.safetensors","bb":"one.safetensors"}}`), ""},
		{index(`{"weight_map":{"a":"one.safetensors","ccc":"two.safetensors"}}`), "lists 2 tensors, but its shards hold 3"},
		{index(`{"weight_map":{"a":"one.safetensors","dddd":"two.safetensors"}}`), `"dddd"`},
		{index(`{"weight_map":{"a":"../one.safetensors"}}`), "not the name of a file"},
		{index(`{"weight_map":{"a":"none.safetensors"}}`), "none.safetensors"},
		{index(`{}`), "no weight_map"},
		{pickled, "save_pretrained"},
		{t.TempDir(), "neither"},
	} {
		d, err := OpenFolder(c.dir)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if err == nil {
			d.Close()
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	for _, c := range referenceCases(f) {
		data, _ := base64.StdEncoding.DecodeString(c.Base64)
		f.Add(data)
	}
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]}}`, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := open(data)
		if err != nil {
			return
		}
		for _, w := range s.Tensors {
			if widener(w.Dtype) == nil {
				continue
			}
			if err := s.Read(w.Name, make([]float32, w.Elems)); err != nil {
				t.Errorf("the header was accepted, but %v", err)
			}
		}
	})
}
