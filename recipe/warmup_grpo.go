package recipe

import "github.com/hone-lm/hone/train"

// WarmupGRPO chains a supervised warm-up and GRPO on the same task: the main job of hone on a fresh machine.
type WarmupGRPO struct {
	train.Common `yaml:",inline"`
	SFT          SFTStage  `yaml:"sft"`
	GRPO         GRPOStage `yaml:"grpo"`
}

// SFTStage is supervised fine-tuning as a stage.
type SFTStage struct {
	Steps int         `yaml:"steps"`
	Optim train.Optim `yaml:",inline"`
	SFT   `yaml:",inline"`
}

// GRPOStage is GRPO as a stage.
type GRPOStage struct {
	Steps       int         `yaml:"steps"`
	Passes      int         `yaml:"passes"`
	Minibatches int         `yaml:"minibatches"`
	Optim       train.Optim `yaml:",inline"`
	GRPO        `yaml:",inline"`
}

// Shared implements Config.
func (c *WarmupGRPO) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *WarmupGRPO) EvalTask() string { return c.GRPO.Task }

// Plan implements Config.
func (c *WarmupGRPO) Plan(b *Build) (train.Plan, error) {
	sft, err := c.SFT.SFT.node(b, "sft", c.SFT.Steps, c.SFT.Optim)
	if err != nil {
		return train.Plan{}, err
	}
	grpo, err := c.GRPO.GRPO.node(b, "grpo", c.GRPO.Steps, c.GRPO.Passes, c.GRPO.Minibatches, c.GRPO.Optim)
	return train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}, sft, grpo}}, err
}

func init() {
	Register(Paper{Name: "warmup-grpo", Title: "Supervised warm-up, then GRPO", About: "the main job: SFT on a few thousand demonstrations, then GRPO", OnPolicy: true, Quick: []string{"sft.steps=4", "sft.rows=40", "sft.batch=4", "grpo.steps=4", "grpo.problems=3", "grpo.group_size=4", "grpo.max_tokens=8", "grpo.overlong=7", "grpo.temperature=1.5"}, Irreducible: "it is sft and grpo one after the other", Config: func() Config {
		c := &WarmupGRPO{Common: train.DefaultCommon(),
			SFT:  SFTStage{Steps: 300, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()},
			GRPO: GRPOStage{Steps: 240, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), GRPO: defaultGRPO()}}
		c.SFT.Data.Rows = 1000 // few demonstrations: what a warm-up usually has
		return c
	}})
}
