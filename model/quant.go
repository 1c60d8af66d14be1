package model

import (
	"strings"

	"github.com/hone-lm/hone/model/gguf"
	"github.com/hone-lm/hone/tensor"
)

// quantFormats are the types of GGUF tensors that can stay as they are.
var quantFormats = map[gguf.Type]tensor.QuantFormat{gguf.Q8_0: tensor.Q8_0, gguf.Q4_0: tensor.Q4_0, gguf.Q4_1: tensor.Q4_1}

// LoadQuantised is Load, but the matrices that a .gguf file holds as Q8_0, Q4_0 or Q4_1 stay so in memory and are multiplied as they are, with
// the bytes of the dequantised ones. They cannot be trained; an adapter over them can. Everything else becomes float32. Quantised tells whether there was something to keep.
func LoadQuantised(path string) (*Model, error) { return load(path, true) }

// Quantised reports whether some weights are kept quantised.
func (m *Model) Quantised() bool {
	for _, p := range m.base {
		if p.Quant != nil {
			return true
		}
	}
	return false
}

// Bytes returns how much memory the base weights take.
func (m *Model) Bytes() int64 {
	n := int64(0)
	for _, p := range m.base {
		n += p.Bytes()
	}
	return n
}

// Dequantise makes all weights float32, for what changes them.
func (m *Model) Dequantise() {
	for _, p := range m.base {
		p.Dequantise()
	}
	m.cutViews()
}

// values returns the numbers of a weight, in a buffer when they are quantised.
func values(p *tensor.Tensor) []float32 {
	if p.Quant == nil {
		return p.Data
	}
	wide := *p
	wide.Dequantise()
	return wide.Data
}

// keep loads the tensor of a spec as it is stored and reports whether that was possible.
func (m *Model) keep(g *gguf.File, s *spec, stored string) (bool, error) {
	t, _ := g.Tensor(stored)
	format, ok := quantFormats[t.Type]
	if !ok || s.layout == vector || s.parts > 1 && s.out/s.parts%16 != 0 {
		return false, nil
	}
	n, cols := t.Shape[0], t.Shape[1]
	q := tensor.NewQuantised(format, n, cols)
	place := s.places(n)
	size := cols / 32 * format.Bytes()
	const step = 64 // rows read at a time
	buf := make([]byte, min(step, n)*size)
	for lo := 0; lo < n; lo += step {
		part := buf[:min(step, n-lo)*size]
		if err := g.ReadStored(stored, int64(lo)*int64(size), part); err != nil {
			return false, err
		}
		for r := 0; len(part) > 0; r++ {
			q.SetRow(place(lo+r), part[:size])
			part = part[size:]
		}
	}
	p := tensor.NewQuantLinear(s.hf, q, max(s.parts, 1))
	if s.layout == rows {
		p = tensor.NewQuantTable(s.hf, q)
	}
	m.place(s, p)
	return true, nil
}

// places returns where each row of a GGUF file's matrix belongs: the inverse of what fromFile does to the rotary halves.
func (e *entry) places(n int) func(file int) int {
	if e.heads == 0 {
		return func(file int) int { return file }
	}
	here := make([]int, n)
	for o := range n {
		here[e.fileRow(o)] = o
	}
	return func(file int) int { return here[file] }
}

// QuantFormats names the formats of the weights that are kept quantised, such as "Q4_1, Q8_0"; "" when there are none.
func (m *Model) QuantFormats() string {
	var names []string
	for _, t := range []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q8_0} {
		for _, p := range m.base {
			if p.Quant != nil && p.Quant.Format == quantFormats[t] {
				names = append(names, t.String())
				break
			}
		}
	}
	return strings.Join(names, ", ")
}
