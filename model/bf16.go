package model

import "github.com/hone-lm/hone/tensor"

// PackBF16 makes the rounded copies of the weights that products of bf16 read, where they are missing or stale; quantised weights have none. No forward pass may run
// meanwhile, here or in a Clone. Without copies the products round the weights themselves, to the same bytes.
func (m *Model) PackBF16() {
	for i := range m.blocks {
		for _, w := range m.blocks[i].weights() {
			if w != nil && w.Quant == nil {
				w.PackBF16()
			}
		}
	}
	if w := m.HeadWeight(); w.Quant == nil {
		w.PackHeadBF16()
	}
}

// StaleBF16 says that Params have changed: their rounded copies, if there are any, are used no more until PackBF16.
func (m *Model) StaleBF16() {
	if m.adapter == nil {
		m.staleBase()
	} else if m.adapter.head != nil {
		m.adapter.head.StaleBF16()
	}
}

// staleBase is StaleBF16 for the weights under an adapter.
func (m *Model) staleBase() {
	for i := range m.blocks {
		for _, w := range m.blocks[i].weights() {
			if w != nil {
				w.StaleBF16()
			}
		}
	}
	m.head.StaleBF16()
}

// PackedBF16 returns how many bytes the copies of PackBF16 take.
func (m *Model) PackedBF16() (bytes int64) {
	for i := range m.blocks {
		for _, w := range m.blocks[i].weights() {
			if w != nil && w.Quant == nil {
				bytes += tensor.BF16Bytes(w.Rows, w.Cols)
			}
		}
	}
	if w := m.HeadWeight(); w.Quant == nil {
		bytes += tensor.BF16Bytes(w.Cols, w.Rows)
	}
	return bytes
}

// weights lists the base weights of a layer's projections as they are multiplied with, that is the parts of a fused one. The last is nil in
// GPT-2.
func (l *block) weights() [7]*tensor.Tensor {
	return [...]*tensor.Tensor{l.q.w, l.k.w, l.v.w, l.o.w, l.up.w, l.down.w, l.gate.w}
}

// shareBF16 lets c, a clone over the same base weights, have the rounded copies of m, now and later.
func (c *Model) shareBF16(m *Model) {
	for i := range c.blocks {
		from := m.blocks[i].weights()
		for k, w := range c.blocks[i].weights() {
			if w != nil {
				w.ShareBF16(from[k])
			}
		}
	}
	c.head.ShareBF16(m.head)
}
