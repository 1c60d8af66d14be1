package model

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/hone-lm/hone/model/internal/strictjson"
)

// ParseConfig reads a config.json. Every field that changes the arithmetic is honoured, or refused by name; a field that is neither known nor
// known to be harmless is refused too. Both spellings are read: rope_parameters and dtype, or rope_theta, rope_scaling and torch_dtype.
func ParseConfig(data []byte) (*Config, error) {
	f, err := parseFields(data)
	if err != nil {
		return nil, err
	}
	c := &Config{Family: Family(f.string("model_type", ""))}
	switch c.Family {
	case Llama, Qwen2, Qwen3, SmolLM3:
		c.readLlama(f)
	case GPT2:
		c.readGPT2(f)
	default:
		if f.err != nil {
			return nil, f.err
		}
		return nil, fmt.Errorf("model_type %q is not built; built are llama, qwen2, qwen3, smollm3 and gpt2", c.Family)
	}
	c.BOS, c.EOS, c.Pad = f.ids("bos_token_id"), f.ids("eos_token_id"), f.ids("pad_token_id")
	c.refuseCommon(f)
	err = f.done(func(x strictjson.Field) bool { return harmless(x.Key) },
		"it may change the arithmetic: if it does not, take it out of config.json")
	if err != nil {
		return nil, err
	}
	return c, c.complete()
}

func (c *Config) readLlama(f *fields) {
	c.Vocab, c.Hidden, c.Inner = f.need("vocab_size"), f.need("hidden_size"), f.need("intermediate_size")
	c.Layers, c.Heads = f.need("num_hidden_layers"), f.need("num_attention_heads")
	c.MaxPos = f.need("max_position_embeddings")
	if c.Family == Llama {
		c.KVHeads = f.int("num_key_value_heads", c.Heads)
	} else {
		c.KVHeads = f.need("num_key_value_heads") // the defaults of these families are fixed numbers of one published model
	}
	c.HeadDim = f.int("head_dim", 0)
	if _, ok := f.get("head_dim"); !ok && c.Family == Qwen3 {
		c.HeadDim = 128
	}
	c.NormEps = f.float("rms_norm_eps", 1e-6)
	c.Act = activation(f.string("hidden_act", "silu"))
	c.Tied = f.bool("tie_word_embeddings", c.Family == SmolLM3) // transformers' defaults
	switch c.Family {
	case Qwen2:
		f.get("attention_bias") // without effect there: q, k and v have biases always, o never; the tensors are checked
	default:
		bias := f.bool("attention_bias", false)
		c.QKVBias, c.OBias = bias, bias
	}
	if c.Family == Llama || c.Family == SmolLM3 {
		c.MLPBias = f.bool("mlp_bias", false)
	}
	c.readRope(f)
	if c.Family == SmolLM3 {
		c.readNoRope(f)
	}
	c.readWindow(f)
}

// readNoRope reads no_rope_layers, in which 0 marks a layer WITHOUT rotary embedding, or every no_rope_layer_interval-th layer.
func (c *Config) readNoRope(f *fields) {
	interval := f.int("no_rope_layer_interval", 4)
	layers := read(f, "no_rope_layers", "a list of 0 and 1", []int(nil))
	if c.Layers <= 0 || c.Layers > maxLayers {
		return // refused by complete
	}
	c.NoRope = make([]bool, c.Layers)
	if layers == nil {
		for i := range c.NoRope {
			c.NoRope[i] = interval > 0 && (i+1)%interval == 0
		}
		return
	}
	if len(layers) != c.Layers {
		f.fail("no_rope_layers has %d entries for %d layers", len(layers), c.Layers)
		return
	}
	for i, rope := range layers {
		c.NoRope[i] = rope == 0
	}
}

