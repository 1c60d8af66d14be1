package train

import (
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/eval"
	"github.com/hone-lm/hone/internal/config"
)

// Common are the settings that every recipe shares.
type Common struct {
	Model        string           `yaml:"model" help:"nano, new (random weights; new?layers=3&hidden=96), a Hugging Face folder, a .gguf file, or runs/ID[@step or @node@step]"`
	Adapter      string           `yaml:"adapter" help:"PEFT adapter folder to start from"`
	Quantised    bool             `yaml:"keep_quantised" help:"keep the Q8_0, Q4_0 and Q4_1 weights of a .gguf file as they are: less memory, the same numbers; they cannot be trained, an adapter can"`
	Seed         uint64           `yaml:"seed" help:"every random number is a function of it"`
	Context      int              `yaml:"context" help:"longest sequence in tokens; 0 = the model's"`
	MicroTokens  int              `yaml:"micro_tokens" help:"tokens forwarded and differentiated together"`
	Precision    string           `yaml:"precision" help:"f32, or bf16: products of linear layers and the head round their operands (needs AVX512_BF16, else f32)"`
	Recompute    bool             `yaml:"recompute" help:"save memory: compute activations again in the backward pass"`
	SharePrompts bool             `yaml:"share_prompts" help:"compute a prompt once for all sequences of a micro-batch that begin with it: faster; gradients change by rounding"`
	Slots        int              `yaml:"slots" help:"sequences sampled together"`
	CacheTokens  int              `yaml:"cache_tokens" help:"positions whose keys and values sampling keeps; 0 = as many as 1 GiB holds"`
	LoRA         LoRA             `yaml:"lora"`
	System       string           `yaml:"system" help:"system turn put before every question"`
	Suffix       string           `yaml:"suffix" help:"text put after every question"`
	Eval         EvalConfig       `yaml:"eval"`
	Checkpoint   CheckpointConfig `yaml:"checkpoint"`
	Name         string           `yaml:"name" help:"the run folder's name; empty = the recipe's"`
	Runs         string           `yaml:"runs" help:"folder that holds run folders"`
	Cache        string           `yaml:"cache" help:"folder of finished stages, shared by runs that have them in common; empty = none"`
}

// LoRA are the settings of a new adapter; rank 0 trains all weights.
type LoRA struct {
	Rank    int      `yaml:"rank" help:"0 = full fine-tuning"`
	Alpha   float64  `yaml:"alpha"`
	RSLoRA  bool     `yaml:"rslora"`
	Targets []string `yaml:"targets" help:"projections such as q_proj; empty = all"`
}

// EvalConfig says how stages are measured.
type EvalConfig struct {
	Task              string   `yaml:"task" help:"tasks, separated by commas, such as countdown?level=3; empty = the training task"`
	Split             string   `yaml:"split" help:"test, valid (for tuning), or all: every problem of a task that reads a file which training never reads"`
	Problems          int      `yaml:"problems" help:"held-out problems of each task"`
	Every             int      `yaml:"every" help:"steps between evaluations inside a stage; 0 = only at its end"`
	Texts             int      `yaml:"texts" help:"answers kept as samples"`
	PassAt            int      `yaml:"pass_at" help:"samples a problem for pass@k at the end of stages; 0 = off"`
	PassProblems      int      `yaml:"pass_problems" help:"problems of each suite that pass@k looks at; 0 = all"`
	MaxTokens         int      `yaml:"max_tokens" help:"longest answer"`
	Budgets           []int    `yaml:"budgets" help:"numbers of tokens, such as [32, 64]: accuracy if answers are cut there, from the same samples"`
	Searches          []string `yaml:"searches" help:"[vote:8, plan_cluster:8/3]: answers picked from many samples, at the ends of trained stages; vote, plan_vote, plan_cluster, plan_judge, plan_random"`
	SearchTemperature float64  `yaml:"search_temperature" help:"of the samples that searches pick from"`
	SearchProblems    int      `yaml:"search_problems" help:"problems of each suite that searches look at; 0 = all"`
	Terms             string   `yaml:"terms" help:"parts of the check's result whose means over answers are reported, separated by commas, such as values of tool_calls; an answer without one has 0"`
	Contamination     string   `yaml:"contamination" help:"training rows that repeat evaluation text: drop (and say how many), error or ignore"`
	Seed              uint64   `yaml:"seed" help:"of the held-out problems; the same for all seeds of a run"`
}

// CheckpointConfig says when states are written and which checkpoints stay.
type CheckpointConfig struct {
	Every    int    `yaml:"every" help:"steps between states; 0 = only at the ends of stages"`
	KeepLast int    `yaml:"keep_last" help:"checkpoints of each stage kept; 0 = all"`
	KeepBest int    `yaml:"keep_best" help:"and so many with the best metric at the same step"`
	Metric   string `yaml:"metric" help:"what best means: a column of metrics.jsonl; with several tasks the first one's, or TASK/accuracy"`
}

