package model

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/model/gguf"
	"github.com/hone-lm/hone/tensor"
)

// ropeFreqs is the tensor of divisors of the rotary frequencies (Llama 3.1 and later).
const ropeFreqs = "rope_freqs.weight"

// ggufFields reads metadata below "<architecture>." and remembers what was asked for.
type ggufFields struct {
	f    *gguf.File
	arch string
	used map[string]bool
	err  error
}

func (g *ggufFields) fail(key, format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("metadata %s.%s %s", g.arch, key, fmt.Sprintf(format, args...))
	}
}

func (g *ggufFields) get(key string) (gguf.Value, bool) {
	g.used[key] = true
	return g.f.Meta(g.arch + "." + key)
}

// int reads an integer; absent < 0 means that it must be there.
func (g *ggufFields) int(key string, absent int) int {
	v, ok := g.get(key)
	if !ok {
		if absent < 0 {
			g.fail(key, "is missing")
		}
		return absent
	}
	u, ok := v.Uint()
	if !ok || u > maxPos {
		g.fail(key, "is no integer in range (one number for all layers is built, no list)")
		return 0
	}
	return int(u)
}

// float reads a number. Metadata is float32: its shortest decimal form is what config.json said, 1e-05 and not 9.99999974e-06.
func (g *ggufFields) float(key string, absent float64) float64 {
	v, ok := g.get(key)
	if !ok {
		return absent
	}
	x, ok := v.Float()
	if !ok {
		g.fail(key, "is no number")
		return absent
	}
	if float64(float32(x)) == x {
		x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, 32), 64)
	}
	return x
}

func (g *ggufFields) string(key, absent string) string {
	v, ok := g.get(key)
	if !ok {
		return absent
	}
	s, ok := v.String()
	if !ok {
		g.fail(key, "is no string")
	}
	return s
}

// configFromGGUF maps a file's metadata to a configuration. As with config.json, every key of the architecture is honoured or refused by name.
func configFromGGUF(f *gguf.File) (*Config, error) {
	arch := ""
	if v, ok := f.Meta("general.architecture"); ok {
		arch, _ = v.String()
	}
	g := &ggufFields{f: f, arch: arch, used: map[string]bool{}}
	c := &Config{Family: Family(arch)}
	switch c.Family {
	case Llama, Qwen2, Qwen3, SmolLM3, GPT2:
	default:
		return nil, fmt.Errorf("general.architecture %q is not built; built are llama, qwen2, qwen3, smollm3 and gpt2", arch)
	}
	if v, ok := f.Meta("split.count"); ok {
		if n, _ := v.Uint(); n > 1 {
			return nil, fmt.Errorf("is one of %d parts; merge them with llama-gguf-split --merge", n)
		}
	}
	c.readGGUF(g)
	for _, key := range f.Keys {
		rest, ok := strings.CutPrefix(key, arch+".")
		if ok && !g.used[rest] && g.err == nil {
			g.fail(rest, "is not known here and may change the arithmetic")
		}
	}
	if g.err != nil {
		return nil, g.err
	}
	c.BOS, c.EOS, c.Pad = ggufID(f, "bos"), ggufID(f, "eos"), ggufID(f, "padding")
	if err := c.readDivisors(f); err != nil {
		return nil, err
	}
	return c, c.complete()
}

func ggufID(f *gguf.File, name string) []int32 {
	if v, ok := f.Meta("tokenizer.ggml." + name + "_token_id"); ok {
		if u, ok := v.Uint(); ok && u < maxVocab {
			return []int32{int32(u)}
		}
	}
	return nil
}

