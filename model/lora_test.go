package model

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
)

// small is a model with the parts of its family.
func small(t testing.TB, family Family, change func(*Config)) *Model {
	t.Helper()
	c := Config{Family: family, Vocab: 61, Hidden: 24, Inner: 40, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 6, MaxPos: 64, NormEps: 1e-5, RopeTheta: 1e4}
	if family == GPT2 {
		c.KVHeads, c.Tied = 4, true
	}
	if change != nil {
		change(&c)
	}
	m, err := New(c, 7)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range m.Weights() { // away from ones, zeros and tiny values
		shake(p.Tensor, uint64(i))
	}
	return m
}

func shake(p *tensor.Tensor, seed uint64) {
	key := rng.New(seed, "shake")
	for i := range p.Data {
		p.Data[i] += float32(0.3 * key.Normal(uint64(i)))
	}
}

var testTokens = [][]int32{{5, 9, 60, 0, 1, 2, 3, 44, 7, 8}, {3, 3, 3}, {11}}

// largest returns the greatest difference of the last logits and log-probs.
func largest(a, b scored) float64 {
	d := 0.0
	for i := range a.last {
		for k := range a.last[i] {
			d = max(d, math.Abs(float64(a.last[i][k])-float64(b.last[i][k])))
		}
		for k := range a.logProb[i] {
			d = max(d, math.Abs(a.logProb[i][k]-b.logProb[i][k]))
		}
	}
	return d
}

func TestLoRA(t *testing.T) {
	for _, family := range []Family{Llama, Qwen2, Qwen3, GPT2} {
		t.Run(string(family), func(t *testing.T) {
			m := small(t, family, nil)
			plain := score(m, testTokens)
			if err := m.AddLoRA(LoRASpec{Rank: 3, Alpha: 6, Seed: 1}); err != nil {
				t.Fatal(err)
			}
			if d := largest(plain, score(m, testTokens)); d != 0 {
				t.Errorf("a new adapter changes the output by %g", d)
			}
			for i, p := range m.Params() {
				if strings.Contains(p.Name, "lora_B") {
					shake(p.Tensor, uint64(i))
				}
				if !p.Decay {
					t.Errorf("%s does not decay", p.Name)
				}
			}
			with := score(m, testTokens)
			if d := largest(plain, with); d < 0.1 {
				t.Errorf("the adapter changes the output by %g only", d)
			}
			m.DisableAdapter(true)
			if d := largest(plain, score(m, testTokens)); d != 0 {
				t.Errorf("switched off, the adapter changes the output by %g", d)
			}
			m.DisableAdapter(false)
			dir := t.TempDir()
			if err := m.SaveAdapter(dir); err != nil {
				t.Fatal(err)
			}
			other := small(t, family, nil)
			if err := other.LoadAdapter(dir); err != nil {
				t.Fatal(err)
			}
			if d := largest(with, score(other, testTokens)); d != 0 {
				t.Errorf("saved and loaded, the output differs by %g", d)
			}
			if d := largest(with, score(other.Clone(), testTokens)); d != 0 {
				t.Errorf("a clone's output differs by %g", d)
			}
			other.Merge()
			if d := largest(with, score(other, testTokens)); d > 2e-5 {
				t.Errorf("merged, the output differs by %g", d)
			}
			if other.Adapter() != nil || len(other.Params()) != len(other.Weights()) {
				t.Error("merging left the adapter attached")
			}
			m.Detach()
			if d := largest(plain, score(m, testTokens)); d != 0 {
				t.Errorf("detached, the output differs by %g", d)
			}
		})
	}
}

