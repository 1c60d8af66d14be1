package recipe

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// GRPO: group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300, section 4.1).
//
// Samples GroupSize answers to each problem, scores them, and moves every sampled token by its answer's advantage within the group:
//
//	loss = - sum_t min(r_t A, clip(r_t, 1-lo, 1+hi) A) / tokens of the step,   r_t = exp(logp - logp_old)
//
// Settings give Dr. GRPO (advantage: mean_only, norm: constant) and DAPO (clip 0.2/0.28, filter: all_equal, overlong shaping, norm: token_mean).
// Left out: process rewards; a reference model unless kl > 0.
type GRPO struct {
	Task        string              `yaml:"task" help:"problems and their check, such as countdown?level=3"`
	Problems    int                 `yaml:"problems" help:"problems a step"`
	GroupSize   int                 `yaml:"group_size" help:"answers a problem"`
	Advantage   string              `yaml:"advantage" help:"mean_std, mean_std_pop, mean_only or leave_one_out"`
	Clip        objective.ClipRange `yaml:"clip_range"`
	Norm        string              `yaml:"norm" help:"token_mean, seq_mean or constant"`
	KL          float64             `yaml:"kl" help:"weight of the penalty to the stage's start; 0 = no reference model"`
	KLForm      string              `yaml:"kl_form" help:"k1 or k3"`
	KLIn        string              `yaml:"kl_in" help:"loss or reward"`
	Filter      string              `yaml:"filter" help:"none, or all_equal: groups whose answers all score the same are drawn again (DAPO)"`
	Refills     int                 `yaml:"refills" help:"rounds of drawing again"`
	MaxTokens   int                 `yaml:"max_tokens" help:"longest answer"`
	Overlong    int                 `yaml:"overlong" help:"tokens before max_tokens in which the reward falls by up to 1 (DAPO); 0 = off"`
	Temperature float64             `yaml:"temperature"`

	train.Defaults `yaml:"-"`
}

// Need asks for the reference model.
func (g *GRPO) Need() train.Need {
	n := train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapTemperature}}
	if g.KL > 0 {
		n.Frozen = []string{"start"}
	}
	return n
}

// Extent implements train.Sized.
func (g *GRPO) Extent() train.Extent { return train.Extent{Rows: g.Problems * g.GroupSize} }

// Collect samples until the step has its problems, or the refills are used up.
func (g *GRPO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	var kept []*rollout.Group
	filtered := 0
	for round := 0; round <= g.Refills && len(kept) < g.Problems; round++ {
		problems, err := s.Problems(g.Problems - len(kept))
		if err != nil {
			return nil, err
		}
		groups, err := (rollout.Sample{}).Solve(ctx, s.Env, problems, g.GroupSize)
		if err != nil {
			return nil, err
		}
		if err := g.shape(ctx, s, groups); err != nil {
			return nil, err
		}
		for _, group := range groups {
			if g.Filter == "none" || round == g.Refills || rollout.Varies(group) {
				kept = append(kept, group)
			} else {
				filtered++
			}
		}
	}
	if filtered > 0 {
		s.Note("filtered", float64(filtered)) // once: a step's value is the mean of what is noted
	}
	dropped, err := rollout.FillAdvantage(kept, objective.GroupAdvantage(g.Advantage), objective.AdvantageEps)
	if dropped > 0 {
		s.Note("dropped_groups", float64(dropped))
	}
	return kept, err
}

// shape changes rewards: overlong answers lose up to 1, and a KL penalty in the reward is taken off (its mean over the answer's tokens).
func (g *GRPO) shape(ctx context.Context, s *train.Step, groups []*rollout.Group) error {
	for _, e := range rollout.Episodes(groups) {
		if over := e.Cost.Forced + e.Cost.Sampled - (g.MaxTokens - g.Overlong); g.Overlong > 0 && over > 0 {
			rollout.AddTerm(e, "overlong", -float64(over)/float64(g.Overlong))
		}
	}
	if g.KL == 0 || g.KLIn != "reward" {
		return nil
	}
	ref, err := s.FrozenModel("start")
	if err != nil {
		return err
	}
	return rollout.KLReward(ctx, ref, groups, objective.KLEstimator(g.KLForm), g.KL)
}

