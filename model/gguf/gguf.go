// Package gguf reads GGUF model files, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md):
// metadata of every value type, and tensors of types F32, F16, BF16, Q8_0, Q4_0 and Q4_1, dequantised to float32.
//
// A file is checked whole when it is opened (lengths, names, offsets, no holes, no overlaps, no bytes left over);
// tensor data is read one tensor at a time. Lengths are checked against the file's size before anything is allocated.
package gguf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
)

// Tensor describes one tensor of a file.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int // outermost first, as in PyTorch: a matrix is [rows][cols] (GGUF itself lists the innermost first)
	Elems int   // product of Shape

	offset int64 // of the data, from the start of the file
	bytes  int64
}

// File is an open GGUF file. It may be used from several goroutines.
type File struct {
	Path    string
	Version uint32
	Keys    []string // metadata keys in file order
	Tensors []Tensor // in file order

	meta   map[string]Value
	index  map[string]int
	data   io.ReaderAt
	closer io.Closer
}

// Open reads the header, metadata and tensor list of the file at path and checks them. Errors name the file, the place and a remedy.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s: is a folder, not a GGUF file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	g, err := New(f, st.Size(), path)
	if err != nil {
		f.Close()
		return nil, err
	}
	g.closer = f
	return g, nil
}

// New reads a GGUF file of the given size in bytes from r. path is used in error messages only.
func New(r io.ReaderAt, size int64, path string) (*File, error) {
	g := &File{Path: path, meta: map[string]Value{}, index: map[string]int{}, data: r}
	d := newDecoder(r, size)
	if err := g.header(d, size); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// Close closes the file if Open opened it. Metadata stays readable.
func (g *File) Close() error {
	if g.closer == nil {
		return nil
	}
	c := g.closer
	g.closer = nil
	return c.Close()
}

// Meta returns the metadata value of key and whether the file has it.
func (g *File) Meta(key string) (Value, bool) {
	v, ok := g.meta[key]
	return v, ok
}

// Tensor returns the description of the tensor with this name.
func (g *File) Tensor(name string) (Tensor, bool) {
	i, ok := g.index[name]
	if !ok {
		return Tensor{}, false
	}
	return g.Tensors[i], true
}

func (g *File) header(d *decoder, size int64) error {
	magic, err := d.u32()
	if err != nil {
		return errors.New("the file is too short to be GGUF; download it again")
	}
	if magic == 0x73726576 { // "vers", of "version https://git-lfs.github.com/spec/v1"
		return errors.New("is a pointer of Git LFS, not the file itself; run git lfs pull, or download the file")
	}
	if magic != 0x46554747 { // "GGUF"
		return errors.New(`does not begin with "GGUF"; give a .gguf file or a Hugging Face folder`)
	}
	if g.Version, err = d.u32(); err != nil {
		return err
	}
	if g.Version&0xffff == 0 {
		return errors.New("big-endian GGUF; convert the model again with byte order little")
	}
	if g.Version != 2 && g.Version != 3 {
		return fmt.Errorf("GGUF version %d; versions 2 and 3 are read: convert the model again with a current converter", g.Version)
	}
	tensors, err := d.u64()
	if err != nil {
		return err
	}
	pairs, err := d.u64()
	if err != nil {
		return err
	}
	if err := g.readMeta(d, pairs); err != nil {
		return err
	}
	if err := g.readTensorInfos(d, tensors); err != nil {
		return err
	}
	return g.layout(d.pos, size)
}

func (g *File) readMeta(d *decoder, pairs uint64) error {
	if pairs > uint64(d.left())/13 { // key length 8, key 1, type 4 at least
		return fmt.Errorf("the header announces %d metadata entries, more than the file can hold; download it again", pairs)
	}
	for i := uint64(0); i < pairs; i++ {
		key, err := d.str()
		if err != nil {
			return fmt.Errorf("metadata entry %d: %w", i, err)
		}
		if key == "" {
			return fmt.Errorf("metadata entry %d has an empty key", i)
		}
		if _, twice := g.meta[key]; twice {
			return fmt.Errorf("metadata key %q stands twice", key)
		}
		v, err := d.value()
		if err != nil {
			return fmt.Errorf("metadata key %q: %w", key, err)
		}
		g.meta[key] = v
		g.Keys = append(g.Keys, key)
	}
	return nil
}

func (g *File) readTensorInfos(d *decoder, n uint64) error {
	if n > uint64(d.left())/25 { // name length 8, name 1, dimensions 4, type 4, offset 8 at least
		return fmt.Errorf("the header announces %d tensors, more than the file can hold; download it again", n)
	}
	for i := uint64(0); i < n; i++ {
		name, err := d.str()
		if err != nil {
			return fmt.Errorf("tensor %d: %w", i, err)
		}
		t, err := readTensorInfo(d)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		t.Name = name
		if _, twice := g.index[name]; twice {
			return fmt.Errorf("tensor %q stands twice", name)
		}
		g.index[name] = len(g.Tensors)
		g.Tensors = append(g.Tensors, t)
	}
	return nil
}

func readTensorInfo(d *decoder) (t Tensor, err error) {
	dims, err := d.u32()
	if err != nil {
		return t, err
	}
	if dims > 8 {
		return t, fmt.Errorf("has %d dimensions", dims)
	}
	t.Shape = make([]int, dims)
	elems := uint64(1)
	for i := range t.Shape {
		ne, err := d.u64()
		if err != nil {
			return t, err
		}
		if ne == 0 || ne > math.MaxInt64/8/elems {
			return t, fmt.Errorf("dimension %d is %d", i, ne)
		}
		elems *= ne
		t.Shape[len(t.Shape)-1-i] = int(ne)
	}
	typ, err := d.u32()
	if err != nil {
		return t, err
	}
	offset, err := d.u64()
	if err != nil {
		return t, err
	}
	t.Type, t.Elems = Type(typ), int(elems)
	info, ok := types[t.Type]
	if !ok {
		return t, fmt.Errorf("unknown tensor type %d; convert the model to F32, F16, BF16, Q8_0, Q4_0 or Q4_1", typ)
	}
	if dims > 0 && t.Shape[dims-1]%info.block != 0 || dims == 0 && info.block != 1 {
		return t, fmt.Errorf("rows of shape %v are no multiple of %v's block of %d", t.Shape, t.Type, info.block)
	}
	if elems/uint64(info.block) > math.MaxInt64/uint64(info.bytes) || offset > math.MaxInt64 {
		return t, errors.New("size or offset overflows")
	}
	t.bytes = int64(elems) / int64(info.block) * int64(info.bytes)
	t.offset = int64(offset)
	return t, nil
}

// layout turns relative offsets into absolute ones and checks that the tensors fill the data section: in order of offset, each begins where the one before ends, rounded up to the alignment.
func (g *File) layout(headerEnd, size int64) error {
	align := int64(32)
	if v, ok := g.meta["general.alignment"]; ok {
		a, ok := v.Uint()
		if !ok || a == 0 || a&(a-1) != 0 || a > 1<<30 {
			return fmt.Errorf("metadata key %q must be a power of two", "general.alignment")
		}
		align = int64(a)
	}
	pad := func(n int64) int64 { return (n + align - 1) / align * align }
	if len(g.Tensors) == 0 {
		if size > pad(headerEnd) {
			return fmt.Errorf("%d bytes follow the header, but it lists no tensors", size-headerEnd)
		}
		return nil
	}
	start := pad(headerEnd)
	order := make([]int, len(g.Tensors))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return g.Tensors[order[a]].offset < g.Tensors[order[b]].offset })
	next := int64(0) // relative to start
	for _, i := range order {
		t := &g.Tensors[i]
		if t.offset != next {
			what := "a hole before it"
			if t.offset < next {
				what = "it overlaps another tensor"
			}
			return fmt.Errorf("tensor %q is at data offset %d, expected %d (%s); download or convert the file again", t.Name, t.offset, next, what)
		}
		if t.bytes > size-start-next {
			return fmt.Errorf("tensor %q ends at byte %d, but the file has %d: it is truncated; download it again", t.Name, start+next+t.bytes, size)
		}
		t.offset += start
		next = pad(next + t.bytes)
	}
	if size > start+next {
		return fmt.Errorf("%d bytes follow the last tensor; download or convert the file again", size-start-next)
	}
	return nil
}
