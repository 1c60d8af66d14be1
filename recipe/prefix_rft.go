package recipe

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
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

// low is low_k of a stage of so many steps.
func (m *PrefixRFT) low(k, steps int) float64 {
	horizon := m.Horizon
	if horizon == 0 {
		horizon = steps
	}
	if m.Length == "uniform" || k >= horizon {
		return m.Low
	}
	return m.Low + 0.5*(1+math.Cos(math.Pi*float64(k)/float64(horizon)))*(m.High-m.Low)
}

// cut is L: at least MinPrefix where that leaves one token of n to the policy.
func (m *PrefixRFT) cut(share float64, n int) int {
	return max(0, min(max(int(share*float64(n)), m.MinPrefix), n-1, m.MaxTokens-1))
}

// demonstrated reports whether a problem has a demonstration.
func (m *PrefixRFT) demonstrated(seed uint64, p *task.Problem) bool {
	return engine.NewKey(seed, "demonstrated", p.Key).Float64(0) < m.Demos
}

// prefix returns the forced tokens of a problem's hybrid; none: the answer is an ordinary one.
func (m *PrefixRFT) prefix(s *train.Step, p *task.Problem) ([]int32, error) {
	if m.Length == "none" || !m.demonstrated(s.Seed, p) {
		return nil, nil
	}
	demo, err := m.demo(p)
	if err != nil {
		return nil, err
	}
	ids := answerIDs(demo, s.Format.Tok.EndIDs())
	low := m.low(s.Index, s.Node.Steps)
	share := low + engine.NewKey(s.Seed, "prefix", uint64(s.Index), p.Key).Float64(0)*(m.High-low)
	return ids[:m.cut(share, len(ids))], nil
}

// Collect samples groups whose last member continues a prefix.
func (m *PrefixRFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(m.Problems)
	if err != nil {
		return nil, err
	}
	var plain, led []*task.Problem
	var prefixes [][]int32
	isLed := make([]bool, len(problems))
	for i, p := range problems {
		ids, err := m.prefix(s, p)
		if err != nil {
			return nil, err
		}
		if isLed[i] = len(ids) > 0; isLed[i] {
			led, prefixes = append(led, p), append(prefixes, ids)
		} else {
			plain = append(plain, p)
		}
	}
	whole, err := solve(ctx, s, rollout.Sample{}, plain, m.GroupSize)
	if err != nil {
		return nil, err
	}
	part, err := solve(ctx, s, rollout.Sample{}, led, m.GroupSize-1)
	if err != nil {
		return nil, err
	}
	hybrids, err := solve(ctx, s, rollout.Prefixed{Prefix: prefixes, First: m.GroupSize - 1}, led, 1)
	if err != nil {
		return nil, err
	}
	var groups []*rollout.Group
	for _, l := range isLed {
		if l {
			part[0].Episodes = append(part[0].Episodes, hybrids[0].Episodes[0])
			groups, part, hybrids = append(groups, part[0]), part[1:], hybrids[1:]
		} else {
			groups, whole = append(groups, whole[0]), whole[1:]
		}
	}
	if err := m.shape(ctx, s, groups); err != nil {
		return nil, err
	}
	return groups, m.credit(s, groups)
}

