package model

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/model/safetensors"
)

const llamaConfig = `{"model_type":"llama","vocab_size":288,"hidden_size":64,"intermediate_size":160,"num_hidden_layers":3,"num_attention_heads":4,
	"num_key_value_heads":2,"max_position_embeddings":128,"rms_norm_eps":1e-5`

// The config.json of SmolLM2-135M-Instruct.
const smolLM2Config = `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu",
	"hidden_size":576,"initializer_range":0.041666666666666664,"intermediate_size":1536,"is_llama_config":true,"max_position_embeddings":8192,"mlp_bias":false,
	"model_type":"llama","num_attention_heads":9,"num_hidden_layers":30,"num_key_value_heads":3,"pad_token_id":2,"pretraining_tp":1,"rms_norm_eps":1e-05,
	"rope_interleaved":false,"rope_scaling":null,"rope_theta":100000,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
	"transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16"}},"transformers_version":"4.42.3","use_cache":true,"vocab_size":49152}`

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig([]byte(smolLM2Config))
	if err != nil {
		t.Fatal(err)
	}
	if c.HeadDim != 64 || !c.Tied || c.RopeTheta != 1e5 || c.QKVBias || len(c.EOS) != 1 || c.EOS[0] != 2 || c.MaxPos != 8192 || c.attnScale(0) != 0.125 {
		t.Errorf("%+v", c)
	}
	yarn, err := ParseConfig([]byte(llamaConfig + `,"head_dim":32,"eos_token_id":[1,2],"attention_bias":true,"rope_parameters":{"rope_type":"yarn","rope_theta":5e5,"factor":4.0,"original_max_position_embeddings":32,"beta_fast":16}}`))
	if err != nil {
		t.Fatal(err)
	}
	if yarn.HeadDim != 32 || yarn.RopeTheta != 5e5 || yarn.Rope.Factor != 4 || yarn.Rope.BetaFast != 16 || !yarn.OBias || len(yarn.EOS) != 2 {
		t.Errorf("%+v", yarn)
	}
	old, err := ParseConfig([]byte(llamaConfig + `,"rope_theta":5e5,"rope_scaling":{"type":"linear","factor":2}}`))
	if err != nil || old.Rope.Type != "linear" || old.Rope.Factor != 2 || old.RopeTheta != 5e5 {
		t.Errorf("%+v %v", old, err)
	}
	smol, err := ParseConfig([]byte(strings.Replace(llamaConfig, `"llama"`, `"smollm3"`, 1) + `,"no_rope_layer_interval":2}`))
	if err != nil || !smol.Tied || smol.rotary(1) || !smol.rotary(0) || smol.RopeTheta != 2e6 {
		t.Errorf("%+v %v", smol, err)
	}
}

