package model

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/model/internal/half"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
)

func TestSaveHF(t *testing.T) {
	for _, c := range []struct {
		name   string
		family Family
		change func(*Config)
	}{
		{"llama", Llama, nil},
		{"llama with everything", Llama, func(c *Config) {
			c.QKVBias, c.OBias, c.MLPBias, c.Tied, c.HeadDim = true, true, true, true, 10
			c.Rope = tensor.RopeScaling{Type: "yarn", Factor: 4, OriginalMaxPos: 16, BetaFast: 20, MScale: 0.7, MScaleAllDim: 0.9, NoTruncate: true}
			c.EOS, c.Pad = []int32{3, 4}, []int32{0}
		}},
		{"llama3", Llama, func(c *Config) {
			c.Rope = tensor.RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPos: 16}
		}},
		{"llama with gelu", Llama, func(c *Config) { c.Act, c.Rope = "gelu_tanh", tensor.RopeScaling{Type: "dynamic", Factor: 2} }},
		{"qwen2", Qwen2, nil},
		{"qwen3", Qwen3, func(c *Config) { c.QKVBias, c.OBias = true, true }},
		{"smollm3", SmolLM3, func(c *Config) { c.NoRope = []bool{false, true, false} }},
		{"gpt2", GPT2, func(c *Config) { c.Act, c.NoAttnScale, c.ScaleByLayer = "relu", true, true }},
		{"gpt2 untied", GPT2, func(c *Config) { c.Tied, c.Act = false, "gelu" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := small(t, c.family, c.change)
			for _, dtype := range []safetensors.Dtype{safetensors.F32, safetensors.BF16} {
				dir := filepath.Join(t.TempDir(), "out")
				if err := m.SaveHF(dir, dtype); err != nil {
					t.Fatal(err)
				}
				back, err := Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				want := m
				if dtype == safetensors.BF16 {
					want = m.Clone()
					for _, p := range want.Weights() {
						for i, x := range p.Data {
							p.Data[i] = half.BF16(half.ToBF16(x))
						}
					}
					want.cutViews()
				}
				if d := largest(score(want, testTokens), score(back, testTokens)); d != 0 {
					t.Errorf("%s: the output differs by %g", dtype, d)
				}
			}
		})
	}
	m := small(t, Llama, nil)
	if err := m.SaveHF(t.TempDir(), "F16"); err == nil {
		t.Error("an unknown dtype was written")
	}
	m.AddLoRA(LoRASpec{Rank: 1, Alpha: 1})
	if err := m.SaveHF(t.TempDir(), safetensors.F32); err == nil {
		t.Error("a model with an adapter was written without it")
	}
}

// TestVerify checks that a value which changed on disk is noticed.
func TestVerify(t *testing.T) {
	m := small(t, Llama, nil)
	dir := t.TempDir()
	if err := m.SaveHF(dir, safetensors.F32); err != nil {
		t.Fatal(err)
	}
	config, _ := m.Config.JSON(safetensors.F32)
	path := filepath.Join(dir, "model.safetensors")
	data, _ := os.ReadFile(path)
	data[len(data)-7] ^= 1
	os.WriteFile(path, data, 0o644)
	if err := m.verify(dir, safetensors.F32, config); err == nil || !strings.Contains(err.Error(), "other values") {
		t.Errorf("a flipped bit gave %v", err)
	}
	m.Config.NormEps = 1e-6
	if config, _ = m.Config.JSON(safetensors.F32); m.verify(dir, safetensors.F32, config) == nil {
		t.Error("another configuration was not noticed")
	}
}

// rewrite saves m with changed tensors.
func rewrite(t *testing.T, m *Model, change func(list []safetensors.Out) []safetensors.Out) string {
	t.Helper()
	dir := t.TempDir()
	if err := m.SaveHF(dir, safetensors.F32); err != nil {
		t.Fatal(err)
	}
	var out []safetensors.Out
	for i, p := range m.base {
		s := &m.specs[i]
		out = append(out, safetensors.Out{Name: s.hf, Dtype: safetensors.F32, Shape: s.shape(false), Fill: func(d []float32) { s.toFile(d, p.Data) }})
	}
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), change(out), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func one(name string, shape ...int) safetensors.Out {
	return safetensors.Out{Name: name, Dtype: safetensors.F32, Shape: shape, Fill: func([]float32) {}}
}

