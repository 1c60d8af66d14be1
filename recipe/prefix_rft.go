package recipe

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// PrefixRFT: blending supervised and reinforcement fine-tuning with prefix sampling (2025, arXiv 2507.01679).
//
// One answer of each group begins with the first L tokens of the problem's demonstration y*, and the policy writes the rest:
//
//	L = floor(l |y*|), l ~ U(low_k, High),   low_k = Low + 1/2 (1 + cos(pi k / K)) (High - Low), Low from step K on
//
// With m the mean reward of the ordinary answers and R that of the hybrid, advantages are R_i - m on ordinary answers, R on the
// hybrid's continuation and R - m on its prefix, of which only the Keep most uncertain tokens of the update are trained:
//
//	loss = - [ sum min(r_t A, clip(r_t) A) over sampled tokens + sum r_t A over kept prefix tokens ] / constant
//
// Here |y*| does not count the end token, so the last token of the answer is always the policy's. Left out: several demonstrations a problem,
// Beta-distributed lengths, whole demonstrations as off-policy answers, groups made of hybrids only, advantage 0 for truncated answers.
type PrefixRFT struct {
	Form       string  `yaml:"form" help:"of the task's demonstrations: short, verbose or planned"`
	Demos      float64 `yaml:"demos" help:"share of the problems that have a demonstration"`
	Length     string  `yaml:"length" help:"cosine (lower end falls), uniform (stays at low) or none (no prefix: plain GRPO)"`
	Low        float64 `yaml:"low" help:"smallest share of the demonstration"`
	High       float64 `yaml:"high" help:"largest share"`
	Horizon    int     `yaml:"horizon" help:"steps until the lower end is low; 0 = the stage's"`
	MinPrefix  int     `yaml:"min_prefix" help:"tokens"`
	Train      string  `yaml:"train" help:"advantage; static (cross-entropy of weight static); or frozen (prefix tokens are not trained)"`
	Static     float64 `yaml:"static" help:"weight of static"`
	Keep       float64 `yaml:"keep" help:"share of an update's prefix tokens that keep their advantage"`
	Order      string  `yaml:"order" help:"which: top (highest entropy), bottom or random"`
	ClipPrefix bool    `yaml:"clip_prefix" help:"clip the ratios of prefix tokens too"`
	Joint      bool    `yaml:"joint" help:"one baseline over the whole group, for every token of the hybrid"`
	SFTCoef    float64 `yaml:"sft_coef" help:"weight of cross-entropy on the whole demonstrations beside the loss; 0 = off"`
	GRPO       `yaml:",inline"`

	demo func(p *task.Problem) (*engine.Sequence, error)
}

// Need is GRPO's, and entropies to rank by.
func (m *PrefixRFT) Need() train.Need {
	n := m.GRPO.Need()
	if m.ranks() {
		n.Caps = append(n.Caps, engine.CapEntropy)
	}
	return n
}

func (m *PrefixRFT) ranks() bool {
	return m.Length != "none" && m.Train == "advantage" && m.Keep > 0 && m.Keep < 1 && m.Order != "random"
}

// Collect samples groups whose last member continues a prefix.
func (m *PrefixRFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(m.Problems)
	if err != nil {
		return nil, err
	}
	prefixes := make([][]int32, len(problems))
	for i, p := range problems {
		if prefixes[i], err = m.prefix(s, p); err != nil {
			return nil, err
		}
	}
	groups, err := rollout.Prefixed{Prefix: prefixes}.Solve(ctx, s.Env, problems, m.GroupSize)
	if err != nil {
		return nil, err
	}
	if err := m.shape(ctx, s, groups); err != nil {
		return nil, err
	}
	return groups, m.credit(s, groups)
}

// credit writes every group's advantages.
func (m *PrefixRFT) credit(s *train.Step, groups []*rollout.Group) error {
	dropped := 0
	for _, g := range groups {
		last := len(g.Episodes) - 1
		hybrid := g.Episodes[last]
		ordinary := *g
		if !m.Joint && hybrid.Cost.Forced > 0 {
			ordinary.Episodes = g.Episodes[:last]
		}
		n, err := rollout.FillAdvantage([]*rollout.Group{&ordinary}, objective.GroupAdvantage(m.Advantage), objective.AdvantageEps)
		if err != nil {
			return err
		}
		dropped += n
		if n == 0 && hybrid.Cost.Forced > 0 && hybrid.Grade.Valid() {
			m.creditHybrid(s, &ordinary, hybrid)
		}
	}
	if dropped > 0 {
		s.Note("dropped_groups", float64(dropped))
	}
	return nil
}

func (m *PrefixRFT) creditHybrid(s *train.Step, ordinary *rollout.Group, hybrid *rollout.Episode) {
	seq, mean := hybrid.Segs[0], 0.0
	valid := ordinary.Valid()
	for _, e := range valid {
		mean += e.Grade.Score / float64(len(valid))
	}
	if !rollout.Varies(ordinary) {
		mean = valid[0].Grade.Score // to the bit
	}
	s.Note("hybrid_reward", hybrid.Grade.Score)
	s.Note("ordinary_reward", mean)
	s.Note("prefix_tokens", float64(hybrid.Cost.Forced))
	prefix := hybrid.Grade.Score - mean
	if m.Joint {
		prefix = float64(seq.Channel(engine.ChanAdvantage)[len(seq.Tokens)-1])
	} else {
		rollout.SetAdvantage(hybrid, hybrid.Grade.Score)
	}
	for t, ch := 0, seq.Channel(engine.ChanAdvantage); t < len(ch); t++ {
		if seq.KindAt(t) == engine.KindForced {
			ch[t] = float32(prefix)
		}
	}
}

// Streams is GRPO's loss with the prefixes beside it, all under one denominator.
func (m *PrefixRFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := m.GRPO.Streams(ctx, s, groups)
	if err != nil {
		return nil, err
	}
	prefix := engine.Stream{Name: "prefix", Obj: objective.Surrogate{Form: objective.FormRatio}, Coef: 1, Norm: engine.Constant, Denom: streams[0].Denom}
	for _, r := range rollout.KindRows(groups, engine.KindForced) {
		if r.Seq.Channel(engine.ChanAdvantage) != nil { // valid, in a group that was not dropped
			prefix.Rows = append(prefix.Rows, r)
		}
	}
	if m.Norm == string(engine.TokenMean) && len(prefix.Rows) > 0 { // both kinds of token count, trained or not
		prefix.Denom = float64(rollout.Masked(streams[0].Rows) + rollout.Masked(prefix.Rows))
		for i := range streams {
			streams[i].Norm, streams[i].Denom = engine.Constant, prefix.Denom
		}
	}
	switch {
	case m.Train == "static":
		prefix.Obj, prefix.Coef = objective.CrossEntropy{}, m.Static
	case m.Train == "frozen" || m.Keep == 0:
		prefix.Coef = 0
	case m.ClipPrefix:
		prefix.Obj = objective.Clipped{Range: m.Clip}
	}
	if m.Train == "advantage" && m.Keep > 0 && m.Keep < 1 {
		by := rollout.Order{By: m.Order, Key: s.Key.Sub("keep").With(uint64(s.Update))}
		if err := by.Keep(ctx, s.Engine, prefix.Rows, m.Keep); err != nil {
			return nil, err
		}
	}
	streams = append(streams, prefix)
	if m.SFTCoef == 0 {
		return streams, nil
	}
	demos, err := m.demoRows(s, groups)
	return append(streams, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: m.SFTCoef, Norm: engine.TokenMean, Rows: demos}), err
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
