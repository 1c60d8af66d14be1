package recipe

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// PPO: proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347, equation 7) as it is done with language models (Ziegler et al. 2019):
// the answer's score stands on its last token, a penalty for leaving the reference on every token, and an advantage is estimated for each token.
//
//	reward_t = score [t is last] - KL (logp_old_t - logp_ref_t)
//	loss     = - sum_t min(r_t A_t, clip(r_t, 1-lo, 1+hi) A_t) / tokens  +  ValueCoef sum_t max((V_t - R_t)^2, (clip V_t - R_t)^2) / 2 tokens
//
// A comes from Estimator: gae with a value head (A = delta + gamma lambda A, whitened over the step), rloo, reinforce_plus_plus and the others of
// package objective without one. Advantages are computed once a step and serve all passes. Left out: an adaptive penalty, a critic of its own.
type PPO struct {
	Task        string              `yaml:"task" help:"problems and their check, such as countdown?level=3"`
	Problems    int                 `yaml:"problems" help:"problems a step"`
	Questions   int                 `yaml:"questions" help:"draw only from the task's first so many training problems, epoch after epoch; 0 = from all"`
	GroupSize   int                 `yaml:"group_size" help:"answers a problem"`
	Estimator   string              `yaml:"estimator" help:"of advantages: gae (value head), rloo, reinforce_plus_plus, reinforce_plus_plus_baseline, grpo, dr_grpo, opo or gpg"`
	Gamma       float64             `yaml:"gamma" help:"discount a token"`
	Lambda      float64             `yaml:"lambda" help:"gae: how far rewards reach back past the value head"`
	Whiten      bool                `yaml:"whiten" help:"gae, reinforce_plus_plus, reinforce_plus_plus_baseline: give a step's advantages the mean 0 and the variance 1"`
	Clip        objective.ClipRange `yaml:"clip_range"`
	ValueClip   float64             `yaml:"value_clip" help:"gae: how far a value may move in one step; 0 = any way"`
	ValueCoef   float64             `yaml:"value_coef" help:"gae: weight of the value loss"`
	KL          float64             `yaml:"kl" help:"weight of the penalty to the stage's start, taken off every token's reward; 0 = no reference model"`
	Partial     float64             `yaml:"partial" help:"reward of an answer that can be read but is wrong"`
	Norm        string              `yaml:"norm" help:"token_mean, seq_mean (mean over answers of each one's token mean) or unit_mean (mean over answers of each one's token sum)"`
	MaxTokens   int                 `yaml:"max_tokens" help:"longest answer"`
	Temperature float64             `yaml:"temperature"`

	train.Defaults `yaml:"-"`
	answered       []*engine.Sequence // rows of those questions, where some may have been left out; nil = all
}

// Extent implements train.Sized.
func (p *PPO) Extent() train.Extent { return train.Extent{Rows: p.Problems * p.GroupSize} }

// Need asks for a value head and the reference model.
func (p *PPO) Need() train.Need {
	n := train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapTemperature}}
	if p.critic() {
		n.Caps = append(n.Caps, engine.CapValue)
	}
	if p.KL > 0 {
		n.Frozen = []string{"start"}
	}
	return n
}

func (p *PPO) critic() bool { return p.Estimator == string(objective.EstGAE) }

// comparing are the estimators that compare the answers to one problem; the others need no second one.
var comparing = []string{"rloo", "reinforce_plus_plus_baseline", "grpo", "dr_grpo", "opo", "gpg"}

func (p *PPO) compares() bool { return slices.Contains(comparing, p.Estimator) }

// Collect samples, and estimates the advantage of every sampled token.
func (p *PPO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(p.Problems)
	if err != nil {
		return nil, err
	}
	groups, err := (rollout.Sample{}).Solve(ctx, s.Env, problems, p.GroupSize)
	if err != nil {
		return nil, err
	}
	p.encourage(groups)
	return groups, p.estimate(ctx, s, groups)
}

// encourage gives answers that can be read but are wrong their part of a reward.
func (p *PPO) encourage(groups []*rollout.Group) {
	for _, e := range rollout.Episodes(groups) {
		if e.Grade.Verdict == task.Wrong && p.Partial != 0 {
			rollout.AddTerm(e, "partial", p.Partial)
		}
	}
}

