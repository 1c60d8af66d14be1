package main

import (
	"fmt"

	"github.com/hone-lm/hone/model"
)

// benchShape is a model that is measured, with the batch of its training step. Names are labels; params counts.
type benchShape struct {
	name         string
	config       model.Config
	docs, tokens int // sequences of a training step and the tokens of each
	micro        int // tokens forwarded and differentiated together; 0 = the engine's own. Large models are cut to save memory
}

// benchShapes are those of the table in docs/BENCHMARKS.md, and two more for the curves of docs/scale.md.
var benchShapes = []benchShape{
	{"0.3M", llama(64, 6, 4, 4, 176, 512), 16, 64, 0},
	{"1.0M", llama(128, 4, 4, 4, 352, 512), 16, 64, 0},
	{"5.4M", llama(256, 6, 8, 8, 768, 512), 16, 256, 0},
	{"15.5M", llama(288, 6, 6, 6, 768, 32000), 4, 256, 0},
	{"40M", llama(384, 12, 6, 6, 1024, 49152), 4, 256, 0},
	{"135M", llama(576, 30, 9, 3, 1536, 49152), 8, 256, 512}, // SmolLM2-135M
}

func llama(hidden, layers, heads, kvHeads, inner, vocab int) model.Config {
	return model.Config{Family: model.Llama, Vocab: vocab, Hidden: hidden, Inner: inner, Layers: layers, Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads,
		MaxPos: 512, NormEps: 1e-5, RopeTheta: 10000, Tied: true}
}

func shapeOf(name string) (benchShape, error) {
	var names []string
	for _, s := range benchShapes {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return benchShape{}, badCallf("--shape %s: there are %v", name, names)
}

// params counts the parameters that work is counted by: all matrices, the tied head once. Norms do no products and are left out.
func (s benchShape) params() int {
	c := &s.config
	heads, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return c.Vocab*c.Hidden + c.Layers*(2*c.Hidden*heads+2*c.Hidden*kv+3*c.Hidden*c.Inner)
}

// head counts the parameters of the vocabulary head.
func (s benchShape) head() int { return s.config.Vocab * s.config.Hidden }

// millions writes a number of parameters.
func millions(n int) string { return fmt.Sprintf("%.2f million", float64(n)/1e6) }
