package recipe

import (
	"context"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// TwoStageRecipe: A Practical Two-Stage Recipe for Mathematical LLMs: Maximizing Accuracy with SFT and Efficiency with Reinforcement Learning
// (Yoshihara, Yamaguchi and Inoue 2025, arXiv 2507.08267).
//
// A long SFT (ten epochs of right but lengthy traces) raises accuracy; a very short GRPO then cuts the answers' length. An answer of L tokens
// with correctness c has the reward
//
//	r = format + cosine + length
//	cosine = c ? 0.1 + 0.9 u : -0.1 - 0.9 u,   u = (1 + cos(pi min(1, L/max_length))) / 2
//	length = c ? lam : min(0, lam),            lam = 0.5 - (L - min L) / (max L - min L) within the group, 0 when all are equal
//
// and the stage minimises, with A = (r - mean) / (sample std + 1e-6) within the group,
//
//	loss = sum_t [ - min(rho A, clip(rho, 1-0.2, 1+0.2) A) + 0.04 k3(logp, logp_ref) ] / tokens of the step,   ref = the SFT model
//
// Left out: the choice of hard problems and of each one's shortest teacher trace (a task's expert writes one), packing to 24,000 tokens, top-p
// and min-p while sampling (they would make the loss off-policy), 8-bit AdamW. Lengths are tokens; the authors' code counts characters.
type TwoStageRecipe struct {
	train.Common `yaml:",inline"`
	Stages       string     `yaml:"stages" help:"both, sft or rl"`
	SFT          SFTStage   `yaml:"sft"`
	RL           TwoStageRL `yaml:"rl"`
}

// TwoStageRL is the second stage: GRPO whose grader looks at whole groups.
type TwoStageRL struct {
	GRPOStage `yaml:",inline"`
	Reward    TwoStageReward `yaml:"reward"`
}

// TwoStageReward holds the weights of the reward's terms. A term of weight 0 is not there.
type TwoStageReward struct {
	Accuracy  float64 `yaml:"accuracy" help:"weight of the task's own score; the paper has none, cosine tells right from wrong"`
	Format    float64 `yaml:"format" help:"weight of the format term"`
	Form      string  `yaml:"form" help:"of a good answer: steps (steps, one bar, the answer) or boxed (a boxed answer before </think>)"`
	Cosine    float64 `yaml:"cosine" help:"weight of the cosine of the length"`
	MaxLength int     `yaml:"max_length" help:"tokens at which the cosine ends; twice the 99th percentile of the demonstrations' lengths"`
	Length    float64 `yaml:"length" help:"weight of the length relative to the group"`
}

// Validate implements config's range check.
func (r *TwoStageReward) Validate() error {
	if r.MaxLength < 1 {
		return &config.FieldError{Field: "max_length", Msg: "want at least one token"}
	}
	return oneOf("form", r.Form, []string{"steps", "boxed"})
}

// lengthAware grades by a task's check and makes the reward of it.
type lengthAware struct {
	reward.Grader
	terms *TwoStageReward
}

// Grade implements reward.Grader.
func (g lengthAware) Grade(ctx context.Context, groups []*rollout.Group) error {
	if err := g.Grader.Grade(ctx, groups); err != nil {
		return err
	}
	for _, group := range groups {
		g.terms.apply(group.Valid())
	}
	return nil
}

// apply turns the scores of one group into rewards.
func (r *TwoStageReward) apply(group []*rollout.Episode) {
	correct, lengths := make([]bool, len(group)), make([]float64, len(group))
	for i, e := range group {
		correct[i], lengths[i] = e.Grade.Correct() == 1, float64(e.Cost.Sampled)
	}
	relative := reward.GroupLength(correct, lengths)
	for i, e := range group {
		e.Grade.Score *= r.Accuracy
		if r.Format != 0 {
			rollout.AddTerm(e, "format", r.Format*r.format(e.Text))
		}
		if r.Cosine != 0 {
			rollout.AddTerm(e, "cosine", r.Cosine*reward.CosineLength(correct[i], lengths[i], float64(r.MaxLength)))
		}
		if r.Length != 0 {
			rollout.AddTerm(e, "group_length", r.Length*relative[i])
		}
	}
}

func (r *TwoStageReward) format(text string) float64 {
	if r.Form == "boxed" {
		return reward.BoxedBefore(text, "</think>")
	}
	return reward.StepsThenAnswer(text)
}

// Prepare puts the reward over the task's grader.
func (m *TwoStageRL) Prepare(ctx context.Context, s *train.Step) error {
	s.Grader = lengthAware{s.Grader, &m.Reward}
	return nil
}

// Shared implements Config.
func (c *TwoStageRecipe) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *TwoStageRecipe) EvalTask() string { return c.RL.Task }

