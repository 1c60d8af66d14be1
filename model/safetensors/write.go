package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"

	"github.com/hone-lm/hone/model/internal/half"
)

// Out is a tensor to be written. Fill puts its values, row by row, into dst, which has as many elements as Shape says.
type Out struct {
	Name  string
	Dtype Dtype // F32 or BF16 (rounded to nearest even)
	Shape []int
	Fill  func(dst []float32)
}

// Write writes the tensors, sorted as the reference implementation does (wider dtypes first, then by name), so that equal content gives equal bytes.
// The file appears under its name only when it is complete and on disk; one that stood there is replaced whole.
func Write(path string, tensors []Out, meta map[string]string) (err error) {
	order := append([]Out(nil), tensors...)
	sort.SliceStable(order, func(i, j int) bool {
		if a, b := bitSizes[order[i].Dtype], bitSizes[order[j].Dtype]; a != b {
			return a > b
		}
		return order[i].Name < order[j].Name
	})
	header, largest, err := makeHeader(order, meta)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(header)
	values := make([]float32, largest)
	for _, t := range order {
		v := values[:elems(t.Shape)]
		clear(v) // Fill need not touch every element
		t.Fill(v)
		writeValues(w, v, t.Dtype)
	}
	if err = w.Flush(); err != nil { // a bufio.Writer keeps its first error
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil { // CreateTemp gives 0600
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func elems(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// makeHeader returns the length field and the padded header, and the element count of the largest tensor.
func makeHeader(order []Out, meta map[string]string) ([]byte, int, error) {
	var b bytes.Buffer
	b.Write(make([]byte, prefix))
	b.WriteByte('{')
	if len(meta) > 0 {
		b.WriteString(`"__metadata__":`)
		b.Write(quote(meta)) // encoding/json sorts the keys
		b.WriteByte(',')
	}
	offset, largest := 0, 0
	seen := map[string]bool{}
	for _, t := range order {
		if t.Dtype != F32 && t.Dtype != BF16 {
			return nil, 0, fmt.Errorf("tensor %q: writing dtype %q is not built; use F32 or BF16", t.Name, t.Dtype)
		}
		if seen[t.Name] || t.Name == "__metadata__" {
			return nil, 0, fmt.Errorf("tensor name %q stands twice or is reserved", t.Name)
		}
		seen[t.Name] = true
		n := elems(t.Shape)
		largest = max(largest, n)
		size := n * int(bitSizes[t.Dtype]/8)
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		fmt.Fprintf(&b, `%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]},`, quote(t.Name), t.Dtype, quote(shape), offset, offset+size)
		offset += size
	}
	if b.Bytes()[b.Len()-1] == ',' {
		b.Truncate(b.Len() - 1)
	}
	b.WriteByte('}')
	for b.Len()%prefix != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-prefix > maxHeader {
		return nil, 0, fmt.Errorf("the header of %d tensors exceeds the format's limit", len(order))
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-prefix))
	return b.Bytes(), largest, nil
}

// quote encodes strings, string maps and integer lists, which cannot fail.
func quote(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func writeValues(w *bufio.Writer, values []float32, d Dtype) {
	var b [4]byte
	for _, x := range values {
		if d == BF16 {
			binary.LittleEndian.PutUint16(b[:], half.ToBF16(x))
			w.Write(b[:2])
			continue
		}
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
		w.Write(b[:])
	}
}