func TestLoadRefused(t *testing.T) {
	type list = []safetensors.Out
	llama, tied := small(t, Llama, nil), small(t, Qwen2, func(c *Config) { c.Tied = true })
	truncated := rewrite(t, llama, func(l list) list { return l })
	path := filepath.Join(truncated, "model.safetensors")
	data, _ := os.ReadFile(path)
	os.WriteFile(path, data[:len(data)-4], 0o644)
	noConfig := t.TempDir()
	os.WriteFile(filepath.Join(noConfig, "model.safetensors"), data, 0o644)
	pickled := filepath.Join(t.TempDir(), "pytorch_model.bin")
	os.WriteFile(pickled, []byte("PK\x03\x04"), 0o644)
	for _, c := range []struct {
		path string
		want []string
	}{
		{rewrite(t, llama, func(l list) list { return l[1:] }), []string{"model.safetensors", "model.embed_tokens.weight", "missing"}},
		{rewrite(t, llama, func(l list) list { return append(l, one("model.layers.0.self_attn.q_proj.bias", 24)) }), []string{"model.safetensors", "q_proj.bias", "no place"}},
		{rewrite(t, llama, func(l list) list { l[0].Shape = []int{24, 61}; return l }), []string{"model.safetensors", "model.embed_tokens.weight", "[24 61]", "[61 24]"}},
		{rewrite(t, llama, func(l list) list { l[1].Shape = []int{1, 24}; return l }), []string{"input_layernorm", "[1 24]"}},
		{rewrite(t, tied, func(l list) list { return append(l, one("lm_head.weight", 61, 24)) }), []string{"tie_word_embeddings"}},
		{truncated, []string{"model.safetensors", "truncated"}},
		{noConfig, []string{"no config.json"}},
		{pickled, []string{"pickled", "save_pretrained"}},
		{path, []string{"give its folder"}},
		{filepath.Join(noConfig, "none"), []string{"no such file"}},
	} {
		m, err := Load(c.path)
		if err == nil || m != nil {
			t.Errorf("%v was accepted", c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want %q in one line", err, want)
			}
		}
	}
}

// TestLoadVariants checks names that old files use.
func TestLoadVariants(t *testing.T) {
	type list = []safetensors.Out
	gpt2, tied := small(t, GPT2, nil), small(t, Qwen2, func(c *Config) { c.Tied = true })
	for _, c := range []struct {
		m    *Model
		path string
	}{
		{gpt2, rewrite(t, gpt2, func(l list) list { // the published gpt2: no prefix, causal masks stored
			for i := range l {
				l[i].Name = strings.TrimPrefix(l[i].Name, "transformer.")
			}
			return append(l, one("h.0.attn.bias", 1, 1, 64, 64), one("h.0.attn.masked_bias"))
		})},
		{tied, rewrite(t, tied, func(l list) list { // a tied head that is stored all the same
			return append(l, safetensors.Out{Name: "lm_head.weight", Dtype: safetensors.F32, Shape: []int{61, 24}, Fill: l[0].Fill}, one("model.layers.0.self_attn.rotary_emb.inv_freq", 3))
		})},
	} {
		m, err := Load(c.path)
		if err != nil {
			t.Error(err)
			continue
		}
		if d := largest(score(c.m, testTokens), score(m, testTokens)); d != 0 {
			t.Errorf("the output differs by %g", d)
		}
	}
}

// ggufWriter puts a GGUF file together: header and tensor data apart.
type ggufWriter struct{ head, data bytes.Buffer }

func (w *ggufWriter) put(values ...any) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			w.put(uint64(len(s)))
			w.head.WriteString(s)
			continue
		}
		binary.Write(&w.head, binary.LittleEndian, v)
	}
}

func (w *ggufWriter) meta(key string, value any) {
	w.put(key)
	switch v := value.(type) {
	case string:
		w.put(uint32(8), v)
	case float64:
		w.put(uint32(6), float32(v))
	case int:
		w.put(uint32(4), uint32(v))
	}
}

func (w *ggufWriter) tensor(name string, shape []int, values []float32) {
	w.put(name, uint32(len(shape)))
	for _, d := range slices.Backward(shape) {
		w.put(uint64(d))
	}
	w.put(uint32(0), uint64(w.data.Len()))
	binary.Write(&w.data, binary.LittleEndian, values)
	pad32(&w.data)
}

func pad32(b *bytes.Buffer) {
	for b.Len()%32 != 0 {
		b.WriteByte(0)
	}
}

