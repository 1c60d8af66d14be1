package tensor

import (
	"runtime"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// BenchmarkTrainStep is one training step of a Llama of 5.2 M parameters: 256 wide, 6 layers, 8 heads, 768 inner, vocabulary 512 tied, 16 documents of 256 tokens.
func BenchmarkTrainStep(b *testing.B) {
	m := &tiny{vocab: 512, d: 256, heads: 8, kvHeads: 8, hd: 32, inner: 768}
	n := uint64(0)
	count := 0
	param := func(rows, cols int) *Tensor {
		n++
		p := randomTensor(rng.New(11, "bench", n), rows, cols)
		for i := range p.Data {
			p.Data[i] *= 0.05
		}
		p.EnsureGrad()
		count += rows * cols
		return p
	}
	m.embed, m.final = param(m.vocab, m.d), param(1, m.d)
	m.head = Head{W: m.embed}
	for i := range 6 {
		l := &tinyLayer{m: m, n: i, norm1: param(1, m.d), norm2: param(1, m.d)}
		l.q, l.k, l.v, l.o = param(m.d, m.d), param(m.d, m.d), param(m.d, m.d), param(m.d, m.d)
		l.gate, l.up, l.dn = param(m.d, m.inner), param(m.d, m.inner), param(m.inner, m.d)
		m.layers = append(m.layers, l)
	}
	m.rope, _ = NewRope(10000, m.hd, 512, RopeScaling{})
	lengths := make([]int, 16)
	for i := range lengths {
		lengths[i] = 256
	}
	m.batch(1, lengths...)
	o := NewAdamW(ParamGroup{Params: m.benchParams()})
	tape, loss := NewTape(), newMeanLoss()
	step := func() {
		m.train(tape, loss)
		if _, err := o.Step(adamConfig); err != nil {
			b.Fatal(err)
		}
		o.ZeroGrad()
	}
	step()
	for b.Loop() {
		step()
	}
	tokens := float64(len(m.ids)) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(tokens, "tokens/s")
	speed := tokens * 6 * float64(count) / 1e9
	b.ReportMetric(speed, "GFLOP/s")
	if peak := PeakFMA(runtime.GOMAXPROCS(0)); peak > 0 {
		b.ReportMetric(100*speed/peak, "%peak")
	}
}

func (m *tiny) benchParams() (list []*Tensor) {
	for _, p := range m.params() {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}
