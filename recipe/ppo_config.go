package recipe

import (
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/train"
)

// PPOStage is PPO as a stage.
type PPOStage struct {
	Steps       int         `yaml:"steps" help:"steps of sampling"`
	Passes      int         `yaml:"passes" help:"times each step's answers are used"`
	Minibatches int         `yaml:"minibatches" help:"updates a pass"`
	Optim       train.Optim `yaml:",inline"`
	PPO         `yaml:",inline"`
}

// PPOConfig are the settings of `hone run ppo`, `hone run rloo` and `hone run reinforce++`: one method, three sets of defaults.
type PPOConfig struct {
	train.Common `yaml:",inline"`
	PPOStage     `yaml:",inline"`
	stage        string
}

// Shared implements Config.
func (c *PPOConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *PPOConfig) EvalTask() string { return c.Task }

// Plan implements Config.
func (c *PPOConfig) Plan(b *Build) (train.Plan, error) {
	n, err := c.PPO.node(b, c.stage, c.Steps, c.Passes, c.Minibatches, c.Optim)
	return train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}, n}}, err
}

func defaultPPO() PPO {
	return PPO{Task: "countdown", Problems: 64, GroupSize: 4, Estimator: string(objective.EstGAE), Gamma: 1, Lambda: 0.95, Whiten: true, Clip: objective.ClipRange{Low: 0.2, High: 0.2},
		ValueClip: 0.2, ValueCoef: 0.5, KL: 0.02, Norm: "token_mean", MaxTokens: 32, Temperature: 1}
}

// ppoConfig makes the settings of one of the three; change sets what differs from PPO's.
func ppoConfig(stage string, passes int, change func(*PPO)) func() Config {
	return func() Config {
		c := &PPOConfig{Common: train.DefaultCommon(), PPOStage: PPOStage{120, passes, 1, train.DefaultOptim(1e-4), defaultPPO()}, stage: stage}
		change(&c.PPO)
		return c
	}
}

// quickPPO: chain_sum is a task on which the untrained nano model gives answers that can be read, so that rewards differ.
var quickPPO = []string{"steps=6", "problems=3", "group_size=4", "max_tokens=8", "temperature=1.5", "partial=0.1", "task=chain_sum?levels=2&digits=1-2"}

// groupSums are GRPO's settings for the same samples as quickPPO's without partial rewards.
var groupSums = []string{"overlong=0", "task=chain_sum?levels=2&digits=1-2"}

func init() {
	Register(Paper{Name: "ppo", Title: "Proximal Policy Optimization Algorithms", ArXiv: "1707.06347", Org: "OpenAI", Date: "2017-07-20",
		About: "reinforcement learning with a value head and an advantage for every token", OnPolicy: true, Quick: quickPPO,
		Reduces: []Reduction{{With: []string{"estimator=dr_grpo", "kl=0", "partial=0", "passes=1"}, To: "grpo", ToWith: append([]string{"advantage=mean_only"}, groupSums...)}},
		Config:  ppoConfig("ppo", 2, func(*PPO) {})})
	Register(Paper{Name: "rloo", Title: "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs", ArXiv: "2402.14740", Org: "Cohere", Date: "2024-02-22",
		About: "REINFORCE with the mean of the other answers as baseline", OnPolicy: true, Quick: quickPPO,
		Reduces: []Reduction{{With: []string{"kl=0", "partial=0", "norm=token_mean"}, To: "grpo", ToWith: append([]string{"advantage=leave_one_out"}, groupSums...)}},
		Config:  ppoConfig("rloo", 1, func(p *PPO) { p.Estimator, p.KL, p.Norm = string(objective.EstRLOO), 0.05, string(engine.UnitMean) })})
	Register(Paper{Name: "reinforce++", Title: "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization", ArXiv: "2501.03262", Org: "OpenRLHF", Date: "2025-01-04",
		About: "REINFORCE with advantages whitened over the step", OnPolicy: true, Quick: quickPPO,
		Irreducible: "its advantages are whitened over the whole step, which neither sft nor grpo does; with estimator=rloo it is rloo",
		Config:      ppoConfig("reinforce++", 1, func(p *PPO) { p.Estimator, p.KL, p.GroupSize = string(objective.EstReinforcePP), 0.01, 1 })})
}
