package model

import (
	"math"
	"testing"

	"github.com/hone-lm/hone/tensor"
)

// TestActivations compares the MLP with a plain computation in float64. The attention adds nothing, so that the hidden state is easy to follow.
func TestActivations(t *testing.T) {
	functions := map[string]func(x float64) float64{
		"silu":      func(x float64) float64 { return x / (1 + math.Exp(-x)) },
		"gelu":      func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 },
		"gelu_tanh": func(x float64) float64 { return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) },
		"relu":      func(x float64) float64 { return max(x, 0) },
		"tanh":      math.Tanh,
	}
	if len(functions) != len(activations) {
		t.Fatalf("%d of %d activations are tested", len(functions), len(activations))
	}
	const token = 5
	for _, family := range []Family{Llama, Qwen2, GPT2} {
		for name, f := range functions {
			m := small(t, family, func(c *Config) { c.Layers, c.Act, c.Tied = 1, name, false })
			l := &m.blocks[0]
			clear(l.o.w.Data)
			if family == GPT2 {
				clear(l.o.b.Data)
				clear(m.positions.Data)
			}
			x := make([]float64, m.Config.Hidden)
			for i, v := range m.embed.Row(token) {
				x[i] = float64(v)
			}
			h := norm64(m, x, l.norm2, l.norm2b)
			inner := linear64(h, &l.up)
			if l.gate.w == nil {
				for i, u := range inner {
					inner[i] = f(u)
				}
			} else {
				for i, g := range linear64(h, &l.gate) {
					inner[i] *= f(g)
				}
			}
			for i, d := range linear64(inner, &l.down) {
				x[i] += d
			}
			x = norm64(m, x, m.norm, m.normb)
			got := score(m, [][]int32{{token}}).last[0]
			for v := range m.Config.Vocab {
				want := 0.0
				for i, w := range m.head.Row(v) {
					want += x[i] * float64(w)
				}
				if math.Abs(float64(got[v])-want) > 2e-5*(1+math.Abs(want)) {
					t.Errorf("%s with %s: logit %d is %g, want %g", family, name, v, got[v], want)
					break
				}
			}
		}
	}
}

// norm64 is RMSNorm, or LayerNorm where there is a bias.
func norm64(m *Model, x []float64, w, b *tensor.Tensor) []float64 {
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	if b == nil {
		mean = 0
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) / math.Sqrt(square+m.Config.NormEps) * float64(w.Data[i])
		if b != nil {
			y[i] += float64(b.Data[i])
		}
	}
	return y
}

func linear64(x []float64, p *proj) []float64 {
	y := make([]float64, p.w.Cols)
	for o := range y {
		for i, v := range x {
			y[o] += v * float64(p.w.Row(i)[o])
		}
		if p.b != nil {
			y[o] += float64(p.b.Data[o])
		}
	}
	return y
}