// Validate implements config's range check.
func (c *TwoStageRecipe) Validate() error {
	if err := oneOf("stages", c.Stages, []string{"both", "sft", "rl"}); err != nil {
		return err
	}
	return c.Common.Validate()
}

// Plan implements Config.
func (c *TwoStageRecipe) Plan(b *Build) (train.Plan, error) {
	plan := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	if c.Stages != "rl" {
		sft, err := c.SFT.SFT.node(b, "sft", c.SFT.Steps, c.SFT.Optim)
		if err != nil {
			return plan, err
		}
		plan.Nodes = append(plan.Nodes, sft)
	}
	if c.Stages != "sft" {
		rl, err := c.RL.GRPO.node(b, "rl", c.RL.Steps, c.RL.Passes, c.RL.Minibatches, c.RL.Optim)
		if err != nil {
			return plan, err
		}
		rl.Method = &c.RL
		plan.Nodes = append(plan.Nodes, rl)
	}
	return plan, nil
}

func init() {
	quick := []string{"sft.steps=4", "sft.rows=40", "sft.batch=4", "rl.steps=4", "rl.problems=3", "rl.group_size=4", "rl.max_tokens=8", "rl.overlong=7", "rl.temperature=1.5", "rl.reward.max_length=8", "sft.warmup=1", "rl.warmup=1"}
	plain := []string{"rl.kl=0", "rl.schedule=constant", "rl.reward.accuracy=1", "rl.reward.format=0", "rl.reward.cosine=0", "rl.reward.length=0"}
	Register(Paper{Name: "two-stage-recipe", Title: "A Practical Two-Stage Recipe for Mathematical LLMs: Maximizing Accuracy with SFT and Efficiency with Reinforcement Learning",
		ArXiv: "2507.08267", Org: "Aillis, University of Tokyo", Date: "2025-07-10",
		About: "long SFT for accuracy, then a short GRPO that shortens the answers", OnPolicy: true, Quick: quick, Claim: &twoStageClaim,
		Reduces: []Reduction{
			{With: append([]string{"stages=rl", "rl.steps=6"}, plain...), To: "grpo", ToWith: []string{"task=chain_sum?level=3", "warmup=1"}},
			{With: []string{"stages=sft", "sft.steps=6"}, To: "sft", ToWith: []string{"data=chain_sum?level=3", "form=padded", "schedule=cosine", "warmup=1"}},
			{With: plain, To: "warmup-grpo", ToWith: []string{"sft.data=chain_sum?level=3", "sft.form=padded", "sft.schedule=cosine", "grpo.task=chain_sum?level=3", "sft.warmup=1", "grpo.warmup=1"}},
		},
		Config: func() Config {
			c := &TwoStageRecipe{Common: train.DefaultCommon(), Stages: "both",
				SFT: SFTStage{Steps: 310, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()},
				RL: TwoStageRL{GRPOStage{Steps: 60, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), GRPO: defaultGRPO()},
					TwoStageReward{Format: 1, Form: "steps", Cosine: 1, MaxLength: 100, Length: 1}}}
			c.SFT.Optim.Schedule, c.RL.Optim.Schedule = "cosine", "cosine"
			c.SFT.Data.Path, c.SFT.Data.Form, c.SFT.Data.Rows = "chain_sum?level=3", "padded", 2000 // 310 steps of 64 rows are ten epochs
			c.RL.Task, c.RL.Problems, c.RL.MaxTokens, c.RL.KL = "chain_sum?level=3", 16, 64, 0.04
			return c
		}})
}
