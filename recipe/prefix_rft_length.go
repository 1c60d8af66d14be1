package recipe

import (
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

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
