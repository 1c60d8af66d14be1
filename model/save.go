package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/hone-lm/hone/model/internal/half"
	"github.com/hone-lm/hone/model/safetensors"
)

// JSON returns the configuration as a config.json for weights of the given dtype, in the spelling that both old and new transformers read.
func (c *Config) JSON(dtype safetensors.Dtype) ([]byte, error) {
	torch := map[safetensors.Dtype]string{safetensors.F32: "float32", safetensors.BF16: "bfloat16"}[dtype]
	if torch == "" {
		return nil, fmt.Errorf("dtype %q is not written; use F32 or BF16", dtype)
	}
	v := map[string]any{
		"model_type": string(c.Family), "architectures": []string{architectures[c.Family]}, "torch_dtype": torch, "vocab_size": c.Vocab, "tie_word_embeddings": c.Tied,
		"bos_token_id": idValue(c.BOS), "eos_token_id": idValue(c.EOS), "pad_token_id": idValue(c.Pad), "use_cache": true, "initializer_range": 0.02,
	}
	if c.Family == GPT2 {
		c.gpt2JSON(v)
	} else if err := c.llamaJSON(v); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}

var architectures = map[Family]string{Llama: "LlamaForCausalLM", Qwen2: "Qwen2ForCausalLM", Qwen3: "Qwen3ForCausalLM", SmolLM3: "SmolLM3ForCausalLM", GPT2: "GPT2LMHeadModel"}

func idValue(ids []int32) any {
	switch len(ids) {
	case 0:
		return nil
	case 1:
		return ids[0]
	}
	return ids
}

// actName spells the activation as transformers does, which has several names for one of them.
func (c *Config) actName(geluTanh string) string {
	if c.Act == "gelu_tanh" {
		return geluTanh
	}
	return c.Act
}

func (c *Config) gpt2JSON(v map[string]any) {
	v["n_embd"], v["n_layer"], v["n_head"], v["n_positions"], v["n_inner"] = c.Hidden, c.Layers, c.Heads, c.MaxPos, c.Inner
	v["layer_norm_epsilon"], v["activation_function"] = c.NormEps, c.actName("gelu_new")
	v["scale_attn_weights"], v["scale_attn_by_inverse_layer_idx"] = !c.NoAttnScale, c.ScaleByLayer
}

func (c *Config) llamaJSON(v map[string]any) error {
	v["hidden_size"], v["intermediate_size"], v["num_hidden_layers"] = c.Hidden, c.Inner, c.Layers
	v["num_attention_heads"], v["num_key_value_heads"], v["max_position_embeddings"] = c.Heads, c.KVHeads, c.MaxPos
	v["rms_norm_eps"], v["hidden_act"], v["rope_theta"], v["head_dim"] = c.NormEps, c.actName("gelu_pytorch_tanh"), c.RopeTheta, c.HeadDim
	if c.Family != Qwen2 {
		if c.QKVBias != c.OBias {
			return fmt.Errorf("a %s with biases on some of q, k, v and o only has no config.json", c.Family)
		}
		v["attention_bias"] = c.QKVBias
	}
	if c.Family == Llama || c.Family == SmolLM3 {
		v["mlp_bias"] = c.MLPBias
	} else if c.MLPBias {
		return fmt.Errorf("a %s with biases in its MLP has no config.json", c.Family)
	}
	if c.Family == SmolLM3 {
		layers := make([]int, c.Layers)
		for i := range layers {
			if c.rotary(i) {
				layers[i] = 1
			}
		}
		v["no_rope_layers"], v["use_sliding_window"] = layers, false
	}
	scaling, err := c.scalingJSON()
	v["rope_scaling"] = scaling
	return err
}

func (c *Config) scalingJSON() (any, error) {
	s := c.Rope
	if s.Divisors != nil {
		return nil, fmt.Errorf("the rotary frequencies come from %s with divisors that no published scaling gives: config.json cannot say that", ropeFreqs)
	}
	v := map[string]any{"rope_type": s.Type, "factor": s.Factor}
	switch s.Type {
	case "", "default":
		return nil, nil
	case "llama3":
		v["low_freq_factor"], v["high_freq_factor"], v["original_max_position_embeddings"] = s.LowFreqFactor, s.HighFreqFactor, s.OriginalMaxPos
	case "yarn":
		v["original_max_position_embeddings"], v["truncate"] = s.OriginalMaxPos, !s.NoTruncate
		for key, x := range map[string]float64{"attention_factor": s.AttentionFactor, "mscale": s.MScale, "mscale_all_dim": s.MScaleAllDim, "beta_fast": s.BetaFast, "beta_slow": s.BetaSlow} {
			if x != 0 {
				v[key] = x
			}
		}
	}
	return v, nil
}

// SaveHF writes config.json and model.safetensors (F32, or BF16 rounded to nearest even) into dir, reads both back and compares every value before it reports success.
// Tokenizer files are the caller's to copy. A model with an adapter is refused: Merge it, or SaveAdapter.
func (m *Model) SaveHF(dir string, dtype safetensors.Dtype) error {
	if m.adapter != nil {
		return fmt.Errorf("%s: the model has an adapter, which a model folder cannot hold: merge it first, or save it as an adapter folder", dir)
	}
	config, err := m.Config.JSON(dtype)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out := make([]safetensors.Out, len(m.specs))
	for i := range m.specs {
		s, p := &m.specs[i], m.base[i]
		out[i] = safetensors.Out{Name: s.hf, Dtype: dtype, Shape: s.shape(false), Fill: func(dst []float32) { s.toFile(dst, values(p.Tensor)) }}
	}
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), out, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	return m.verify(dir, dtype, config)
}

// verify loads what SaveHF wrote and compares it with the model in memory, value by value.
func (m *Model) verify(dir string, dtype safetensors.Dtype, config []byte) error {
	back, err := loadFolder(dir)
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	again, err := back.Config.JSON(dtype)
	if err != nil || !bytes.Equal(config, again) {
		return fmt.Errorf("%s: config.json reads back as another configuration; please report this", dir)
	}
	for i, p := range m.base {
		if !sameValues(values(p.Tensor), back.base[i].Data, dtype) {
			return fmt.Errorf("%s: tensor %q reads back with other values: the disk may be damaged; save to another place", dir, p.Name)
		}
	}
	return nil
}

// sameValues compares bits, so that NaN equals itself.
func sameValues(wrote, read []float32, dtype safetensors.Dtype) bool {
	return slices.EqualFunc(wrote, read, func(a, b float32) bool {
		if dtype == safetensors.BF16 {
			a = half.BF16(half.ToBF16(a))
		}
		return math.Float32bits(a) == math.Float32bits(b)
	})
}

// writeFile replaces the file at path whole.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
