package model

import (
	"fmt"

	"github.com/hone-lm/hone/tensor"
)

// Input is one forward pass: a packed batch (Docs), or a step of sampling over a cache (KV and Rows). It and its slices must stay unchanged until Backward.
// An Input that is used again keeps its buffers, so that a warm pass allocates nothing.
type Input struct {
	Tokens []int32 // [n] ids
	Pos    []int32 // [n] positions; nil: counted from each document's start (what it shares included), or taken from Rows

	Docs      []tensor.Doc // rows of each document; rows outside all documents give undefined results
	Recompute bool         // keep only the layers' inputs and compute the rest again in Backward

	KV   *tensor.KV         // the cache; nil in training
	Rows []tensor.CachedRow // [n] place of each token in the cache

	pos    []int32
	layers []layerPass
}

// layerPass is one layer of one forward pass. It implements tensor.Block.
type layerPass struct {
	m    *Model
	l    *block
	in   *Input
	pos  []int32
	rope *tensor.RopeTable
}

// Check returns an error when a sequence cannot be given to Forward: an id outside the vocabulary, or more tokens than the context.
func (m *Model) Check(tokens []int32) error {
	for i, id := range tokens {
		if id < 0 || int(id) >= m.Config.Vocab {
			return fmt.Errorf("token %d is id %d, but the vocabulary has %d ids", i, id, m.Config.Vocab)
		}
	}
	if len(tokens) > m.Config.MaxPos {
		return fmt.Errorf("the sequence has %d tokens, but the model's context is %d", len(tokens), m.Config.MaxPos)
	}
	return nil
}

// Forward returns the hidden states after the final norm, [n][hidden]. A row's result depends on its document up to it alone.
// It panics when ids or positions lie outside the model's (see Check).
func (m *Model) Forward(t *tensor.Tape, in *Input) *tensor.Tensor {
	pos, last := in.positions()
	var rope *tensor.RopeTable
	if m.Config.Family != GPT2 {
		rope = m.ropeFor(int(last) + 1)
	}
	before := t.Mark()
	x := t.Embedding(m.use(m.embed), in.Tokens)
	if m.positions != nil {
		x = t.Add(x, t.Embedding(m.use(m.positions), pos))
	}
	for len(in.layers) < len(m.blocks) {
		in.layers = append(in.layers, layerPass{})
	}
	for i := range m.blocks {
		pass := &in.layers[i]
		*pass = layerPass{m, &m.blocks[i], in, pos, rope}
		here := t.Mark()
		y := x
		if in.Recompute {
			y = t.Checkpoint(x, pass)
		} else {
			y = pass.Forward(t, x)
		}
		t.Release(before, y) // x, too
		before, x = here, y
	}
	out := m.normalise(t, x, m.norm, m.normb)
	t.Release(before, out)
	return out
}

// positions fills what the caller left out and returns the highest position.
func (in *Input) positions() (pos []int32, last int32) {
	pos = in.Pos
	if pos == nil {
		if cap(in.pos) < len(in.Tokens) {
			in.pos = make([]int32, len(in.Tokens))
		}
		pos = in.pos[:len(in.Tokens)]
		if in.KV == nil {
			clear(pos)
			for _, d := range in.Docs {
				for r := d.From; r < d.To; r++ {
					pos[r] = int32(d.Shared + r - d.From)
				}
			}
		}
		for i := range in.Rows {
			pos[i] = in.Rows[i].Pos
		}
	}
	for _, p := range pos {
		last = max(last, p)
	}
	return pos, last
}

// Forward computes the layer: x + attention(norm x), then that + mlp(norm of it).
func (p *layerPass) Forward(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	m, l := p.m, p.l
	h := m.normalise(t, x, l.norm1, l.norm1b)
	x = t.Add(x, m.linear(t, p.attention(t, h), &l.o))
	h = m.normalise(t, x, l.norm2, l.norm2b)
	return t.Add(x, p.mlp(t, h))
}

func (p *layerPass) attention(t *tensor.Tape, h *tensor.Tensor) *tensor.Tensor {
	m, l, c := p.m, p.l, &p.m.Config
	q, k, v := m.linear(t, h, &l.q), m.linear(t, h, &l.k), m.linear(t, h, &l.v)
	if l.qNorm != nil {
		q = t.RMSNormHeads(q, m.use(l.qNorm), c.Heads, float32(c.NormEps))
		k = t.RMSNormHeads(k, m.use(l.kNorm), c.KVHeads, float32(c.NormEps))
	}
	if c.rotary(l.index) {
		q = t.Rope(q, p.rope, p.pos, c.Heads, c.HeadDim)
		k = t.Rope(k, p.rope, p.pos, c.KVHeads, c.HeadDim)
	}
	scale := c.attnScale(l.index)
	if p.in.KV != nil {
		return t.AttentionCached(q, k, v, p.in.KV, l.index, p.in.Rows, c.Heads, c.KVHeads, c.HeadDim, scale)
	}
	return t.Attention(q, k, v, p.in.Docs, c.Heads, c.KVHeads, c.HeadDim, scale)
}

func (p *layerPass) mlp(t *tensor.Tape, h *tensor.Tensor) *tensor.Tensor {
	m, l := p.m, p.l
	up := m.linear(t, h, &l.up)
	switch {
	case l.gate.w == nil:
		up = m.activate(t, up)
	case m.Config.Act == "silu":
		up = t.SwiGLU(m.linear(t, h, &l.gate), up)
	default:
		up = t.Mul(m.activate(t, m.linear(t, h, &l.gate)), up)
	}
	return m.linear(t, up, &l.down)
}

// activate is the function of the MLP.
func (m *Model) activate(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	switch m.Config.Act {
	case "gelu":
		return t.GELU(x, false)
	case "relu":
		return t.ReLU(x)
	case "silu":
		return t.SiLU(x)
	case "tanh":
		return t.Tanh(x)
	}
	return t.GELU(x, true)
}

func (m *Model) linear(t *tensor.Tape, x *tensor.Tensor, p *proj) *tensor.Tensor {
	w, b := m.use(p.w), m.use(p.b)
	if p.lora == nil || m.off {
		return t.Linear(x, w, b)
	}
	return t.LinearLoRA(x, w, b, p.lora.a, p.lora.b, p.lora.scale)
}

// normalise is RMSNorm, or GPT-2's LayerNorm.
func (m *Model) normalise(t *tensor.Tape, x, w, b *tensor.Tensor) *tensor.Tensor {
	if b == nil {
		return t.RMSNorm(x, m.use(w), float32(m.Config.NormEps))
	}
	return t.LayerNorm(x, m.use(w), m.use(b), float32(m.Config.NormEps))
}