// Optim are AdamW's settings for one stage.
type Optim struct {
	LR          float64 `yaml:"lr"`
	MinLR       float64 `yaml:"min_lr"`
	Schedule    string  `yaml:"schedule" help:"constant, linear, cosine or wsd"`
	Warmup      int     `yaml:"warmup" help:"updates of linear warm-up"`
	Decay       int     `yaml:"decay" help:"wsd: updates that fall"`
	Beta1       float64 `yaml:"beta1"`
	Beta2       float64 `yaml:"beta2"`
	Eps         float64 `yaml:"eps"`
	WeightDecay float64 `yaml:"weight_decay"`
	Clip        float64 `yaml:"clip" help:"largest global gradient norm; 0 = off"`
	ValueLR     float64 `yaml:"value_lr" help:"learning rate of the value head as a multiple of lr; 0 = 1"`
}

// DefaultCommon are the settings of a run on the nano model.
func DefaultCommon() Common {
	return Common{
		Model: "nano", Seed: 1, MicroTokens: 4096, Precision: "f32", Slots: 64, Runs: "runs",
		LoRA:       LoRA{Alpha: 32},
		Eval:       EvalConfig{Split: "test", Problems: 500, Texts: 3, MaxTokens: 64, SearchTemperature: 1, Seed: 1000, Contamination: "drop"},
		Checkpoint: CheckpointConfig{Every: 100, KeepLast: 3, KeepBest: 1, Metric: "accuracy"},
	}
}

// DefaultOptim is AdamW with a constant learning rate.
func DefaultOptim(lr float64) Optim {
	return Optim{LR: lr, Schedule: "constant", Warmup: 10, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clip: 1}
}

// At returns the settings of the update with this learning rate.
func (o Optim) At(lr float64) engine.Optim {
	e := engine.Optim{LR: lr, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, Clip: o.Clip}
	if o.ValueLR > 0 {
		e.Groups = map[string]float64{engine.GroupValueHead: o.ValueLR}
	}
	return e
}

// Validate implements config's range check.
func (o *Optim) Validate() error {
	switch {
	case !(o.LR >= 0):
		return &config.FieldError{Field: "lr", Msg: fmt.Sprintf("%g: want a number of at least 0", o.LR)}
	case !(o.Beta1 >= 0 && o.Beta1 < 1):
		return &config.FieldError{Field: "beta1", Msg: fmt.Sprintf("%g: want a number in [0, 1)", o.Beta1)}
	case !(o.Beta2 >= 0 && o.Beta2 < 1):
		return &config.FieldError{Field: "beta2", Msg: fmt.Sprintf("%g: want a number in [0, 1)", o.Beta2)}
	case !(o.Eps > 0):
		return &config.FieldError{Field: "eps", Msg: fmt.Sprintf("%g: want a positive number", o.Eps)}
	case o.ValueLR < 0:
		return &config.FieldError{Field: "value_lr", Msg: fmt.Sprintf("%g: want 0 (as the rest) or a positive factor", o.ValueLR)}
	case o.Clip < 0:
		return &config.FieldError{Field: "clip", Msg: fmt.Sprintf("%g: want 0 (off) or a positive number", o.Clip)}
	}
	return nil
}

// Validate implements config's range check.
func (c *Common) Validate() error {
	switch {
	case c.Context < 0:
		return &config.FieldError{Field: "context", Msg: "want 0 (the model's) or a positive number of tokens"}
	case c.MicroTokens < 1 || c.MicroTokens > 1<<24:
		return &config.FieldError{Field: "micro_tokens", Msg: "want at least one token and at most 16777216"}
	case c.CacheTokens < 0:
		return &config.FieldError{Field: "cache_tokens", Msg: "want 0 (as many as 1 GiB holds) or a positive number of tokens"}
	case !slices.Contains([]string{"f32", "bf16"}, c.Precision):
		return &config.FieldError{Field: "precision", Msg: fmt.Sprintf("%q: want f32 or bf16", c.Precision)}
	case c.LoRA.Rank < 0:
		return &config.FieldError{Field: "lora.rank", Msg: "want 0 (full fine-tuning) or a positive rank"}
	case !slices.Contains([]string{"drop", "error", "ignore"}, c.Eval.Contamination):
		return &config.FieldError{Field: "eval.contamination", Msg: fmt.Sprintf("%q: want drop, error or ignore", c.Eval.Contamination)}
	case !slices.Contains([]string{"test", "valid", "all"}, c.Eval.Split):
		return &config.FieldError{Field: "eval.split", Msg: fmt.Sprintf("%q: want test, valid or all", c.Eval.Split)}
	case c.Eval.Problems < 0:
		return &config.FieldError{Field: "eval.problems", Msg: "want 0 (no evaluation) or a positive count"}
	}
	if !(c.Eval.SearchTemperature > 0) {
		return &config.FieldError{Field: "eval.search_temperature", Msg: fmt.Sprintf("%g: want a positive number", c.Eval.SearchTemperature)}
	}
	if _, err := eval.ParseSearches(c.Eval.Searches, 1); err != nil {
		return &config.FieldError{Field: "eval.searches", Msg: err.Error()}
	}
	if err := eval.CheckBudgets(c.Eval.Budgets, c.Eval.MaxTokens); err != nil {
		return &config.FieldError{Field: "eval.budgets", Msg: err.Error()}
	}
	return nil
}
