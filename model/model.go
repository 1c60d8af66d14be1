// Package model holds decoder transformers: their configuration, weights, forward pass and LoRA adapters, and the files they come from and go to
// (Hugging Face folders with safetensors, GGUF, PEFT adapter folders).
//
// Sampling and training run the same Forward; only the attention operation differs, and both give the same bytes.
package model

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor"
)

// Model is a decoder transformer with its weights. Forward may run on several tapes at once; everything that changes weights or adapters may not.
type Model struct {
	Config Config
	Path   string // where it was loaded from; "" for a new one

	embed, positions, head *tensor.Tensor // [vocab][hidden]; positions [maxPos][hidden], GPT-2 only; head == embed when tied
	norm, normb            *tensor.Tensor // [1][hidden]; normb of GPT-2 only
	blocks                 []block
	base                   []Param // all weights, in the order of the table
	specs                  []spec  // of base

	adapter *Adapter // nil: none
	off     bool     // the adapter is switched off
	value   atomic.Pointer[tensor.ValueHead]

	rope   atomic.Pointer[tensor.RopeTable]
	ropeMu sync.Mutex
}

// Param is a weight of the model or of its adapter. Its gradient buffer comes and goes with Model.Train, Freeze and SwapGrads only: other tensors may be views of it.
type Param struct {
	*tensor.Tensor      // Name is that of the file it would be saved in. Grad is nil while it is frozen. Shapes are those of computing: a Linear is [in][out]
	Decay          bool // AdamW decays it: it has two dimensions in the file
}

// proj is a projection: y = x w + b, plus a low-rank update when an adapter is attached.
type proj struct {
	w, b *tensor.Tensor // [in][out]; b [1][out] or nil
	lora *lora
}

// block is one layer.
type block struct {
	index          int
	norm1, norm2   *tensor.Tensor
	norm1b, norm2b *tensor.Tensor // GPT-2
	q, k, v, o     proj
	qkv            proj           // GPT-2: the stored tensor, of which q, k and v are views
	qNorm, kNorm   *tensor.Tensor // Qwen3
	gate, up, down proj           // gate: not GPT-2
}

// skeleton returns a model whose weights are not there yet.
func skeleton(c Config) *Model {
	m := &Model{Config: c, blocks: make([]block, c.Layers), specs: c.specs()}
	for i := range m.blocks {
		m.blocks[i].index = i
	}
	return m
}

// slot returns where the tensor of a spec belongs.
func (m *Model) slot(s *spec) **tensor.Tensor {
	if s.layer < 0 {
		return s.at(m, nil)
	}
	return s.at(m, &m.blocks[s.layer])
}

// allocate makes the tensor of a spec, zeroed.
func (m *Model) allocate(s *spec) *tensor.Tensor {
	r, c := s.size()
	p := tensor.NewParam(s.hf, r, c)
	m.place(s, p)
	return p
}

// place makes p the tensor of a spec.
func (m *Model) place(s *spec, p *tensor.Tensor) {
	*m.slot(s) = p
	m.base = append(m.base, Param{p, s.layout != vector})
}

// finish ties the head and cuts the views of fused projections, after all tensors are there.
func (m *Model) finish() {
	if m.Config.Tied {
		m.head = m.embed
	}
	m.cutViews()
}

// cutViews makes q, k and v of GPT-2 views of the stored tensor, gradients included. It is called again whenever a gradient buffer appears or goes.
func (m *Model) cutViews() {
	if m.Config.Family != GPT2 {
		return
	}
	for i := range m.blocks {
		l := &m.blocks[i]
		for part, p := range []*proj{&l.q, &l.k, &l.v} {
			p.w, p.b = view(p.w, l.qkv.w, part, 3, false), view(p.b, l.qkv.b, part, 3, true)
			m.viewReplaced(p.w, l.qkv.w, part, false)
			m.viewReplaced(p.b, l.qkv.b, part, true)
			if l.qkv.lora != nil {
				p.lora.b = view(p.lora.b, l.qkv.lora.b, part, 3, false)
			}
		}
	}
}

// view makes old (or a new tensor) part i of n of whole: some of its rows, or of a single row some columns.
func view(old, whole *tensor.Tensor, i, n int, columns bool) *tensor.Tensor {
	if old == nil {
		old = &tensor.Tensor{}
	}
	if whole.Quant != nil {
		*old = *whole.QuantPart(i, n)
		return old
	}
	*old = tensor.Tensor{}
	old.Name, old.Rows, old.Cols = whole.Name, whole.Rows/n, whole.Cols
	if columns {
		old.Rows, old.Cols = whole.Rows, whole.Cols/n
	}
	size := old.Rows * old.Cols
	old.Data, old.Grad = whole.Data[i*size:(i+1)*size:(i+1)*size], nil
	if len(whole.Grad) > 0 {
		old.Grad = whole.Grad[i*size : (i+1)*size : (i+1)*size]
	} else {
		old.Grad = whole.Grad
	}
	return old
}