// readWindow refuses sliding-window attention unless the window is as long as the longest sequence.
func (c *Config) readWindow(f *fields) {
	window := f.int("sliding_window", 0)
	use := f.bool("use_sliding_window", false)
	first := f.int("max_window_layers", 28) // the first layer with a window (Qwen)
	if c.Family == SmolLM3 {
		first = 0 // there it is the layers without rotary embedding
	}
	types := read(f, "layer_types", "a list of strings", []string(nil))
	sliding := use && window > 0 && types == nil && first < c.Layers
	for i, t := range types {
		switch t {
		case "full_attention":
		case "sliding_attention":
			sliding = true
		default:
			f.fail("layer_types entry %d is %q, which is not built; built is full_attention", i, t)
		}
	}
	if types != nil && len(types) != c.Layers {
		f.fail("layer_types has %d entries for %d layers", len(types), c.Layers)
	}
	if sliding && (window <= 0 || window < c.MaxPos) {
		f.fail("sliding_window %d with a context of %d: attention windows are not built; set use_sliding_window to false, or max_position_embeddings to at most the window", window, c.MaxPos)
	}
}

func (c *Config) readGPT2(f *fields) {
	c.Vocab, c.Hidden, c.Layers, c.Heads = f.need("vocab_size"), f.need("n_embd"), f.need("n_layer"), f.need("n_head")
	c.MaxPos = f.need("n_positions")
	if ctx := f.int("n_ctx", c.MaxPos); ctx != c.MaxPos {
		f.fail("n_ctx %d differs from n_positions %d", ctx, c.MaxPos)
	}
	c.Inner = f.int("n_inner", 4*min(c.Hidden, maxWidth))
	c.NormEps = f.float("layer_norm_epsilon", 1e-5)
	c.Act = activation(f.string("activation_function", "gelu_new"))
	c.Tied = f.bool("tie_word_embeddings", true)
	c.NoAttnScale = !f.bool("scale_attn_weights", true)
	c.ScaleByLayer = f.bool("scale_attn_by_inverse_layer_idx", false)
	f.get("reorder_and_upcast_attn") // another order of the same arithmetic, for half precision
}

// activation maps the names of transformers' ACT2FN.
func activation(name string) string {
	switch name {
	case "swish":
		return "silu"
	case "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate":
		return "gelu_tanh"
	case "gelu_python":
		return "gelu"
	}
	return name
}

// readRope reads either spelling of the rotary embedding.
func (c *Config) readRope(f *fields) {
	theta := 10000.0
	if c.Family == SmolLM3 {
		theta = 2e6
	}
	c.RopeTheta = f.float("rope_theta", theta)
	if p := f.float("partial_rotary_factor", 1); p != 1 {
		f.fail("partial_rotary_factor %g is not built for %s; built is 1", p, c.Family)
	}
	if f.bool("rope_interleaved", false) {
		f.fail("rope_interleaved true is not built; built is false")
	}
	params, scaling := f.object("rope_parameters"), f.object("rope_scaling")
	name, r := "rope_parameters", params
	if r == nil {
		name, r = "rope_scaling", scaling
	} else if scaling != nil {
		f.fail("both rope_parameters and rope_scaling are given; keep one")
	}
	if r == nil {
		return
	}
	_, atTop := f.get("rope_theta")
	theta = r.float("rope_theta", c.RopeTheta)
	if atTop && theta != c.RopeTheta {
		f.fail("rope_theta is %g, but %s says %g", c.RopeTheta, name, theta)
	}
	c.RopeTheta = theta
	if err := c.readScaling(r); err != nil {
		f.fail("%s: %w", name, err)
	}
}

