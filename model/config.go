package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hone-lm/hone/tensor"
)

// Family is a kind of decoder transformer, by the model_type of its config.json.
type Family string

// The families that are built.
const (
	Llama   Family = "llama"   // SmolLM2 included
	Qwen2   Family = "qwen2"   // biases on q, k and v
	Qwen3   Family = "qwen3"   // q and k normalised per head, head size of its own
	SmolLM3 Family = "smollm3" // some layers without rotary embedding
	GPT2    Family = "gpt2"    // learned positions, LayerNorm, biases everywhere, no gate
)

// Config holds everything of a model's description that changes its arithmetic, and its token ids.
type Config struct {
	Family  Family
	Vocab   int // rows of the embedding and of the head
	Hidden  int
	Inner   int // width inside the MLP
	Layers  int
	Heads   int
	KVHeads int // 0 means Heads
	HeadDim int // 0 means Hidden / Heads
	MaxPos  int // longest sequence, in tokens
	NormEps float64
	Act     string // of the MLP, which is gated but in GPT-2: "silu", "gelu_tanh", "gelu", "relu" or "tanh"; "" means the family's own
	Tied    bool   // the head is the embedding

	QKVBias, OBias, MLPBias bool

	RopeTheta    float64            // base of the rotary frequencies; not used by GPT-2
	Rope         tensor.RopeScaling // how they are stretched; Type may also be "dynamic" (Factor)
	NoRope       []bool             // layers without rotary embedding; nil: none
	NoAttnScale  bool               // GPT-2: scores are not divided by sqrt(HeadDim)
	ScaleByLayer bool               // GPT-2: scores of layer i are divided by i+1

	BOS, EOS, Pad []int32 // token ids named by the files, possibly none; the forward pass does not use them
}

// limits keep sizes from a damaged file within what can be multiplied without overflow.
const (
	maxWidth  = 1 << 20
	maxLayers = 1 << 12
	maxVocab  = 1 << 24
	maxPos    = 1 << 30
)

// complete fills the fields whose zero value means a default and checks that the sizes fit together. Errors name fields as config.json spells them.
func (c *Config) complete() error {
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 {
		if c.Hidden%c.Heads != 0 {
			return fmt.Errorf("hidden_size %d is no multiple of num_attention_heads %d, and there is no head_dim", c.Hidden, c.Heads)
		}
		c.HeadDim = c.Hidden / c.Heads
	}
	if c.Act == "" {
		c.Act = "silu"
		if c.Family == GPT2 {
			c.Act = "gelu_tanh"
		}
	}
	for _, f := range []struct {
		name  string
		value int
		max   int
	}{
		{"vocab_size", c.Vocab, maxVocab}, {"hidden_size", c.Hidden, maxWidth}, {"intermediate_size", c.Inner, maxWidth}, {"num_hidden_layers", c.Layers, maxLayers},
		{"num_attention_heads", c.Heads, maxWidth}, {"num_key_value_heads", c.KVHeads, c.Heads}, {"head_dim", c.HeadDim, maxWidth / max(c.Heads, 1)}, {"max_position_embeddings", c.MaxPos, maxPos},
	} {
		if f.value <= 0 || f.value > f.max {
			return fmt.Errorf("%s is %d; expected 1 to %d", f.name, f.value, f.max)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("num_attention_heads %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	if !(c.NormEps > 0) || math.IsInf(c.NormEps, 0) {
		return fmt.Errorf("the epsilon of the norms is %g; expected a positive number", c.NormEps)
	}
	if !slices.Contains(activations, c.Act) {
		return fmt.Errorf("activation %q is not built; built are %s", c.Act, strings.Join(activations, ", "))
	}
	return c.completeFamily()
}

// activations are the values of Config.Act.
var activations = []string{"silu", "gelu_tanh", "gelu", "relu", "tanh"}

func (c *Config) completeFamily() error {
	switch c.Family {
	case GPT2:
		if c.KVHeads != c.Heads || c.HeadDim*c.Heads != c.Hidden {
			return errors.New("gpt2 has as many key heads as heads, of size n_embd / n_head")
		}
		c.QKVBias, c.OBias, c.MLPBias = true, true, true
		return nil
	case Llama, Qwen2, Qwen3, SmolLM3:
	default:
		return fmt.Errorf("model family %q is not built; built are llama, qwen2, qwen3, smollm3 and gpt2", c.Family)
	}
	if c.Family == Qwen2 {
		c.QKVBias, c.OBias = true, false
	}
	if c.NoRope != nil && len(c.NoRope) != c.Layers {
		return fmt.Errorf("no_rope_layers has %d entries for %d layers", len(c.NoRope), c.Layers)
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim %d is odd: no rotary embedding can turn it", c.HeadDim)
	}
	if !(c.RopeTheta >= 1) || c.RopeTheta > 1e30 {
		return fmt.Errorf("rope_theta is %g; expected 1 to 1e30", c.RopeTheta)
	}
	if c.Rope.Type == "dynamic" && !(c.Rope.Factor > 0) {
		return errors.New("rope scaling dynamic needs a positive factor")
	}
	_, err := c.rope(1)
	return err
}

// rope returns the rotary table of the first n positions.
func (c *Config) rope(n int) (*tensor.RopeTable, error) {
	s := c.Rope
	if s.Type == "dynamic" { // changes nothing up to max_position_embeddings, and there are no longer sequences
		s = tensor.RopeScaling{}
	}
	return tensor.NewRope(c.RopeTheta, c.HeadDim, n, s)
}

// attnScale is what attention scores of a layer are multiplied by.
func (c *Config) attnScale(layer int) float32 {
	s := 1.0
	if !c.NoAttnScale {
		s = 1 / math.Sqrt(float64(c.HeadDim))
	}
	if c.ScaleByLayer {
		s /= float64(layer + 1)
	}
	return float32(s)
}

// rotary reports whether the layer turns queries and keys.
func (c *Config) rotary(layer int) bool {
	return c.Family != GPT2 && (c.NoRope == nil || !c.NoRope[layer])
}