// ggufFile writes a model as GGUF, F32, with the given metadata (keys and values in turn).
func ggufFile(t *testing.T, m *Model, meta []any, extra map[string][]float32) string {
	t.Helper()
	w := &ggufWriter{}
	w.head.WriteString("GGUF")
	w.put(uint32(3), uint64(len(m.specs)+len(extra)), uint64(len(meta)/2))
	for i := 0; i < len(meta); i += 2 {
		w.meta(meta[i].(string), meta[i+1])
	}
	for i, p := range m.base {
		s := &m.specs[i]
		index, from := make([]float32, len(p.Data)), make([]float32, len(p.Data))
		for k := range index {
			index[k] = float32(k)
		}
		s.fromFile(from, index, true) // where each value comes from
		file := make([]float32, len(p.Data))
		for here, place := range from {
			file[int(place)] = p.Data[here]
		}
		w.tensor(s.gguf, s.shape(true), file)
	}
	for name, values := range extra {
		w.tensor(name, []int{len(values)}, values)
	}
	pad32(&w.head)
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, append(w.head.Bytes(), w.data.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func ggufMeta(arch string, more ...any) []any {
	list := []any{"general.architecture", arch}
	kv := []any{"embedding_length", 24, "block_count", 3, "attention.head_count", 4, "feed_forward_length", 40, "context_length", 64}
	if arch == "gpt2" {
		kv = append(kv, "attention.layer_norm_epsilon", 1e-5)
	} else {
		kv = append(kv, "attention.head_count_kv", 2, "attention.key_length", 6, "attention.value_length", 6, "rope.dimension_count", 6, "attention.layer_norm_rms_epsilon", 1e-5)
	}
	for i := 0; i < len(kv); i += 2 {
		list = append(list, arch+"."+kv[i].(string), kv[i+1])
	}
	for i := 0; i < len(more); i += 2 {
		list = append(list, arch+"."+more[i].(string), more[i+1])
	}
	return list
}

// TestGGUFFamilies checks the families and settings that the shared GGUF files do not have.
func TestGGUFFamilies(t *testing.T) {
	divisors := []float32{1, 2.5, 8}
	cases := []struct {
		name   string
		family Family
		change func(*Config)
		more   []any
		extra  map[string][]float32
	}{
		{"llama with biases", Llama, func(c *Config) { c.QKVBias, c.OBias = true, true }, nil, nil},
		{"qwen3", Qwen3, nil, nil, nil},
		{"smollm3", SmolLM3, func(c *Config) { c.NoRope = make([]bool, 3) }, nil, nil},
		{"gpt2", GPT2, nil, nil, nil},
		{"divisors", Llama, func(c *Config) { c.Rope.Divisors = divisors }, nil, map[string][]float32{ropeFreqs: divisors}},
		{"linear", Qwen2, func(c *Config) { c.Rope = tensor.RopeScaling{Type: "linear", Factor: 2} }, []any{"rope.scaling.type", "linear", "rope.scaling.factor", 2.0}, nil},
		{"yarn", Qwen2, func(c *Config) { c.Rope = tensor.RopeScaling{Type: "yarn", Factor: 2, OriginalMaxPos: 32} },
			[]any{"rope.scaling.type", "yarn", "rope.scaling.factor", 2.0, "rope.scaling.original_context_length", 32}, nil},
		{"base", Qwen2, func(c *Config) { c.RopeTheta = 5e5 }, []any{"rope.freq_base", 5e5, "vocab_size", 61}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := small(t, c.family, c.change)
			back, err := Load(ggufFile(t, m, ggufMeta(string(c.family), c.more...), c.extra))
			if err != nil {
				t.Fatal(err)
			}
			if d := largest(score(m, testTokens), score(back, testTokens)); d != 0 {
				t.Errorf("the output differs by %g", d)
			}
			if c.extra != nil {
				if err := back.SaveHF(t.TempDir(), safetensors.F32); err == nil || !strings.Contains(err.Error(), ropeFreqs) {
					t.Errorf("divisors that config.json cannot express: %v", err)
				}
			}
		})
	}
	m := small(t, Llama, nil)
	for _, c := range []struct {
		more []any
		want string
	}{
		{[]any{"logit_scale", 2.0}, "llama.logit_scale"},
		{[]any{"expert_count", 8}, "expert_count"},
		{[]any{"attention.sliding_window", 32}, "sliding_window"},
		{[]any{"vocab_size", 60}, "vocab_size"},
		{[]any{"rope.scaling.type", "longrope"}, "longrope"},
		{[]any{"rope.freq_base", "x"}, "rope.freq_base"},
	} {
		path := ggufFile(t, m, ggufMeta("llama", c.more...), nil)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if _, err := Load(ggufFile(t, m, []any{"general.architecture", "llama"}, nil)); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("no metadata: %v", err)
	}
	if _, err := Load(ggufFile(t, m, ggufMeta("qwen3"), nil)); err == nil || !strings.Contains(err.Error(), "blk.0.attn_q_norm.weight") {
		t.Errorf("another architecture: %v", err)
	}
}

// TestLlama3Divisors checks that the published divisors are recognised, so that such a model can be saved.
func TestLlama3Divisors(t *testing.T) {
	c := Config{HeadDim: 64, RopeTheta: 5e5, Rope: tensor.RopeScaling{Type: "default", Divisors: make([]float32, 32)}}
	want := tensor.RopeScaling{Type: "llama3", Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPos: 8192}
	plain, err := tensor.NewRope(c.RopeTheta, 64, 2, tensor.RopeScaling{})
	if err != nil {
		t.Fatal(err)
	}
	scaled, err := tensor.NewRope(c.RopeTheta, 64, 2, want)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Rope.Divisors { // sines of small angles at position 1 are the frequencies; fast ones are not scaled
		c.Rope.Divisors[i] = 1
		if f := plain.Sin[32+i]; f < 0.1 {
			c.Rope.Divisors[i] = f / scaled.Sin[32+i]
		}
	}
	c.nameDivisors()
	if c.Rope.Type != "llama3" || c.Rope.Factor != 32 || c.Rope.Divisors != nil {
		t.Errorf("%+v", c.Rope)
	}
}