// estimate fills the channels advantage and, for the value head, value_old and return.
func (p *PPO) estimate(ctx context.Context, s *train.Step, groups []*rollout.Group) error {
	batch := &objective.TokenRewards{}
	var seqs []*engine.Sequence
	dropped := 0
	for i, g := range groups {
		valid := g.Valid()
		if p.compares() && len(valid) < 2 {
			dropped++
			continue
		}
		for _, e := range valid {
			seq := e.Segs[0]
			rewards, mask := make([]float64, len(seq.Tokens)), make([]bool, len(seq.Tokens))
			for t := range seq.Tokens {
				mask[t] = seq.KindAt(t) == engine.KindSampled
			}
			rewards[len(rewards)-1] = e.Grade.Score // the end token, or the last one of an answer that was cut off
			seqs = append(seqs, seq)
			batch.Rewards, batch.Mask, batch.Group = append(batch.Rewards, rewards), append(batch.Mask, mask), append(batch.Group, strconv.Itoa(i)) // not the problem: one drawn twice is two groups
		}
	}
	if dropped > 0 {
		s.Note("dropped_groups", float64(dropped)) // once: a step's value is the mean of what is noted
	}
	if len(seqs) == 0 {
		return nil
	}
	if p.KL > 0 {
		ref, err := s.FrozenModel("start")
		if err != nil {
			return err
		}
		scores, err := ref.Score(ctx, seqs, engine.Want{})
		if err != nil {
			return err
		}
		for i, seq := range seqs {
			if err := objective.ShapeKL(batch.Rewards[i], seq.Channel(engine.ChanOld), scores[i].LogProb, batch.Mask[i], objective.K1, p.KL); err != nil {
				return err
			}
		}
	}
	if p.critic() {
		scores, err := s.Engine.Score(ctx, seqs, engine.Want{Value: true})
		if err != nil {
			return err
		}
		for i, seq := range seqs {
			batch.Values = append(batch.Values, widened(seq.SetChannel(engine.ChanValueOld, scores[i].Value)))
		}
	}
	advantages, returns, err := p.advantages(batch)
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		adv, ret := seq.SetChannel(engine.ChanAdvantage, nil), seq.SetChannel(engine.ChanReturn, nil)
		for t := range adv {
			if batch.Mask[i][t] {
				adv[t], ret[t] = float32(advantages[i][t]), float32(returns[i][t])
			}
		}
	}
	return nil
}

// advantages asks the estimator. A token that is alone in its step is its own mean: its whitened advantage is 0, as that of equal ones is.
// The value head still learns from its return.
func (p *PPO) advantages(b *objective.TokenRewards) (advantages, returns [][]float64, err error) {
	e, alone := objective.Estimator(p.Estimator), sampled(b.Mask) < 2
	advantages, returns, err = e.Advantages(b, objective.EstimatorParams{Gamma: p.Gamma, Lambda: p.Lambda, Eps: objective.AdvantageEps, NoWhiten: !p.Whiten || alone})
	if p.Whiten && alone && e.Whitens() {
		for _, row := range advantages {
			clear(row)
		}
	}
	return advantages, returns, err
}

func sampled(mask [][]bool) (n int) {
	for _, row := range mask {
		for _, m := range row {
			if m {
				n++
			}
		}
	}
	return n
}

func widened(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// Streams is the clipped surrogate, with the value loss beside it.
func (p *PPO) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rl := engine.Stream{Name: "rl", Obj: objective.Clipped{Range: p.Clip}, Norm: engine.Norm(p.Norm), Coef: 1, Rows: rollout.SampledRows(groups)}
	if !p.critic() {
		return []engine.Stream{rl}, nil
	}
	value := rl
	value.Name, value.Obj, value.Coef = "value", objective.ValueLoss{Clip: p.ValueClip}, p.ValueCoef
	return []engine.Stream{rl, value}, nil
}

// Validate implements config's range check.
func (p *PPO) Validate() error {
	if err := oneOf("estimator", p.Estimator, append(slices.Clone(comparing), "gae", "reinforce_plus_plus")); err != nil {
		return err
	}
	if p.compares() && p.GroupSize < 2 {
		return &config.FieldError{Field: "group_size", Msg: fmt.Sprintf("%d: estimator %s compares at least 2 answers to a problem", p.GroupSize, p.Estimator)}
	}
	if p.Problems < 1 || p.GroupSize < 1 || p.Questions < 0 {
		return &config.FieldError{Field: "problems", Msg: fmt.Sprintf("problems %d, group_size %d, questions %d: want at least 1, 1 and 0", p.Problems, p.GroupSize, p.Questions)}
	}
	if !(p.Gamma > 0 && p.Gamma <= 1 && p.Lambda >= 0 && p.Lambda <= 1) {
		return &config.FieldError{Field: "gamma", Msg: fmt.Sprintf("gamma %g, lambda %g: want numbers in (0, 1] and [0, 1]", p.Gamma, p.Lambda)}
	}
	return oneOf("norm", p.Norm, []string{"token_mean", "seq_mean", "unit_mean"})
}

// node makes the stage.
func (p *PPO) node(b *Build, name string, steps, passes, minibatches int, o train.Optim) (train.Node, error) {
	t, source, err := b.Problems(p.Task, task.Train)
	if err == nil && p.Questions > 0 {
		var list []*task.Problem
		t, list, err = b.Asked(p.Task, p.Questions, p.answered)
		source = b.epochs(list)
	}
	if err == nil {
		err = dealable(name, minibatches, p.Problems)
	}
	params := engine.Params{Temperature: float32(p.Temperature), MaxTokens: p.MaxTokens}
	return train.Node{Name: name, Kind: train.Train, Method: p, Steps: steps, Passes: passes, Minibatches: minibatches, Optim: o, Source: source, Grader: t, Params: params}, err
}
