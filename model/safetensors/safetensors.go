// Package safetensors reads and writes safetensors files (https://github.com/huggingface/safetensors) with the checks of the reference
// implementation, and folders of one file or of shards with an index.
//
// A file is checked whole when it is opened: header length, UTF-8, JSON, dtypes, shapes against byte ranges, no hole, no overlap, no byte left over.
// Tensor data is read one tensor at a time.
package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"sort"
	"strconv"

	"github.com/hone-lm/hone/model/internal/half"
	"github.com/hone-lm/hone/model/internal/strictjson"
)

const (
	prefix    = 8           // bytes of the header's length
	maxHeader = 100_000_000 // the reference implementation's limit
)

// Dtype is an element type by the format's name, such as "BF16".
type Dtype string

// The dtypes that hold weights here; others are recognised but not read.
const (
	F32  Dtype = "F32"
	F16  Dtype = "F16"
	BF16 Dtype = "BF16"
	F64  Dtype = "F64"
)

// bitSizes has every dtype of the format.
var bitSizes = map[Dtype]uint64{
	"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"I16": 16, "U16": 16, F16: 16, BF16: 16, "I32": 32, "U32": 32, F32: 32, "C64": 64, F64: 64, "I64": 64, "U64": 64,
}

// Tensor describes one tensor of a file.
type Tensor struct {
	Name  string
	Dtype Dtype
	Shape []int // outermost first; empty for a scalar
	Elems int   // product of Shape

	begin, end uint64 // bytes, from the start of the data
}

// Error says why a file was refused. Kind is the reference implementation's name of the error, such as "InvalidOffset".
type Error struct {
	Path, Kind, Detail string
}

// Error gives the path, what is wrong and what to do.
func (e *Error) Error() string { return e.Path + ": " + e.Detail }

// File is an open safetensors file. It may be used from several goroutines.
type File struct {
	Path    string
	Tensors []Tensor          // in order of their data
	Meta    map[string]string // the free-form __metadata__, nil if there is none

	index  map[string]int
	start  int64
	data   io.ReaderAt
	closer io.Closer
}

// Open checks the file at path.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s: is a folder, not a safetensors file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s, err := New(f, st.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.closer = f
	return s, nil
}

// New checks a file of the given size in bytes; path is used in error messages only.
func New(r io.ReaderAt, size int64, path string) (*File, error) {
	f := &File{Path: path, index: map[string]int{}, data: r}
	err := f.readHeader(size)
	var e *Error
	if errors.As(err, &e) {
		e.Path = path
		if hint := sniff(r); hint != "" {
			e.Detail = hint
		}
	} else if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// sniff recognises other formats by their first bytes. It is asked only about files that are no valid safetensors.
func sniff(r io.ReaderAt) string {
	var b [6]byte
	n, _ := r.ReadAt(b[:], 0)
	const remedy = "; load it in Python and save it again with safetensors.torch.save_file (or model.save_pretrained)"
	switch {
	case n >= 4 && string(b[:4]) == "PK\x03\x04":
		return "is a zip archive, as torch.save writes (pickled objects, which can run code when loaded), not a safetensors file" + remedy
	case n >= 2 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5:
		return "is a Python pickle (which can run code when loaded), not a safetensors file" + remedy
	case n >= 4 && string(b[:4]) == "GGUF":
		return "is a GGUF file, not a safetensors file; name it with the ending .gguf"
	case string(b[:n]) == "versio": // version https://git-lfs.github.com/spec/v1
		return "is a pointer of Git LFS, not the file itself; run git lfs pull, or download the file"
	}
	return ""
}

// Close closes the file if Open opened it.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	c := f.closer
	f.closer = nil
	return c.Close()
}

// Tensor returns the description of the tensor with this name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

func fail(kind, format string, args ...any) error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

func (f *File) readHeader(size int64) error {
	if size < prefix {
		return fail("HeaderTooSmall", "has %d bytes, too few for a header; download it again", size)
	}
	var b [prefix]byte
	if _, err := f.data.ReadAt(b[:], 0); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n > maxHeader {
		return fail("HeaderTooLarge", "its header should have %d bytes, more than the format's limit of %d; is it a safetensors file?", n, maxHeader)
	}
	if int64(n) > size-prefix {
		return fail("InvalidHeaderLength", "its header should have %d bytes, but the file has %d: it is truncated; download it again", n, size)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f.data, prefix, int64(n)), header); err != nil {
		return err
	}
	if err := f.parse(header); err != nil {
		return err
	}
	f.start = prefix + int64(n)
	return f.validate(uint64(size - f.start))
}