func TestConfigRefused(t *testing.T) {
	gpt2 := `{"model_type":"gpt2","vocab_size":288,"n_embd":64,"n_layer":3,"n_head":4,"n_positions":128`
	qwen2 := strings.Replace(llamaConfig, `"llama"`, `"qwen2"`, 1)
	cases := []struct{ json, want string }{
		{`{"model_type":"mamba"}`, `model_type "mamba"`},
		{`[]`, "not a JSON object"},
		{`{"model_type":"llama"}`, "vocab_size is missing"},
		{llamaConfig + `,"hidden_size":64}`, "stands twice"},
		{llamaConfig + `,"logit_scale":2}`, `field "logit_scale"`},
		{llamaConfig + `,"hidden_act":"quick_gelu"}`, `activation "quick_gelu"`},
		{llamaConfig + `,"partial_rotary_factor":0.5}`, "partial_rotary_factor 0.5"},
		{llamaConfig + `,"rope_interleaved":true}`, "rope_interleaved"},
		{llamaConfig + `,"rope_scaling":{"rope_type":"longrope","factor":2}}`, `rope_type "longrope"`},
		{llamaConfig + `,"rope_scaling":{"rope_type":"dynamic"}}`, "positive factor"},
		{llamaConfig + `,"rope_scaling":{"type":"linear"}}`, "factor"},
		{llamaConfig + `,"rope_scaling":{"type":"linear","factor":2,"mrope_section":[1]}}`, `"mrope_section"`},
		{llamaConfig + `,"rope_parameters":{"rope_theta":1e4},"rope_scaling":{"type":"linear","factor":2}}`, "keep one"},
		{llamaConfig + `,"rope_theta":5e5,"rope_parameters":{"rope_theta":1e4}}`, "rope_theta is 500000"},
		{llamaConfig + `,"rope_theta":0.1}`, "rope_theta"},
		{llamaConfig + `,"head_dim":15}`, "odd"},
		{llamaConfig + `,"attention_bias":"yes"}`, "attention_bias"},
		{llamaConfig + `,"quantization_config":{"bits":4}}`, "quantization_config"},
		{llamaConfig + `,"architectures":["LlamaForSequenceClassification"]}`, "LlamaForSequenceClassification"},
		{llamaConfig + `,"is_encoder_decoder":true}`, "is_encoder_decoder"},
		{llamaConfig + `,"pruned_heads":{"0":[1]}}`, "pruned_heads"},
		{qwen2 + `,"use_sliding_window":true,"sliding_window":64,"max_window_layers":2}`, "sliding_window 64"},
		{qwen2 + `,"layer_types":["full_attention","sliding_attention","full_attention"],"sliding_window":64}`, "sliding_window 64"},
		{qwen2 + `,"layer_types":["full_attention"]}`, "layer_types has 1"},
		{qwen2 + `,"mlp_bias":true}`, `"mlp_bias"`},
		{strings.Replace(llamaConfig, `"num_hidden_layers":3`, `"num_hidden_layers":3000000`, 1) + `}`, "num_hidden_layers"},
		{strings.Replace(llamaConfig, `"num_key_value_heads":2`, `"num_key_value_heads":3`, 1) + `}`, "no multiple"},
		{strings.Replace(llamaConfig, `"vocab_size":288`, `"vocab_size":288.5`, 1) + `}`, "vocab_size"},
		{strings.Replace(llamaConfig, `"llama"`, `"smollm3"`, 1) + `,"no_rope_layers":[1,0]}`, "no_rope_layers has 2"},
		{gpt2 + `,"activation_function":"mish"}`, `"mish"`},
		{gpt2 + `,"add_cross_attention":true}`, "add_cross_attention"},
		{gpt2 + `,"n_ctx":64}`, "n_ctx"},
	}
	for _, c := range cases {
		_, err := ParseConfig([]byte(c.json))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.json, err, c.want)
		}
	}
	accepted := []string{
		qwen2 + `,"use_sliding_window":true,"sliding_window":128,"max_window_layers":2}`,
		qwen2 + `,"use_sliding_window":true,"sliding_window":64,"max_window_layers":28}`,
		gpt2 + `,"scale_attn_weights":false,"scale_attn_by_inverse_layer_idx":true,"summary_type":"cls_index","resid_pdrop":0.1}`,
		llamaConfig + `,"some_new_field":null}`,
		llamaConfig + `,"hidden_act":"gelu_pytorch_tanh"}`,
	}
	for _, s := range accepted {
		if _, err := ParseConfig([]byte(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// TestDynamicRope: dynamic scaling changes nothing up to max_position_embeddings (transformers, _compute_dynamic_ntk_parameters), and is kept for those who go beyond.
func TestDynamicRope(t *testing.T) {
	plain, err := ParseConfig([]byte(llamaConfig + "}"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig([]byte(llamaConfig + `,"rope_scaling":{"type":"dynamic","factor":2.5}}`))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := plain.rope(plain.MaxPos)
	got, err := c.rope(c.MaxPos)
	if err != nil || !slices.Equal(want.Cos, got.Cos) || !slices.Equal(want.Sin, got.Sin) {
		t.Errorf("the table differs from that without scaling: %v", err)
	}
	saved, err := c.JSON(safetensors.F32)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseConfig(saved)
	if err != nil || again.Rope.Type != "dynamic" || again.Rope.Factor != 2.5 {
		t.Errorf("saved and read: %+v %v", again, err)
	}
}

func TestAttnScale(t *testing.T) {
	c := Config{HeadDim: 16, NoAttnScale: true, ScaleByLayer: true}
	if c.attnScale(0) != 1 || c.attnScale(3) != 0.25 {
		t.Errorf("%g %g", c.attnScale(0), c.attnScale(3))
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(smolLM2Config))
	f.Add([]byte(llamaConfig + `,"rope_parameters":{"rope_type":"yarn","rope_theta":5e5,"factor":4.0,"original_max_position_embeddings":32,"mscale":0.7}}`))
	files, _ := filepath.Glob(sharedModels + "/tiny/*/config.json")
	for _, path := range files {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		c.specs()
		out, err := c.JSON(safetensors.F32)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(out)
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if second, _ := again.JSON(safetensors.F32); !bytes.Equal(out, second) {
			t.Errorf("%s became %s", out, second)
		}
	})
}