func (c *Config) readGGUF(g *ggufFields) {
	c.Hidden, c.Layers, c.Heads = g.int("embedding_length", -1), g.int("block_count", -1), g.int("attention.head_count", -1)
	c.Inner, c.MaxPos = g.int("feed_forward_length", -1), g.int("context_length", -1)
	c.KVHeads = g.int("attention.head_count_kv", c.Heads)
	if t, ok := g.f.Tensor("token_embd.weight"); ok && len(t.Shape) == 2 {
		c.Vocab = t.Shape[0]
	}
	if n := g.int("vocab_size", c.Vocab); n != c.Vocab {
		g.fail("vocab_size", "is %d, but token_embd.weight has %d rows", n, c.Vocab)
	}
	_, untied := g.f.Tensor("output.weight")
	c.Tied = !untied
	if c.Family == GPT2 {
		c.NormEps = g.float("attention.layer_norm_epsilon", 1e-5)
		return
	}
	c.NormEps = g.float("attention.layer_norm_rms_epsilon", 1e-6)
	c.HeadDim = g.int("attention.key_length", 0)
	if v := g.int("attention.value_length", c.HeadDim); v != c.HeadDim {
		g.fail("attention.value_length", "is %d, but the key length is %d", v, c.HeadDim)
	}
	dim := c.HeadDim
	if dim == 0 && c.Heads > 0 {
		dim = c.Hidden / c.Heads
	}
	if rot := g.int("rope.dimension_count", dim); rot != dim {
		g.fail("rope.dimension_count", "is %d of a head's %d: partial rotation is not built", rot, dim)
	}
	c.readGGUFRope(g)
	c.readGGUFBiases(g)
	if n := g.int("expert_count", 0); n > 0 {
		g.fail("expert_count", "is %d: mixtures of experts are not built", n)
	}
	if w := g.int("attention.sliding_window", 0); w > 0 && w < c.MaxPos {
		g.fail("attention.sliding_window", "is %d of a context of %d: attention windows are not built", w, c.MaxPos)
	}
	if c.Family == SmolLM3 && c.Layers > 0 && c.Layers <= maxLayers { // llama.cpp knows no other interval
		c.NoRope = make([]bool, c.Layers)
		for i := range c.NoRope {
			c.NoRope[i] = (i+1)%4 == 0
		}
	}
}

func (c *Config) readGGUFRope(g *ggufFields) {
	c.RopeTheta = g.float("rope.freq_base", 10000)
	s := &c.Rope
	s.Type = g.string("rope.scaling.type", "none")
	s.Factor = g.float("rope.scaling.factor", g.float("rope.scale_linear", 1))
	switch s.Type {
	case "none", "":
		s.Type = "default"
		if _, typed := g.f.Meta(g.arch + ".rope.scaling.type"); !typed && s.Factor != 1 && s.Factor != 0 {
			s.Type = "linear" // llama.cpp's reading of a factor without a type
		}
	case "linear":
	case "yarn":
		s.OriginalMaxPos = g.int("rope.scaling.original_context_length", c.MaxPos)
		s.BetaFast, s.BetaSlow = g.float("rope.scaling.yarn_beta_fast", 0), g.float("rope.scaling.yarn_beta_slow", 0)
		if a := g.float("rope.scaling.attn_factor", 1); a != 1 {
			g.fail("rope.scaling.attn_factor", "is %g; built is 1", a)
		}
	default:
		g.fail("rope.scaling.type", "%q is not built; built are none, linear and yarn", s.Type)
	}
	if s.Type == "default" {
		s.Factor = 0
		g.get("rope.scaling.original_context_length")
	}
	g.get("rope.scaling.finetuned") // bookkeeping
}

// readGGUFBiases looks at the tensors: the metadata does not say which biases a file has.
func (c *Config) readGGUFBiases(g *ggufFields) {
	has := func(name string) bool {
		_, ok := g.f.Tensor("blk.0." + name + ".bias")
		return ok
	}
	c.QKVBias, c.OBias, c.MLPBias = has("attn_q"), has("attn_output"), has("ffn_up")
}

func (c *Config) readDivisors(f *gguf.File) error {
	t, ok := f.Tensor(ropeFreqs)
	if !ok {
		return nil
	}
	if c.Family == GPT2 || t.Elems > maxWidth {
		return fmt.Errorf("tensor %q has no place in a %s", ropeFreqs, c.Family)
	}
	c.Rope.Divisors = make([]float32, t.Elems)
	if err := f.Read(ropeFreqs, c.Rope.Divisors); err != nil {
		return err
	}
	for i, d := range c.Rope.Divisors {
		if !(d > 0) || math.IsInf(float64(d), 0) {
			return fmt.Errorf("tensor %q: entry %d is %g; expected a positive number", ropeFreqs, i, d)
		}
	}
	c.nameDivisors()
	return nil
}

// nameDivisors replaces divisors by the published scaling that they were computed from (Llama 3.1, 3.2, 3.3), which config.json can express.
func (c *Config) nameDivisors() {
	dim := c.HeadDim
	if dim == 0 {
		dim = c.Hidden / max(c.Heads, 1)
	}
	if c.Rope.Type != "default" || 2*len(c.Rope.Divisors) != dim {
		return // complete refuses a wrong count
	}
	for _, factor := range []float64{8, 32} {
		s := tensor.RopeScaling{Type: "llama3", Factor: factor, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPos: 8192}
		same := true
		for i, d := range c.Rope.Divisors {
			wave := 2 * math.Pi * math.Pow(c.RopeTheta, float64(i)/float64(len(c.Rope.Divisors)))
			smooth := min(max((8192/wave-1)/3, 0), 1)
			want := 1 / ((1-smooth)/factor + smooth)
			same = same && math.Abs(float64(d)-want) < 1e-4*want
		}
		if same {
			c.Rope = s
			return
		}
	}
}
