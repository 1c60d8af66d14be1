package recipe

import (
	"fmt"

	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// PrefixRFTConfig are the settings of `hone run prefix-rft`: a supervised warm-up, which may be left out or be all there is, and the method.
type PrefixRFTConfig struct {
	train.Common `yaml:",inline"`
	SFT          SFTStage       `yaml:"sft"`
	RL           PrefixRFTStage `yaml:"rl"`
}

// PrefixRFTStage is the method as a stage.
type PrefixRFTStage struct {
	Steps       int         `yaml:"steps" help:"steps of sampling; 0 = none, where sft has some"`
	Passes      int         `yaml:"passes" help:"times each step's answers are used"`
	Minibatches int         `yaml:"minibatches" help:"updates a pass"`
	Optim       train.Optim `yaml:",inline"`
	PrefixRFT   `yaml:",inline"`
}

// Shared implements Config.
func (c *PrefixRFTConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *PrefixRFTConfig) EvalTask() string { return c.RL.Task }

// Plan implements Config.
func (c *PrefixRFTConfig) Plan(b *Build) (train.Plan, error) {
	p := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	if c.SFT.Steps > 0 {
		n, err := c.SFT.SFT.node(b, "sft", c.SFT.Steps, c.SFT.Optim)
		if err != nil {
			return p, err
		}
		p.Nodes = append(p.Nodes, n)
	}
	if c.RL.Steps > 0 {
		r := &c.RL
		n, err := r.GRPO.node(b, "rl", r.Steps, r.Passes, r.Minibatches, r.Optim)
		if err == nil {
			r.demo, err = b.Expert(r.Task, task.Form(r.Form))
		}
		if err != nil {
			return p, err
		}
		n.Method = &r.PrefixRFT
		p.Nodes = append(p.Nodes, n)
	}
	if len(p.Nodes) == 1 {
		return p, fmt.Errorf("prefix-rft: sft.steps and rl.steps are both 0: give one of the stages steps")
	}
	return p, nil
}

func init() {
	plain := []string{"sft.steps=0", "rl.steps=6", "rl.length=none"}
	Register(Paper{Name: "prefix-rft", Title: "Blending Supervised and Reinforcement Fine-Tuning with Prefix Sampling", ArXiv: "2507.01679",
		Org: "University of Edinburgh, Fudan University, Alibaba, StepFun, University of Amsterdam", Date: "2025-07-02",
		About: "one answer of each group continues a demonstration's prefix, which is trained with the answer's advantage", OnPolicy: true,
		Quick: []string{"sft.steps=3", "sft.rows=40", "sft.batch=4", "rl.steps=4", "rl.problems=3", "rl.group_size=4", "rl.max_tokens=8", "rl.overlong=7", "rl.temperature=1.5"},
		Reduces: []Reduction{
			{With: plain, To: "grpo", ToWith: []string{"advantage=mean_only", "norm=constant", "clip_range.dual=3"}},
			{With: append([]string{"rl.norm=token_mean", "rl.advantage=mean_std"}, plain...), To: "grpo", ToWith: []string{"clip_range.dual=3"}},
			{With: []string{"sft.steps=4", "rl.demos=0"}, To: "warmup-grpo", ToWith: []string{"grpo.advantage=mean_only", "grpo.norm=constant", "grpo.clip_range.dual=3"}}},
		Claim: prefixRFTClaim, Config: func() Config {
			c := &PrefixRFTConfig{Common: train.DefaultCommon(), SFT: SFTStage{Steps: 50, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()},
				RL: PrefixRFTStage{Steps: 200, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), PrefixRFT: PrefixRFT{Form: "short", Demos: 1, Length: "cosine",
					Low: 0.05, High: 0.95, MinPrefix: 2, Train: "advantage", Static: 1e-3, Keep: 0.2, Order: "top", GRPO: defaultGRPO()}}}
			c.SFT.Data.Rows = 1000
			c.RL.Advantage, c.RL.Norm, c.RL.Clip = string(objective.MeanOnly), "constant", objective.ClipRange{Low: 0.2, High: 0.2, Dual: 3}
			return c
		}})
}