func (f *File) parse(header []byte) error {
	fields, err := strictjson.Object(header)
	if errors.Is(err, strictjson.ErrUTF8) {
		return fail("InvalidHeader", "its header is not valid UTF-8; download it again")
	}
	if err != nil {
		return fail("InvalidHeaderDeserialization", "its header: %v; download it again", err)
	}
	for _, field := range fields {
		if field.Key == "__metadata__" {
			if err := f.parseMeta(field); err != nil {
				return err
			}
			continue
		}
		t, err := parseTensor(field)
		if err != nil {
			return fail("InvalidHeaderDeserialization", "tensor %q: %v", field.Key, err)
		}
		f.Tensors = append(f.Tensors, t)
	}
	sort.SliceStable(f.Tensors, func(i, j int) bool {
		a, b := &f.Tensors[i], &f.Tensors[j]
		if a.begin != b.begin {
			return a.begin < b.begin
		}
		return a.end < b.end // empty tensors stand before the one that begins at the same byte
	})
	for i := range f.Tensors {
		f.index[f.Tensors[i].Name] = i
	}
	return nil
}

func (f *File) parseMeta(field strictjson.Field) error {
	if field.Null() {
		return nil
	}
	fields, err := strictjson.Object(field.Raw)
	if err != nil {
		return fail("InvalidHeaderDeserialization", "__metadata__: %v", err)
	}
	f.Meta = map[string]string{}
	for _, m := range fields {
		s, err := str(m.Raw)
		if err != nil {
			return fail("InvalidHeaderDeserialization", "__metadata__ %q: %v", m.Key, err)
		}
		f.Meta[m.Key] = s
	}
	return nil
}

// Read converts the tensor to float32 into dst, which must have exactly its number of elements. F16 and BF16 are widened, F64 is rounded;
// other dtypes are refused.
func (f *File) Read(name string, dst []float32) error {
	t, ok := f.Tensor(name)
	if !ok {
		return fmt.Errorf("%s: no tensor %q", f.Path, name)
	}
	if len(dst) != t.Elems {
		return fmt.Errorf("%s: tensor %q is %v, %d elements, not %d", f.Path, name, t.Shape, t.Elems, len(dst))
	}
	widen := widener(t.Dtype)
	if widen == nil {
		return fmt.Errorf("%s: tensor %q has dtype %s; weights are read from F32, F16, BF16 and F64: save the model again in one of these", f.Path, name, t.Dtype)
	}
	size := int(bitSizes[t.Dtype] / 8)
	buf := make([]byte, min(len(dst)*size, 1<<18))
	for at := 0; at < len(dst); {
		n := min(len(dst)-at, len(buf)/size)
		offset := f.start + int64(t.begin) + int64(at*size)
		if _, err := f.data.ReadAt(buf[:n*size], offset); err != nil {
			return fmt.Errorf("%s: tensor %q: reading at byte %d: %w", f.Path, name, offset, err)
		}
		widen(dst[at:at+n], buf)
		at += n
	}
	return nil
}

func widener(d Dtype) func(dst []float32, src []byte) {
	le := binary.LittleEndian
	switch d {
	case F32:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
			}
		}
	case F16:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = half.F16(le.Uint16(src[2*i:]))
			}
		}
	case BF16:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = half.BF16(le.Uint16(src[2*i:]))
			}
		}
	case F64:
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
			}
		}
	}
	return nil
}

func str(raw []byte) (string, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", clip(raw))
	}
	return unquote(raw)
}

// clip shortens a value for an error message.
func clip(raw []byte) string {
	if len(raw) > 40 {
		return string(raw[:40]) + "..."
	}
	return string(raw)
}

func parseUint(raw []byte) (uint64, error) {
	u, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a non-negative integer", clip(raw))
	}
	return u, nil
}

// mul multiplies and reports overflow.
func mul(a, b uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	return lo, hi == 0
}
