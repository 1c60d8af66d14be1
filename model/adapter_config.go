package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/model/internal/strictjson"
)

// adapterConfig is an adapter_config.json of peft's LoRA. Matching follows peft (tuners/lora, tuners/tuners_utils.py).
type adapterConfig struct {
	rank    int
	alpha   float64
	rslora  bool
	dropout float64
	bias    string // "none", "all", "lora_only": which biases were trained with it
	base    string

	targets, exclude       matcher
	layers                 []int // layers_to_transform; nil: all
	layersPattern          []string
	layerRE                []*regexp.Regexp
	rankPattern, alphaPatt []pattern
	modulesToSave          []string

	kept []strictjson.Field // fields above in their own spelling, for SaveAdapter
}

// matcher is a list of module names, a regular expression for whole names, or "all-linear".
type matcher struct {
	list []string
	re   *regexp.Regexp
	all  bool
}

// pattern gives a value to the modules whose names end in key.
type pattern struct {
	re    *regexp.Regexp
	value float64
}

func nameMatches(module, want string) bool {
	return module == want || strings.HasSuffix(module, "."+want)
}

func (m *matcher) match(module string) bool {
	if m.re != nil {
		return m.re.MatchString(module)
	}
	return slices.ContainsFunc(m.list, func(want string) bool { return nameMatches(module, want) })
}

func (m *matcher) describe() string {
	switch {
	case m.all:
		return `"all-linear"`
	case m.re != nil:
		return strconv.Quote(m.re.String())
	}
	return strings.Join(m.list, ", ")
}

// parseAdapterConfig reads an adapter_config.json. Every field is honoured or refused by name; unknown fields pass only when they are off (null, false or empty).
func parseAdapterConfig(data []byte) (adapterConfig, error) {
	var c adapterConfig
	f, err := parseFields(data)
	if err != nil {
		return c, err
	}
	if t := f.string("peft_type", "LORA"); t != "LORA" {
		return c, fmt.Errorf("peft_type %q is not built; built is LORA", t)
	}
	if t := f.string("task_type", "CAUSAL_LM"); t != "CAUSAL_LM" {
		f.fail("task_type %q is not built; built is CAUSAL_LM", t)
	}
	c.rank, c.alpha = f.need("r"), f.float("lora_alpha", 8)
	c.rslora, c.dropout, c.bias = f.bool("use_rslora", false), f.float("lora_dropout", 0), f.string("bias", "none")
	c.base = f.string("base_model_name_or_path", "")
	f.bool("fan_in_fan_out", false) // says how the BASE weight lies; peft corrects a wrong value, and A and B lie the same way in both cases
	if !slices.Contains([]string{"none", "all", "lora_only"}, c.bias) {
		f.fail("bias %q is not built; built are none, all and lora_only", c.bias)
	}
	if c.rank < 1 || c.rank > maxWidth || !(c.alpha > 0) || math.IsInf(c.alpha, 0) {
		f.fail("r is %d and lora_alpha %g: both must be positive", c.rank, c.alpha)
	}
	c.targets, c.exclude = f.matcher("target_modules"), f.matcher("exclude_modules")
	if c.targets.re == nil && !c.targets.all && len(c.targets.list) == 0 {
		f.fail("target_modules is missing")
	}
	if c.exclude.all {
		f.fail("exclude_modules all-linear leaves nothing")
	}
	c.readLayers(f)
	c.rankPattern, c.alphaPatt = f.patterns("rank_pattern"), f.patterns("alpha_pattern")
	c.modulesToSave = read(f, "modules_to_save", "a list of strings", []string(nil))
	c.keep(f)
	refuseVariants(f)
	return c, f.done(isOff, "it belongs to a variant of LoRA that is not built: merge the adapter in Python with merge_and_unload")
}

// keptFields are those that SaveAdapter writes again as they were read.
var keptFields = []string{"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out"}

