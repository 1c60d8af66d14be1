package model

import (
	"fmt"

	"github.com/hone-lm/hone/tensor"
)

// layout says how a tensor lies in a file, against how it lies here.
type layout uint8

const (
	vector layout = iota // [n] in the file, [1][n] here
	rows                 // [rows][cols] in both: embedding, positions, head
	outIn                // a Linear's weight: [out][in] in the file, [in][out] here
	inOut                // GPT-2's Conv1D in Hugging Face folders: [in][out] in both
)

// entry is one line of a family's table. Names hold %d for the layer.
type entry struct {
	hf, gguf string
	layout   layout
	in, out  int  // vector: out values; rows: in rows of out values
	heads    int  // > 0: llama.cpp's files interleave the two rotary halves of each of these heads along out
	parts    int  // > 1: several projections in one tensor, split along out; here they lie one after another, [parts*in][out/parts]
	skip     bool // the configuration has no such tensor
	at       func(m *Model, l *block) **tensor.Tensor
	proj     func(l *block) *proj // of a projection's weight and bias
}

// spec is an entry of a table for one layer (-1: outside the layers), with the layer's number in the names.
type spec struct {
	entry
	layer int
}

// specs lists all tensors of a model in the order in which they are trained and saved.
func (c *Config) specs() []spec {
	first, layer, last := c.llamaTable()
	if c.Family == GPT2 {
		first, layer, last = c.gpt2Table()
	}
	var list []spec
	for _, e := range first {
		list = append(list, spec{e, -1})
	}
	for i := range c.Layers {
		for _, e := range layer {
			if !e.skip {
				e.hf, e.gguf = fmt.Sprintf(e.hf, i), fmt.Sprintf(e.gguf, i)
				list = append(list, spec{e, i})
			}
		}
	}
	for _, e := range last {
		if !e.skip {
			list = append(list, spec{e, -1})
		}
	}
	return list
}

// linear returns the weight and the bias of a projection.
func linear(hf, gguf string, layout layout, in, out int, bias bool, p func(l *block) *proj) []entry {
	return []entry{
		{hf: hf + ".weight", gguf: gguf + ".weight", layout: layout, in: in, out: out, proj: p, at: func(_ *Model, l *block) **tensor.Tensor { return &p(l).w }},
		{hf: hf + ".bias", gguf: gguf + ".bias", out: out, proj: p, skip: !bias, at: func(_ *Model, l *block) **tensor.Tensor { return &p(l).b }},
	}
}

func (c *Config) llamaTable() (first, layer, last []entry) {
	const h, g = "model.layers.%d.", "blk.%d."
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	noNorm := c.Family != Qwen3
	norm := func(hf, gguf string, n int, skip bool, at func(l *block) **tensor.Tensor) entry {
		return entry{hf: h + hf, gguf: g + gguf, out: n, skip: skip, at: func(_ *Model, l *block) **tensor.Tensor { return at(l) }}
	}
	layer = append(layer, norm("input_layernorm.weight", "attn_norm.weight", c.Hidden, false, func(l *block) **tensor.Tensor { return &l.norm1 }))
	qs := linear(h+"self_attn.q_proj", g+"attn_q", outIn, c.Hidden, q, c.QKVBias, func(l *block) *proj { return &l.q })
	ks := linear(h+"self_attn.k_proj", g+"attn_k", outIn, c.Hidden, kv, c.QKVBias, func(l *block) *proj { return &l.k })
	if c.Family == Llama || c.Family == SmolLM3 { // the converters of qwen2 and qwen3 leave the rows as they are
		for i := range qs {
			qs[i].heads, ks[i].heads = c.Heads, c.KVHeads
		}
	}
	layer = append(append(layer, qs...), ks...)
	layer = append(layer, linear(h+"self_attn.v_proj", g+"attn_v", outIn, c.Hidden, kv, c.QKVBias, func(l *block) *proj { return &l.v })...)
	layer = append(layer,
		norm("self_attn.q_norm.weight", "attn_q_norm.weight", c.HeadDim, noNorm, func(l *block) **tensor.Tensor { return &l.qNorm }),
		norm("self_attn.k_norm.weight", "attn_k_norm.weight", c.HeadDim, noNorm, func(l *block) **tensor.Tensor { return &l.kNorm }))
	layer = append(layer, linear(h+"self_attn.o_proj", g+"attn_output", outIn, q, c.Hidden, c.OBias, func(l *block) *proj { return &l.o })...)
	layer = append(layer, norm("post_attention_layernorm.weight", "ffn_norm.weight", c.Hidden, false, func(l *block) **tensor.Tensor { return &l.norm2 }))
	layer = append(layer, linear(h+"mlp.gate_proj", g+"ffn_gate", outIn, c.Hidden, c.Inner, c.MLPBias, func(l *block) *proj { return &l.gate })...)
	layer = append(layer, linear(h+"mlp.up_proj", g+"ffn_up", outIn, c.Hidden, c.Inner, c.MLPBias, func(l *block) *proj { return &l.up })...)
	layer = append(layer, linear(h+"mlp.down_proj", g+"ffn_down", outIn, c.Inner, c.Hidden, c.MLPBias, func(l *block) *proj { return &l.down })...)
	first = []entry{c.embedding("model.embed_tokens.weight")}
	last = []entry{
		{hf: "model.norm.weight", gguf: "output_norm.weight", out: c.Hidden, at: func(m *Model, _ *block) **tensor.Tensor { return &m.norm }},
		c.head(),
	}
	return first, layer, last
}