// Streams is the clipped policy gradient, with the penalty beside it.
func (g *GRPO) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.SampledRows(groups)
	norm := engine.Norm(g.Norm)
	rl := engine.Stream{Name: "rl", Obj: objective.Clipped{Range: g.Clip}, Norm: norm, Coef: 1, Rows: rows, Denom: float64(g.MaxTokens * g.GroupSize * len(groups))}
	if g.KL == 0 || g.KLIn != "loss" {
		return []engine.Stream{rl}, nil
	}
	ref, err := s.FrozenModel("start")
	if err != nil {
		return nil, err
	}
	if err := rollout.Score(ctx, ref, rows, engine.ChanRef); err != nil {
		return nil, err
	}
	kl := rl
	kl.Name, kl.Obj, kl.Coef = "kl", objective.KL{Estimator: objective.KLEstimator(g.KLForm)}, g.KL
	return []engine.Stream{rl, kl}, nil
}

// Validate implements config's range check.
func (g *GRPO) Validate() error {
	if g.GroupSize < 2 {
		return &config.FieldError{Field: "group_size", Msg: fmt.Sprintf("%d: advantages within a group want at least 2 answers", g.GroupSize)}
	}
	for _, c := range []struct {
		field, got string
		want       []string
	}{{"advantage", g.Advantage, []string{"mean_std", "mean_std_pop", "mean_only", "leave_one_out"}}, {"norm", g.Norm, []string{"token_mean", "seq_mean", "constant"}},
		{"kl_form", g.KLForm, []string{"k1", "k3"}}, {"kl_in", g.KLIn, []string{"loss", "reward"}}, {"filter", g.Filter, []string{"none", "all_equal"}}} {
		if err := oneOf(c.field, c.got, c.want); err != nil {
			return err
		}
	}
	return nil
}

// node makes the stage.
func (g *GRPO) node(b *Build, name string, steps, passes, minibatches int, o train.Optim) (train.Node, error) {
	t, source, err := b.Problems(g.Task, task.Train)
	if err == nil {
		err = dealable(name, minibatches, g.Problems)
	}
	params := engine.Params{Temperature: float32(g.Temperature), MaxTokens: g.MaxTokens}
	return train.Node{Name: name, Kind: train.Train, Method: g, Steps: steps, Passes: passes, Minibatches: minibatches, Optim: o, Source: source, Grader: t, Params: params}, err
}

// GRPOConfig are the settings of `hone run grpo`.
type GRPOConfig struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps" help:"steps of sampling"`
	Passes       int         `yaml:"passes" help:"times each step's answers are used"`
	Minibatches  int         `yaml:"minibatches" help:"updates a pass"`
	Optim        train.Optim `yaml:",inline"`
	GRPO         `yaml:",inline"`
}

func defaultGRPO() GRPO {
	return GRPO{Task: "countdown", Problems: 32, GroupSize: 8, Advantage: "mean_std", Clip: objective.ClipRange{Low: 0.2, High: 0.2},
		Norm: "token_mean", KLForm: "k3", KLIn: "loss", Filter: "none", MaxTokens: 32, Temperature: 1}
}

// Shared implements Config.
func (c *GRPOConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *GRPOConfig) EvalTask() string { return c.Task }

// Plan implements Config.
func (c *GRPOConfig) Plan(b *Build) (train.Plan, error) {
	n, err := c.GRPO.node(b, "grpo", c.Steps, c.Passes, c.Minibatches, c.Optim)
	return train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}, n}}, err
}

func init() {
	Register(Paper{Name: "grpo", Title: "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models", ArXiv: "2402.03300", Org: "DeepSeek-AI", Date: "2024-02-05",
		About: "reinforcement learning from answers compared within a group", OnPolicy: true, Quick: []string{"steps=6", "problems=3", "group_size=4", "max_tokens=8", "overlong=7", "temperature=1.5"}, Irreducible: "it is the plain recipe", Config: func() Config {
			return &GRPOConfig{Common: train.DefaultCommon(), Steps: 120, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), GRPO: defaultGRPO()}
		}})
}