func (c *Config) readScaling(r *fields) error {
	s := &c.Rope
	s.Type = r.string("rope_type", r.string("type", "default"))
	if p := r.float("partial_rotary_factor", 1); p != 1 {
		r.fail("partial_rotary_factor %g is not built for %s; built is 1", p, c.Family)
	}
	switch s.Type {
	case "default":
		r.get("factor") // transformers reads no other field in this case
		r.get("original_max_position_embeddings")
	case "linear":
		s.Factor = r.float("factor", 0)
	case "dynamic":
		s.Factor = r.float("factor", 0)
		r.get("original_max_position_embeddings") // transformers goes by max_position_embeddings
	case "llama3":
		s.Factor = r.float("factor", 0)
		s.LowFreqFactor, s.HighFreqFactor = r.float("low_freq_factor", 0), r.float("high_freq_factor", 0)
		s.OriginalMaxPos = r.int("original_max_position_embeddings", 0)
	case "yarn":
		s.OriginalMaxPos = r.int("original_max_position_embeddings", c.MaxPos)
		s.Factor = r.float("factor", float64(c.MaxPos)/float64(max(s.OriginalMaxPos, 1)))
		s.AttentionFactor = r.float("attention_factor", 0)
		s.MScale, s.MScaleAllDim = r.float("mscale", 0), r.float("mscale_all_dim", 0)
		s.BetaFast, s.BetaSlow = r.float("beta_fast", 0), r.float("beta_slow", 0)
		s.NoTruncate = !r.bool("truncate", true)
	default:
		r.fail("rope_type %q is not built; built are default, linear, dynamic, llama3 and yarn", s.Type)
	}
	for _, v := range []float64{s.Factor, s.LowFreqFactor, s.HighFreqFactor, s.AttentionFactor, s.MScale, s.MScaleAllDim, s.BetaFast, s.BetaSlow} {
		if v < 0 || math.IsInf(v, 0) {
			r.fail("a factor is %g; expected a positive number", v)
		}
	}
	return r.done(func(strictjson.Field) bool { return false }, "it would change the rotary embedding")
}

// refuseCommon refuses fields of transformers' base configuration that stand for other models than plain decoders.
func (c *Config) refuseCommon(f *fields) {
	for _, a := range read(f, "architectures", "a list of strings", []string(nil)) {
		if !strings.HasSuffix(a, "ForCausalLM") && !strings.HasSuffix(a, "LMHeadModel") && !strings.HasSuffix(a, "Model") || strings.HasSuffix(a, "DoubleHeadsModel") {
			f.fail("architectures names %q, which is no causal language model", a)
		}
	}
	for _, key := range []string{"is_encoder_decoder", "add_cross_attention", "cross_attention_hidden_size"} {
		if raw, ok := f.get(key); ok && string(raw) != "false" {
			f.fail("%s is %s: only plain decoders are built", key, clip(raw))
		}
	}
	if raw, ok := f.get("quantization_config"); ok {
		f.fail("quantization_config %s: quantised Hugging Face weights are not read; use the model's unquantised folder, or a GGUF file", clip(raw))
	}
	if raw, ok := f.get("pruned_heads"); ok {
		var pruned map[string]json.RawMessage
		if json.Unmarshal(raw, &pruned) != nil || len(pruned) > 0 {
			f.fail("pruned_heads %s: pruned models are not built", clip(raw))
		}
	}
}

// harmless reports whether a field of config.json is known to leave the forward pass as it is: bookkeeping, token ids, defaults for sampling,
// dropout and initialisation (training here uses neither), and settings of other heads.
func harmless(key string) bool {
	for _, prefix := range []string{"_", "summary_", "unsloth", "transformers", "torch_", "tokenizer"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	for _, suffix := range []string{"_token_id", "_pdrop", "_dropout", "_token_ids"} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	return harmlessFields[key]
}

var harmlessFields = func() map[string]bool {
	m := map[string]bool{}
	for _, key := range strings.Fields(`
		auto_map custom_pipelines dtype model_name name_or_path task_specific_params keys_to_ignore_at_inference finetuning_task
		attn_implementation use_flash_attn model_max_length max_sequence_length seq_length bos_token eos_token pad_token unk_token problem_type id2label label2id num_labels
		initializer_range initializer_factor dropout use_cache output_attentions output_hidden_states return_dict return_dict_in_generate output_scores torchscript
		is_decoder tie_encoder_decoder chunk_size_feed_forward pretraining_tp is_llama_config gradient_checkpointing use_bfloat16 tf_legacy_loss
		max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty
		length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences exponential_decay_length_penalty suppress_tokens
		begin_suppress_tokens remove_invalid_values prefix sep_token_id decoder_start_token_id license language datasets base_model`) {
		m[key] = true
	}
	return m
}()
