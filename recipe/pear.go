package recipe

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// PEAR: policy-evaluation-inspired reweighting of the SFT loss (Zhang et al. 2026, arXiv 2602.01058).
//
// RL trains a model on its own answers, so SFT on a path that the model would never go on with prepares it for nothing. A demonstrated token
// counts by how likely the model now is to write what FOLLOWS it, relative to the policy that wrote the demonstration:
//
//	loss  = - sum_t sg(G_t) log p_t / demonstrated tokens of the step
//	d_t   = clip(log p_t - logp_old_t, low, high),   log G_t clipped to [log_min, log_max]
//	token: log G_t = (T - t) log gamma + sum_{j > t} d_j;   block: the same for whole blocks;   sequence: sum over all j
//
// The weights are made anew at every step; logp_old is stored with the demonstrations. Then comes GRPO, the same for every way of weighting.
// Left out: wrong demonstrations with a negative weight.
type PEAR struct {
	SFT     `yaml:",inline"`
	Weights string  `yaml:"weights" help:"token (of what follows it), block, sequence, or none: plain SFT"`
	Block   int     `yaml:"block" help:"block: tokens of a block"`
	Gamma   float64 `yaml:"gamma" help:"token, block: discount for every token that follows"`
	Low     float64 `yaml:"low" help:"smallest log-ratio of a token"`
	High    float64 `yaml:"high" help:"largest log-ratio of a token"`
	LogMin  float64 `yaml:"log_min" help:"smallest log-weight"`
	LogMax  float64 `yaml:"log_max" help:"largest log-weight"`
	Center  bool    `yaml:"center" help:"take each row's mean log-ratio off first, for a teacher that is much surer (not the paper's)"`
	MeanOne bool    `yaml:"mean_one" help:"divide weights by their mean over the step, so that they do not lower the learning rate (not the paper's)"`
	Shuffle bool    `yaml:"shuffle" help:"control: deal the step's weights out among its tokens at random"`
	Power   float64 `yaml:"power" help:"tokens are weighted by their own probability to this power too, as in dft; 0 = not"`

	frozen bool // log-probs of the demonstrations are those of the model that the stage starts with
}

// Need asks for the frozen model where demonstrations came without log-probs.
func (m *PEAR) Need() train.Need {
	if m.frozen && m.Weights != "none" {
		return train.Need{Caps: []engine.Capability{engine.CapFrozen}, Frozen: []string{"start"}}
	}
	return train.Need{}
}

// Streams weighs every demonstrated token.
func (m *PEAR) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := m.SFT.Streams(ctx, s, groups)
	if err != nil || m.Weights == "none" {
		return streams, err
	}
	if m.frozen {
		start, err := s.FrozenModel("start")
		if err != nil {
			return nil, err
		}
		if err := rollout.Score(ctx, start, streams[0].Rows, engine.ChanOld); err != nil {
			return nil, err
		}
	}
	streams[0].Obj = objective.ImportanceWeighted{Level: objective.WeightLevel(m.Weights), Block: m.Block, Gamma: m.Gamma, Low: m.Low, High: m.High,
		LogMin: m.LogMin, LogMax: m.LogMax, Center: m.Center, MeanOne: m.MeanOne, Power: m.Power,
		Shuffle: m.Shuffle, Key: engine.NewKey(s.Seed, "shuffled weights", uint64(s.Index))}
	return streams, nil
}

// Validate implements config's range check.
func (m *PEAR) Validate() error {
	if err := oneOf("weights", m.Weights, []string{"token", "block", "sequence", "none"}); err != nil {
		return err
	}
	switch {
	case m.Block < 1:
		return &config.FieldError{Field: "block", Msg: "want at least one token"}
	case !(m.Gamma > 0 && m.Gamma <= 1):
		return &config.FieldError{Field: "gamma", Msg: fmt.Sprintf("%g: want a number in (0, 1]", m.Gamma)}
	case !(m.Low <= 0) || m.Low < -100:
		return &config.FieldError{Field: "low", Msg: fmt.Sprintf("%g: want a number in [-100, 0]", m.Low)}
	case !(m.High >= 0 && m.High <= 100):
		return &config.FieldError{Field: "high", Msg: fmt.Sprintf("%g: want a number in [0, 100]", m.High)}
	case !(m.LogMin >= -100 && m.LogMin <= 0):
		return &config.FieldError{Field: "log_min", Msg: fmt.Sprintf("%g: want a number in [-100, 0]", m.LogMin)}
	case !(m.LogMax >= 0 && m.LogMax <= 100):
		return &config.FieldError{Field: "log_max", Msg: fmt.Sprintf("%g: want a number in [0, 100]", m.LogMax)}
	case !(m.Power >= 0):
		return &config.FieldError{Field: "power", Msg: fmt.Sprintf("%g: want a number of at least 0", m.Power)}
	}
	return m.SFT.Validate()
}

func init() {
	quick := []string{"teacher.steps=3", "teacher.rows=40", "teacher.batch=4", "demos.steps=3", "demos.rows=30", "demos.problems=4", "demos.samples=4", "demos.keep=all", "demos.max_tokens=8", "demos.temperature=1.5",
		"behaviour.steps=3", "behaviour.batch=4", "sft.steps=4", "sft.batch=4",
		"grpo.steps=4", "grpo.problems=3", "grpo.group_size=4", "grpo.max_tokens=8", "grpo.overlong=7", "grpo.temperature=2", "eval.pass_at=0"}
	one := []string{"demos.source=data", "sft.rows=40", "behaviour.from=start", "sft.low=0", "sft.high=0", "sft.gamma=1"} // every weight is exactly 1
	Register(Paper{Name: "pear", Title: "Good SFT Optimizes for SFT, Better SFT Prepares for Reinforcement Learning", ArXiv: "2602.01058",
		Org: "University of Illinois Urbana-Champaign", Date: "2026-02-01", About: "SFT weighted by how likely the model is to go on as demonstrated, then GRPO",
		OnPolicy: true, Quick: quick, Claim: pearClaim,
		Reduces: []Reduction{
			{With: append([]string{"sft.steps=6", "grpo.steps=0"}, one...), To: "sft"},
			{With: append([]string{"sft.steps=6", "grpo.steps=0", "sft.power=1"}, one...), To: "dft"},
			{With: one, To: "warmup-grpo", ToWith: []string{"grpo.temperature=2"}}},
		Config: func() Config { return defaultPEAR() }})
}
