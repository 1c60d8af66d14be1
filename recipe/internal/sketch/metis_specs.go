package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// MetisSpecs: pairs that differ in form only (chosen from a short-RL model, rejected a corrupted answer of the base); DPO plus SFT, then GRPO.
type MetisSpecs struct {
	train.Defaults
	Batch  int
	Beta   float64
	Lambda float64 // weight of SFT on the chosen side

	pairs [][2]*engine.Sequence // what the build node wrote
}

func (m *MetisSpecs) Need() train.Need { return train.Need{Frozen: []string{"start"}} }

func (m *MetisSpecs) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	var groups []*rollout.Group
	for i := range m.Batch {
		p := m.pairs[(s.Index*m.Batch+i)%len(m.pairs)]
		g := &rollout.Group{Key: p[0].ID.Problem}
		for _, side := range p {
			side.Unit = int64(i + 1)
			g.Episodes = append(g.Episodes, &reward.Episode{Segs: []*engine.Sequence{side}})
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func (m *MetisSpecs) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	pairs := rollout.DemoRows(groups)
	ref, err := s.FrozenModel("start")
	if err != nil {
		return nil, err
	}
	if err := rollout.Score(ctx, ref, pairs, engine.ChanRef); err != nil {
		return nil, err
	}
	var chosen []engine.Row
	for i := 0; i < len(pairs); i += 2 {
		chosen = append(chosen, pairs[i])
	}
	return []engine.Stream{
		{Name: "dpo", Obj: objective.DPO{Beta: m.Beta}, Coef: 1, Norm: engine.UnitMean, Rows: pairs},
		{Name: "sft", Obj: objective.CrossEntropy{}, Coef: m.Lambda, Norm: engine.SeqMean, Rows: chosen},
	}, nil
}

// Awkward: the pairs are built by two models (the short-RL one and the base), so the Build node must start from a checkpoint and open another: Node.From
// names one; the other comes by Engine.Open. Two streams over the same sequences cost one forward pass, as promised.