func TestLoRAInit(t *testing.T) {
	a, b := small(t, Llama, nil), small(t, Llama, nil)
	if err := a.AddLoRA(LoRASpec{Rank: 4, Alpha: 8, Seed: 3, Targets: []string{"q_proj", "mlp.up_proj"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.AddLoRA(LoRASpec{Rank: 4, Alpha: 8, Seed: 3, RSLoRA: true}); err != nil {
		t.Fatal(err)
	}
	if len(a.Params()) != 3*2*2 || len(b.Params()) != 3*7*2 {
		t.Errorf("%d and %d tensors", len(a.Params()), len(b.Params()))
	}
	if s := a.blocks[0].q.lora.scale; s != 2 {
		t.Errorf("scale %g", s)
	}
	if s := b.blocks[0].q.lora.scale; s != 4 {
		t.Errorf("rsLoRA scale %g", s)
	}
	qa, qb := a.blocks[2].q.lora.a, b.blocks[2].q.lora.a
	if !slices.Equal(qa.Data, qb.Data) {
		t.Error("A depends on which other projections are adapted")
	}
	bound := float32(1 / math.Sqrt(24))
	if lo, hi := slices.Min(qa.Data), slices.Max(qa.Data); lo < -bound || hi > bound || hi < bound/2 || lo > -bound/2 {
		t.Errorf("A spans %g to %g, want +-%g", lo, hi, bound)
	}
	if slices.ContainsFunc(a.blocks[2].q.lora.b.Data, func(x float32) bool { return x != 0 }) {
		t.Error("B is not zero")
	}
	for _, s := range []LoRASpec{{Rank: 4, Alpha: 8, Targets: []string{"w_proj"}}, {Rank: 4, Alpha: 8, Targets: []string{"lm_head"}}, {Rank: 0, Alpha: 1}, {Rank: 1}} {
		if err := small(t, Llama, nil).AddLoRA(s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

// TestTrainable checks what gets gradients: only the adapter, views of fused projections included.
func TestTrainable(t *testing.T) {
	for _, family := range []Family{Qwen2, GPT2} {
		m := small(t, family, nil)
		grads := func() (n int) {
			for _, p := range append(slices.Clone(m.Weights()), m.Params()...) {
				if p.Grad != nil && slices.ContainsFunc(p.Grad, func(x float32) bool { return x != 0 }) {
					n++
				}
			}
			return n
		}
		backward := func() {
			tape := tensor.NewTape()
			hidden := m.Forward(tape, &Input{Tokens: testTokens[0], Docs: []tensor.Doc{{From: 0, To: 10}}, Recompute: true})
			for i := range tape.GradOf(hidden) {
				tape.GradOf(hidden)[i] = float32(i%7) - 2
			}
			tape.Backward()
		}
		if err := m.Train(); err != nil {
			t.Fatal(err)
		}
		backward()
		want := len(m.Weights()) * 2 // the list has each twice
		if !m.Config.Tied {
			want -= 2 // the head takes no part
		}
		if got := grads(); got != want {
			t.Errorf("%s: %d of %d weights have gradients", family, got, want)
		}
		if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 2}); err != nil {
			t.Fatal(err)
		}
		for i, p := range m.Params() {
			shake(p.Tensor, uint64(i))
		}
		if err := m.Train(); err != nil {
			t.Fatal(err)
		}
		backward()
		if got := grads(); got != len(m.Params()) {
			t.Errorf("%s: %d gradients, want those of the adapter's %d tensors", family, got, len(m.Params()))
		}
		m.adapter.config.dropout = 0.1
		if err := m.Train(); err == nil {
			t.Error("dropout was accepted in training")
		}
	}
}

const adapterJSON = `{"peft_type":"LORA","task_type":"CAUSAL_LM","r":4,"lora_alpha":8,"target_modules":["q_proj","v_proj"]`

func TestAdapterConfig(t *testing.T) {
	parse := func(s string) adapterConfig {
		c, err := parseAdapterConfig([]byte(adapterJSON + s + "}"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	q := func(i string) string { return "model.layers." + i + ".self_attn.q_proj" }
	c := parse(`,"rank_pattern":{"layers.1.self_attn.q_proj":2,"q_proj":16},"alpha_pattern":{".*v_proj":3},"use_rslora":true`)
	if c.rankOf(q("1")) != 2 || c.rankOf(q("11")) != 16 || c.rankOf("model.layers.1.self_attn.v_proj") != 4 || c.scaleOf("model.layers.1.self_attn.v_proj") != 1.5 || c.scaleOf(q("0")) != 2 {
		t.Errorf("rank and alpha patterns: %d %d %g", c.rankOf(q("1")), c.rankOf(q("11")), c.scaleOf(q("0")))
	}
	c = parse(`,"layers_to_transform":[1],"exclude_modules":["v_proj"]`)
	if c.adapts(q("0")) || !c.adapts(q("1")) || c.adapts(q("11")) || c.adapts("model.layers.1.self_attn.v_proj") || c.adapts("model.layers.1.self_attn.xq_proj") {
		t.Error("layers_to_transform or exclude_modules")
	}
	c = parse(`,"layers_to_transform":1,"layers_pattern":"layers"`)
	if c.adapts(q("0")) || !c.adapts(q("1")) {
		t.Error("layers_pattern")
	}
	c, err := parseAdapterConfig([]byte(`{"r":2,"target_modules":".*[02]\\.self_attn\\.q_proj"}`))
	if err != nil || !c.adapts(q("2")) || c.adapts(q("1")) || c.adapts(q("2")+"x") || c.scaleOf(q("2")) != 4 {
		t.Errorf("regular expression: %v", err)
	}
	c, err = parseAdapterConfig([]byte(`{"r":2,"target_modules":"all-linear","modules_to_save":["self_attn"]}`))
	if err != nil || c.adapts(q("2")) || !c.adapts("model.layers.1.mlp.up_proj") {
		t.Errorf("all-linear: %v", err)
	}
	for _, x := range []struct{ json, want string }{
		{adapterJSON + `,"use_dora":true}`, "use_dora"},
		{adapterJSON + `,"lora_bias":true}`, "lora_bias"},
		{adapterJSON + `,"init_lora_weights":"pissa"}`, "pissa"},
		{adapterJSON + `,"bias":"some"}`, `bias "some"`},
		{adapterJSON + `,"layer_replication":[[0,2]]}`, "layer_replication"},
		{adapterJSON + `,"trainable_token_indices":[1]}`, "trainable_token_indices"},
		{adapterJSON + `,"target_parameters":["w"]}`, "target_parameters"},
		{adapterJSON + `,"new_variant":{"a":1}}`, `"new_variant"`},
		{adapterJSON + `,"rank_pattern":{"q_proj":-1}}`, "rank_pattern"},
		{adapterJSON + `,"rank_pattern":{"(":1}}`, "rank_pattern"},
		{`{"r":2,"target_modules":"(?!x)q_proj"}`, "write the names as a list"},
		{`{"r":2}`, "target_modules is missing"},
		{`{"peft_type":"IA3"}`, "IA3"},
		{`{"r":0,"target_modules":["q_proj"]}`, "r is 0"},
		{adapterJSON + `,"task_type2":1,"r":4}`, "twice"},
	} {
		if _, err := parseAdapterConfig([]byte(x.json)); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error %v, want %q", x.json, err, x.want)
		}
	}
}

// writeAdapter saves m's adapter and replaces its configuration and tensors by changed ones.
func writeAdapter(t *testing.T, m *Model, config string, change func(list []safetensors.Out) []safetensors.Out) string {
	t.Helper()
	dir := t.TempDir()
	if err := m.SaveAdapter(dir); err != nil {
		t.Fatal(err)
	}
	var out []safetensors.Out
	for i, p := range m.adapter.params {
		e := &m.adapter.stored[i]
		out = append(out, safetensors.Out{Name: e.hf, Dtype: safetensors.F32, Shape: e.shape(false), Fill: func(d []float32) { e.toFile(d, p.Data) }})
	}
	if err := safetensors.Write(filepath.Join(dir, "adapter_model.safetensors"), change(out), nil); err != nil {
		t.Fatal(err)
	}
	if config != "" {
		if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestAdapterExtras checks trained biases and whole replaced modules, on fused projections, norms and tied heads, too.
func TestAdapterExtras(t *testing.T) {
	constant := func(name string, shape ...int) safetensors.Out {
		return safetensors.Out{Name: "base_model.model." + name, Dtype: safetensors.F32, Shape: shape, Fill: func(d []float32) {
			for i := range d {
				d[i] = float32(i%7)/10 - 0.3
			}
		}}
	}
	cases := []struct {
		name   string
		family Family
		config string
		extra  []safetensors.Out
	}{
		{"bias of q", Qwen2, `{"r":2,"target_modules":["q_proj"],"bias":"lora_only"}`, []safetensors.Out{
			constant("model.layers.0.self_attn.q_proj.base_layer.bias", 24), constant("model.layers.1.self_attn.q_proj.bias", 24), constant("model.layers.2.self_attn.q_proj.bias", 24)}},
		{"tied head", Qwen2, `{"r":2,"target_modules":["q_proj"],"modules_to_save":["lm_head"]}`, []safetensors.Out{constant("lm_head.weight", 61, 24)}},
		{"tied embedding", Qwen2, `{"r":2,"target_modules":["q_proj"],"modules_to_save":["embed_tokens"]}`, []safetensors.Out{constant("model.embed_tokens.weight", 61, 24)}},
		{"last norm", Qwen2, `{"r":2,"target_modules":["q_proj"],"modules_to_save":["model.norm"]}`, []safetensors.Out{constant("model.norm.weight", 24)}},
		{"fused projection", GPT2, `{"r":2,"target_modules":["c_fc"],"modules_to_save":["0.attn.c_attn"],"fan_in_fan_out":true}`, []safetensors.Out{
			constant("transformer.h.0.attn.c_attn.weight", 24, 72), constant("transformer.h.0.attn.c_attn.bias", 72)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fresh := func() *Model { return small(t, c.family, func(c *Config) { c.Tied = true }) }
			m := fresh()
			target := "q_proj"
			if c.family == GPT2 {
				target = "c_fc"
			}
			if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 8, Targets: []string{target}}); err != nil {
				t.Fatal(err)
			}
			dir := writeAdapter(t, m, c.config, func(list []safetensors.Out) []safetensors.Out { return append(list, c.extra...) })
			checkExtras(t, fresh, dir)
		})
	}
}

// checkExtras loads the adapter in dir into fresh models, switches it off, clones, saves and merges it.
func checkExtras(t *testing.T, fresh func() *Model, dir string) {
	m := fresh()
	plain := score(m, testTokens)
	if err := m.LoadAdapter(dir); err != nil {
		t.Fatal(err)
	}
	with := score(m, testTokens)
	if d := largest(plain, with); d < 1e-3 {
		t.Errorf("the replaced tensors change nothing (%g)", d)
	}
	m.DisableAdapter(true)
	if d := largest(plain, score(m, testTokens)); d != 0 {
		t.Errorf("switched off, the output differs by %g", d)
	}
	m.DisableAdapter(false)
	if d := largest(with, score(m.Clone(), testTokens)); d != 0 {
		t.Errorf("a clone's output differs by %g", d)
	}
	again := t.TempDir()
	if err := m.SaveAdapter(again); err != nil {
		t.Fatal(err)
	}
	other := fresh()
	if err := other.LoadAdapter(again); err != nil {
		t.Fatal(err)
	}
	if d := largest(with, score(other, testTokens)); d != 0 {
		t.Errorf("saved and loaded, the output differs by %g", d)
	}
	m.Merge()
	if d := largest(with, score(m, testTokens)); d > 2e-5 {
		t.Errorf("merged, the output differs by %g", d)
	}
	folder := t.TempDir()
	if err := m.SaveHF(folder, safetensors.F32); err != nil {
		t.Fatal(err)
	}
	back, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if d := largest(score(m, testTokens), score(back, testTokens)); d != 0 {
		t.Errorf("merged, saved and loaded, the output differs by %g", d)
	}
}

// TestAdapterBiasNames: peft wraps a projection that has an update, and finds its bias again only under the wrapped layer's name.
func TestAdapterBiasNames(t *testing.T) {
	m := small(t, Qwen2, nil)
	if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 8, Targets: []string{"q_proj"}}); err != nil {
		t.Fatal(err)
	}
	const wrapped, plain = "base_model.model.model.layers.1.self_attn.q_proj.base_layer.bias", "base_model.model.model.layers.1.self_attn.v_proj.bias"
	dir := writeAdapter(t, m, `{"r":2,"target_modules":["q_proj"],"bias":"all"}`, func(list []safetensors.Out) []safetensors.Out {
		for i := range 3 {
			for _, name := range []string{"q_proj.bias", "k_proj.bias", "v_proj.bias"} { // as the first versions of peft wrote them
				n := map[byte]int{'q': 24, 'k': 12, 'v': 12}[name[0]]
				list = append(list, safetensors.Out{Name: fmt.Sprintf("base_model.model.model.layers.%d.self_attn.%s", i, name), Dtype: safetensors.F32, Shape: []int{n}, Fill: func(d []float32) { d[0] = 1 }})
			}
		}
		return list
	})
	again := small(t, Qwen2, nil)
	if err := again.LoadAdapter(dir); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range again.Params() {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, wrapped) || !slices.Contains(names, plain) {
		t.Errorf("the trained tensors are %v", names)
	}
	out := t.TempDir()
	if err := again.SaveAdapter(out); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(filepath.Join(out, "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range []string{wrapped, plain} {
		if _, ok := f.Tensor(name); !ok {
			t.Errorf("%s is not in the file", name)
		}
	}
}

func TestAdapterRefused(t *testing.T) {
	m := small(t, Llama, nil)
	if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 8, Targets: []string{"q_proj"}}); err != nil {
		t.Fatal(err)
	}
	same := func(list []safetensors.Out) []safetensors.Out { return list }
	pickled := t.TempDir()
	os.WriteFile(filepath.Join(pickled, "adapter_config.json"), []byte(adapterJSON+"}"), 0o644)
	os.WriteFile(filepath.Join(pickled, "adapter_model.bin"), []byte("PK"), 0o644)
	for _, c := range []struct{ dir, want string }{
		{writeAdapter(t, m, "", func(l []safetensors.Out) []safetensors.Out { return l[1:] }), "is missing"},
		{writeAdapter(t, m, "", func(l []safetensors.Out) []safetensors.Out {
			return append(l, safetensors.Out{Name: "base_model.model.x", Dtype: safetensors.F32, Shape: []int{1}, Fill: func([]float32) {}})
		}), "has no place"},
		{writeAdapter(t, m, `{"r":3,"target_modules":["q_proj"]}`, same), "[3 24]"},
		{writeAdapter(t, m, `{"r":1000000,"target_modules":["q_proj"]}`, same), "another model or rank"},
		{writeAdapter(t, m, `{"r":2,"target_modules":["w"]}`, same), "fits no projection"},
		{writeAdapter(t, m, `{"r":2,"target_modules":["q_proj","embed_tokens"]}`, same), "embed_tokens"},
		{writeAdapter(t, m, `{"r":2,"target_modules":["q_proj","lm_head"]}`, same), "lm_head"},
		{writeAdapter(t, m, `{"r":2,"target_modules":["q_proj"],"modules_to_save":["lm_head"]}`, same), "is missing"},
		{pickled, "adapter_model.bin"},
		{t.TempDir(), "no adapter_config.json"},
	} {
		base := small(t, Llama, nil)
		err := base.LoadAdapter(c.dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.dir) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		if base.Adapter() != nil {
			t.Error("a refused adapter was attached")
		}
	}
}

func FuzzAdapterConfig(f *testing.F) {
	f.Add([]byte(adapterJSON + `,"rank_pattern":{"q_proj":2},"layers_to_transform":[1],"modules_to_save":["lm_head"],"bias":"all"}`))
	f.Add([]byte(`{"r":2,"target_modules":"all-linear","exclude_modules":".*up_proj"}`))
	files, _ := filepath.Glob(sharedModels + "/peft/*/adapter_config.json")
	for _, path := range files {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseAdapterConfig(data)
		if err != nil {
			return
		}
		out, err := c.json(false)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseAdapterConfig(out)
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		for _, module := range []string{"model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head", "model.norm"} {
			if c.adapts(module) != again.adapts(module) || c.saves(module) != again.saves(module) || c.scaleOf(module) != again.scaleOf(module) {
				t.Errorf("%s means another thing than %s for %s", out, data, module)
			}
		}
	})
}