func (c *adapterConfig) keep(f *fields) {
	for _, key := range keptFields {
		if raw, ok := f.get(key); ok {
			c.kept = append(c.kept, strictjson.Field{Key: key, Raw: raw})
		}
	}
}

func (c *adapterConfig) readLayers(f *fields) {
	if raw, ok := f.get("layers_to_transform"); ok {
		var one int
		if json.Unmarshal(raw, &one) == nil {
			c.layers = []int{one}
		} else {
			c.layers = read(f, "layers_to_transform", "a layer number or a list of them", []int(nil))
		}
	}
	if raw, ok := f.get("layers_pattern"); ok {
		var one string
		if json.Unmarshal(raw, &one) == nil {
			c.layersPattern = []string{one}
		} else {
			c.layersPattern = read(f, "layers_pattern", "a string or a list of them", []string(nil))
		}
	}
	if len(c.layersPattern) == 0 {
		c.layersPattern = []string{"[^.]*"}
	}
	for _, p := range c.layersPattern {
		re, err := regexp.Compile(`^.*\.` + p + `\.(\d+)\.`)
		if err != nil {
			f.fail("layers_pattern %q: %v", p, err)
			return
		}
		c.layerRE = append(c.layerRE, re)
	}
	if (c.layers != nil) && (c.targets.re != nil || c.targets.all) {
		f.fail("layers_to_transform needs target_modules as a list of names")
	}
}

// matcher reads a list of names or one string.
func (f *fields) matcher(key string) (m matcher) {
	raw, ok := f.get(key)
	if !ok {
		return m
	}
	var one string
	if json.Unmarshal(raw, &one) != nil {
		m.list = read(f, key, "a list of names, a regular expression or all-linear", []string(nil))
		return m
	}
	if strings.ToLower(one) == "all-linear" {
		m.all = true
		return m
	}
	re, err := regexp.Compile(`^(?:` + one + `)$`)
	if err != nil {
		f.fail("%s: regular expression %q is not understood (%v); write the names as a list", key, one, err)
	}
	m.re = re
	return m
}

// patterns reads {"regular expression": number}, in file order: the first that fits counts.
func (f *fields) patterns(key string) (list []pattern) {
	o := f.object(key)
	if o == nil {
		return nil
	}
	for _, x := range o.list {
		re, err := regexp.Compile(`^(?:.*\.)?(?:` + x.Key + `)$`)
		if err != nil {
			f.fail("%s: regular expression %q is not understood: %v", key, x.Key, err)
			return nil
		}
		v := o.float(x.Key, 0)
		if o.err != nil || !(v > 0) || v > maxWidth {
			f.fail("%s: %q is %s; expected a positive number", key, x.Key, clip(x.Raw))
			return nil
		}
		list = append(list, pattern{re, v})
	}
	return list
}

// refuseVariants names the features that would change the arithmetic, and takes note of fields that do not.
func refuseVariants(f *fields) {
	for _, key := range strings.Fields("use_dora use_qalora lora_bias alora_invocation_tokens layer_replication target_parameters trainable_token_indices ensure_weight_tying megatron_config use_bdlora") {
		if raw, ok := f.get(key); ok && !off(raw) {
			f.fail("%s %s is not built; merge the adapter in Python with merge_and_unload", key, clip(raw))
		}
	}
	if raw, ok := f.get("init_lora_weights"); ok {
		// pissa, olora, loftq, corda and others change the base weights when they begin; those listed leave them alone
		if !slices.Contains([]string{"true", "false", `"gaussian"`, `"eva"`, `"orthogonal"`}, string(raw)) {
			f.fail("init_lora_weights %s goes with changed base weights, which are not in the adapter; convert it in Python with path_initial_model_for_weight_conversion", clip(raw))
		}
	}
	for _, key := range strings.Fields("auto_mapping inference_mode revision peft_version megatron_core qalora_group_size eva_config runtime_config loftq_config") {
		f.get(key)
	}
}