func (c *Config) gpt2Table() (first, layer, last []entry) {
	const h, g = "transformer.h.%d.", "blk.%d."
	norm := func(hf, gguf string, weight, bias func(l *block) **tensor.Tensor) []entry {
		return []entry{
			{hf: h + hf + ".weight", gguf: g + gguf + ".weight", out: c.Hidden, at: func(_ *Model, l *block) **tensor.Tensor { return weight(l) }},
			{hf: h + hf + ".bias", gguf: g + gguf + ".bias", out: c.Hidden, at: func(_ *Model, l *block) **tensor.Tensor { return bias(l) }},
		}
	}
	layer = norm("ln_1", "attn_norm", func(l *block) **tensor.Tensor { return &l.norm1 }, func(l *block) **tensor.Tensor { return &l.norm1b })
	qkv := linear(h+"attn.c_attn", g+"attn_qkv", inOut, c.Hidden, 3*c.Hidden, true, func(l *block) *proj { return &l.qkv })
	qkv[0].parts, qkv[1].parts = 3, 3
	layer = append(layer, qkv...)
	layer = append(layer, linear(h+"attn.c_proj", g+"attn_output", inOut, c.Hidden, c.Hidden, true, func(l *block) *proj { return &l.o })...)
	layer = append(layer, norm("ln_2", "ffn_norm", func(l *block) **tensor.Tensor { return &l.norm2 }, func(l *block) **tensor.Tensor { return &l.norm2b })...)
	layer = append(layer, linear(h+"mlp.c_fc", g+"ffn_up", inOut, c.Hidden, c.Inner, true, func(l *block) *proj { return &l.up })...)
	layer = append(layer, linear(h+"mlp.c_proj", g+"ffn_down", inOut, c.Inner, c.Hidden, true, func(l *block) *proj { return &l.down })...)
	first = []entry{
		c.embedding("transformer.wte.weight"),
		{hf: "transformer.wpe.weight", gguf: "position_embd.weight", layout: rows, in: c.MaxPos, out: c.Hidden, at: func(m *Model, _ *block) **tensor.Tensor { return &m.positions }},
	}
	last = []entry{
		{hf: "transformer.ln_f.weight", gguf: "output_norm.weight", out: c.Hidden, at: func(m *Model, _ *block) **tensor.Tensor { return &m.norm }},
		{hf: "transformer.ln_f.bias", gguf: "output_norm.bias", out: c.Hidden, at: func(m *Model, _ *block) **tensor.Tensor { return &m.normb }},
		c.head(),
	}
	return first, layer, last
}

func (c *Config) embedding(name string) entry {
	return entry{hf: name, gguf: "token_embd.weight", layout: rows, in: c.Vocab, out: c.Hidden, at: func(m *Model, _ *block) **tensor.Tensor { return &m.embed }}
}

func (c *Config) head() entry {
	return entry{hf: "lm_head.weight", gguf: "output.weight", layout: rows, in: c.Vocab, out: c.Hidden, skip: c.Tied, at: func(m *Model, _ *block) **tensor.Tensor { return &m.head }}
}

// shape returns the tensor's shape in a Hugging Face file, or in a GGUF file (which stores every matrix as [out][in]).
func (e *entry) shape(gguf bool) []int {
	switch {
	case e.layout == vector:
		return []int{e.out}
	case e.layout == outIn, gguf && e.layout == inOut:
		return []int{e.out, e.in}
	}
	return []int{e.in, e.out}
}

// size returns rows and columns here.
func (e *entry) size() (rows, cols int) {
	switch {
	case e.layout == vector:
		return 1, e.out
	case e.parts > 1:
		return e.parts * e.in, e.out / e.parts
	}
	return e.in, e.out
}

// fromFile lays src, in the order of a file, out as it lies here; toFile is the inverse for Hugging Face files.
func (e *entry) fromFile(dst, src []float32, gguf bool) {
	row := func(o int) int { return o } // where row o of out stands in the file
	if gguf && e.heads > 0 {
		row = e.fileRow
	}
	e.each(gguf, row, func(here, file int) { dst[here] = src[file] })
}

// fileRow returns where row o of a matrix with interleaved heads stands in a GGUF file: half j, pair i of a head is stored as pair i, half j.
func (e *entry) fileRow(o int) int {
	dim := e.out / e.heads
	head, d := o/dim, o%dim
	return head*dim + 2*(d%(dim/2)) + d/(dim/2)
}

func (e *entry) toFile(dst, src []float32) {
	e.each(false, func(o int) int { return o }, func(here, file int) { dst[file] = src[here] })
}

// each calls move with the place of every element here and in the file.
func (e *entry) each(gguf bool, row func(int) int, move func(here, file int)) {
	switch {
	case e.layout == vector:
		for o := range e.out {
			move(o, row(o))
		}
		return
	case e.layout == rows:
		for i := range e.in * e.out {
			move(i, i)
		}
		return
	}
	parts := max(e.parts, 1)
	cols := e.out / parts
	const tile = 32 // rows of out at a time, so that neither side is read across the whole matrix
	for o0 := 0; o0 < e.out; o0 += tile {
		for i := range e.in {
			for o := o0; o < min(o0+tile, e.out); o++ {
				here := (o/cols*e.in+i)*cols + o%cols
				if e.layout == inOut && !gguf {
					move(here, i*e.out+o)
				} else {
					move(here, row(o)*e.in+i)
				}
			}
		}
	}
}