// New returns a model with random weights: norms 1, biases 0, everything else normal with standard deviation 0.02, the projections that end a
// residual branch divided by sqrt(2 layers) as in GPT-2. A weight depends on the seed and on its own name alone.
func New(c Config, seed uint64) (*Model, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("model configuration: %w", err)
	}
	m := skeleton(c)
	for i := range m.specs {
		s := &m.specs[i]
		p := m.allocate(s)
		if s.layout == vector {
			if s.proj == nil && p != m.normb && (s.layer < 0 || p != m.blocks[s.layer].norm1b && p != m.blocks[s.layer].norm2b) {
				fill(p.Data, 1)
			}
			continue
		}
		std := 0.02
		if s.proj != nil {
			if l := &m.blocks[s.layer]; s.proj(l) == &l.o || s.proj(l) == &l.down {
				std /= math.Sqrt(2 * float64(c.Layers))
			}
		}
		key := rng.New(seed, "init").Sub(s.hf)
		for j := range p.Data {
			p.Data[j] = float32(std * key.Normal(uint64(j)))
		}
	}
	m.finish()
	return m, nil
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// HeadWeight returns the matrix of the vocabulary head, [vocab][hidden]; the embedding when the head is tied to it.
func (m *Model) HeadWeight() *tensor.Tensor {
	if m.adapter != nil && !m.off && m.adapter.head != nil {
		return m.adapter.head
	}
	return m.head
}

// use returns the tensor that stands in for p while an adapter is on: one that it trained as a whole, or p itself.
func (m *Model) use(p *tensor.Tensor) *tensor.Tensor {
	if m.adapter == nil || m.off {
		return p
	}
	if r, ok := m.adapter.replace[p]; ok {
		return r
	}
	return p
}

// viewReplaced cuts the part of a replaced whole that stands in for part.
func (m *Model) viewReplaced(part, whole *tensor.Tensor, i int, columns bool) {
	if m.adapter == nil {
		return
	}
	if r, ok := m.adapter.replace[whole]; ok {
		m.adapter.replace[part] = view(m.adapter.replace[part], r, i, 3, columns)
	}
}

// Weights returns the weights of the base model in a fixed order, trainable or not. A tied head is not listed again.
func (m *Model) Weights() []Param { return m.base }

// Params returns what is trained, in a fixed order: the adapter's tensors when there is an adapter, otherwise all weights, or none of them
// when some are quantised; then the value head's, when there is one. They have gradients after Train.
func (m *Model) Params() []Param {
	list := m.base
	if m.adapter != nil {
		list = m.adapter.params
	} else if m.Quantised() {
		list = nil
	}
	return append(list[:len(list):len(list)], m.valueParams()...)
}

// Train gives every trainable weight a gradient buffer and takes those of all others away. An adapter that was made with dropout is refused,
// and so are quantised weights without an adapter.
func (m *Model) Train() error {
	if m.adapter == nil && m.Quantised() {
		return fmt.Errorf("%s: the weights are kept quantised (%s), so they cannot be trained: train an adapter (lora.rank=16), or all weights in float32 (keep_quantised=false)", m.Path, m.QuantFormats())
	}
	if m.adapter != nil && m.adapter.config.dropout != 0 {
		return fmt.Errorf("the adapter's lora_dropout is %g, and dropout is not built: set it to 0 in adapter_config.json to train the adapter without", m.adapter.config.dropout)
	}
	m.Freeze()
	for _, p := range m.Params() {
		p.EnsureGrad()
	}
	m.cutViews()
	return nil
}

// Rehearse calls fn with a model whose trainable weights ask for gradients, without making room for them: for measuring on a dry tape.
func (m *Model) Rehearse(fn func()) {
	for _, p := range m.Params() {
		if p.Grad != nil {
			fn()
			return
		}
		p.Grad = []float32{}
	}
	m.cutViews()
	fn()
	m.Freeze()
}

// DropoutOff lets an adapter that was made with dropout be trained without.
func (a *Adapter) DropoutOff() { a.config.dropout = 0 }

// Freeze takes the gradient buffers away: for inference.
func (m *Model) Freeze() {
	for _, p := range m.base {
		p.Grad = nil
	}
	if m.adapter != nil {
		for _, p := range m.adapter.params {
			p.Grad = nil
		}
	}
	for _, p := range m.valueParams() {
		p.Grad = nil
	}
	m.cutViews()
}

// SwapGrads exchanges the gradient buffers of Params, in their order, with those in other, without moving a number.
func (m *Model) SwapGrads(other [][]float32) {
	for i, p := range m.Params() {
		p.Grad, other[i] = other[i], p.Grad
	}
	m.cutViews()
}

// Count returns how many numbers the base weights hold.
func (m *Model) Count() int {
	n := 0
	for _, p := range m.base {
		n += p.Rows * p.Cols
	}
	return n
}

// ropeFor returns a table that covers positions below n. It grows by doubling, so a warm forward pass finds it ready.
func (m *Model) ropeFor(n int) *tensor.RopeTable {
	if t := m.rope.Load(); t != nil && n <= t.Positions {
		return t
	}
	m.ropeMu.Lock()
	defer m.ropeMu.Unlock()
	size := 1024
	for size < n {
		size *= 2
	}
	t, err := m.Config.rope(min(size, max(n, m.Config.MaxPos)))
	if err != nil {
		panic("model: " + err.Error()) // complete has checked the same values
	}
	m.rope.Store(t)
	return t
}
