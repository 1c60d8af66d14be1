// Package nano is the small model that comes with hone: a byte-level Llama of under a million parameters, trained by hone itself on text
// that hone generates (see Corpus and docs/nano.md).
package nano

import (
	"github.com/hone-lm/hone/model"
)

// Config describes the model: 128 wide, 4 layers, 4 heads, a vocabulary of 336 bytes and tags, tied head.
func Config() model.Config {
	return model.Config{Family: model.Llama, Vocab: 336, Hidden: 128, Inner: 352, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 32, MaxPos: 512, NormEps: 1e-5, Tied: true, RopeTheta: 10000}
}

// Model returns the model with its trained weights.
func Model() (*model.Model, error) { return model.New(Config(), 1) }