func solve(ctx context.Context, s *train.Step, by rollout.Solver, problems []*task.Problem, n int) ([]*rollout.Group, error) {
	if len(problems) == 0 {
		return nil, nil
	}
	return by.Solve(ctx, s.Env, problems, n)
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
		prefix.Denom = float64(masked(streams[0].Rows) + masked(prefix.Rows))
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
		if err := m.rank(ctx, s, prefix.Rows); err != nil {
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

func masked(rows []engine.Row) int {
	n := 0
	for _, r := range rows {
		for _, in := range r.Mask {
			if in {
				n++
			}
		}
	}
	return n
}

// demoRows are the whole demonstrations of the groups' problems.
func (m *PrefixRFT) demoRows(s *train.Step, groups []*rollout.Group) ([]engine.Row, error) {
	var demos []*rollout.Group
	for _, g := range groups {
		if p := g.Episodes[0].Problem; m.demonstrated(s.Seed, p) {
			seq, err := m.demo(p)
			if err != nil {
				return nil, err
			}
			demos = append(demos, &rollout.Group{Key: p.ID, Episodes: []*rollout.Episode{{Problem: p, Segs: []*engine.Sequence{seq}}}})
		}
	}
	return rollout.DemoRows(demos), nil
}

// rank gives weight 1 to the tokens that keep their advantage and 0 to the others, which stay in the mask.
func (m *PrefixRFT) rank(ctx context.Context, s *train.Step, rows []engine.Row) error {
	if len(rows) == 0 {
		return nil
	}
	keys := make([][]float32, len(rows))
	if m.Order == "random" {
		for i, r := range rows {
			keys[i] = make([]float32, len(r.Mask))
			for t := range keys[i] {
				keys[i][t] = float32(s.Key.Sub("keep").With(uint64(s.Update), uint64(i)).Float64(uint64(t)))
			}
		}
	} else {
		seqs := make([]*engine.Sequence, len(rows))
		for i, r := range rows {
			seqs[i] = r.Seq
		}
		scores, err := s.Engine.Score(ctx, seqs, engine.Want{Entropy: true, EntropyTemp: 1})
		if err != nil {
			return err
		}
		for i := range scores {
			keys[i] = scores[i].Entropy
			for t := range keys[i] {
				if m.Order == "bottom" {
					keys[i][t] = -keys[i][t]
				}
			}
		}
	}
	keepTop(rows, keys, m.Keep)
	return nil
}

// keepTop weighs the share of masked tokens with the largest keys 1, the others 0; of equals the first stay. keys is [row][token].
func keepTop(rows []engine.Row, keys [][]float32, share float64) {
	type place struct{ row, token int }
	var all []place
	for i := range rows {
		rows[i].Weight = make([]float32, len(rows[i].Mask))
		for t, in := range rows[i].Mask {
			if in {
				all = append(all, place{i, t})
			}
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return keys[all[a].row][all[a].token] > keys[all[b].row][all[b].token] })
	for _, at := range all[:int(math.Round(share*float64(len(all))))] {
		rows[at.row].Weight[at.token] = 1
	}
}

// Validate implements config's range check.
func (m *PrefixRFT) Validate() error {
	switch {
	case !(m.Low >= 0 && m.Low <= m.High && m.High <= 1):
		return &config.FieldError{Field: "low", Msg: fmt.Sprintf("%g and high %g: want 0 <= low <= high <= 1", m.Low, m.High)}
	case !(m.Keep >= 0 && m.Keep <= 1):
		return &config.FieldError{Field: "keep", Msg: fmt.Sprintf("%g: want a share in [0, 1]", m.Keep)}
	case !(m.Demos >= 0 && m.Demos <= 1):
		return &config.FieldError{Field: "demos", Msg: fmt.Sprintf("%g: want a share in [0, 1]", m.Demos)}
	case m.Horizon < 0 || m.MinPrefix < 0:
		return &config.FieldError{Field: "horizon", Msg: "want horizon and min_prefix of at least 0"}
	case !(m.Static >= 0) || !(m.SFTCoef >= 0):
		return &config.FieldError{Field: "static", Msg: "want static and sft_coef of at least 0"}
	case m.Filter != "none":
		return &config.FieldError{Field: "filter", Msg: "hybrids are not drawn again: want none"}
	case m.Length != "none" && m.GroupSize < 3:
		return &config.FieldError{Field: "group_size", Msg: "want at least 3: two ordinary answers and the hybrid"}
	}
	for _, c := range []struct {
		field, got string
		want       []string
	}{{"length", m.Length, []string{"cosine", "uniform", "none"}}, {"train", m.Train, []string{"advantage", "static", "frozen"}},
		{"order", m.Order, []string{"top", "bottom", "random"}}, {"norm", m.Norm, []string{"constant", "token_mean"}}} {
		if !slices.Contains(c.want, c.got) {
			return oneOf(c.field, c.got, c.want)
		}
	}
	return nil
}