func isOff(x strictjson.Field) bool { return off(x.Raw) }

func off(raw json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(raw)), "") {
	case "null", "false", "{}", "[]", `""`:
		return true
	}
	return false
}

// adapts reports whether a projection gets an update.
func (c *adapterConfig) adapts(module string) bool {
	switch {
	case c.exclude.match(module), c.saves(module):
		return false
	case c.targets.all:
		return true
	case !c.targets.match(module):
		return false
	case len(c.layers) == 0 || c.targets.re != nil || slices.Contains(c.targets.list, module):
		return true
	}
	for _, re := range c.layerRE {
		if hit := re.FindStringSubmatch(module); hit != nil {
			n, err := strconv.Atoi(hit[1])
			return err == nil && slices.Contains(c.layers, n)
		}
	}
	return false
}

// saves reports whether the module, or one around it, is replaced as a whole.
func (c *adapterConfig) saves(module string) bool {
	for _, want := range c.modulesToSave {
		for name := module; ; {
			if strings.HasSuffix(name, want) {
				return true
			}
			dot := strings.LastIndexByte(name, '.')
			if dot < 0 {
				break
			}
			name = name[:dot]
		}
	}
	return false
}

// replaces reports whether the adapter's file holds the tensor itself.
func (c *adapterConfig) replaces(s *spec) bool {
	if c.saves(s.module()) {
		return true
	}
	if !strings.HasSuffix(s.hf, ".bias") {
		return false
	}
	return c.bias == "all" || c.bias == "lora_only" && s.proj != nil && c.adapts(s.module())
}

// biasName returns the name under which peft stores a replaced tensor: the bias of a projection with an update lies in the layer that it wraps.
func (c *adapterConfig) biasName(s *spec) string {
	if module, isBias := strings.CutSuffix(s.hf, ".bias"); isBias && s.proj != nil && c.adapts(module) {
		return module + ".base_layer.bias"
	}
	return s.hf
}

// refuseTarget refuses updates of the embedding, of positions and of the head.
func (c *adapterConfig) refuseTarget(s *spec) error {
	for _, module := range []string{s.module(), "lm_head"} {
		if (s.layout == rows || module == "lm_head") && !c.targets.all && c.targets.match(module) && !c.exclude.match(module) {
			return fmt.Errorf("target_modules names %s: low-rank updates of embedding and head are not built; name it in modules_to_save, or merge the adapter in Python", module)
		}
	}
	return nil
}

func (c *adapterConfig) rankOf(module string) int {
	return int(valueOf(c.rankPattern, module, float64(c.rank)))
}

func (c *adapterConfig) scaleOf(module string) float32 {
	alpha, r := valueOf(c.alphaPatt, module, c.alpha), float64(c.rankOf(module))
	if c.rslora {
		return float32(alpha / math.Sqrt(r))
	}
	return float32(alpha / r)
}

func valueOf(list []pattern, module string, otherwise float64) float64 {
	for _, p := range list {
		if p.re.MatchString(module) {
			return p.value
		}
	}
	return otherwise
}

// json returns the configuration as peft reads it.
func (c *adapterConfig) json(gpt2 bool) ([]byte, error) {
	v := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": c.base, "inference_mode": true, "init_lora_weights": true,
		"r": c.rank, "lora_alpha": c.alpha, "use_rslora": c.rslora, "lora_dropout": c.dropout, "bias": c.bias, "fan_in_fan_out": gpt2,
		"modules_to_save": nil, "rank_pattern": map[string]any{}, "alpha_pattern": map[string]any{},
	}
	switch {
	case c.targets.all:
		v["target_modules"] = "all-linear"
	case c.targets.list != nil:
		v["target_modules"] = c.targets.list
	}
	for _, x := range c.kept {
		v[x.Key] = x.Raw
	}
	if v["target_modules"] == nil {
		return nil, errors.New("the adapter has no target_modules")
	}
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}
