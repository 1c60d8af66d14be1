package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// ReFT (arXiv 2401.08967): SFT warm-up, then PPO with a value head; the KL to the warm-up is a per-token reward.
type ReFT struct {
	train.Defaults
	Problems      int
	Beta          float64 // weight of the KL reward
	Gamma, Lambda float64
	Clip          objective.ClipRange
	ValueCoef     float64 // 5

	gae   func(rewards, values []float64, gamma, lambda float64) (adv, returns []float64) // objective's estimator
	value engine.Objective                                                                // clipped value loss, reads value_old and return
}

func (r *ReFT) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapValue}, Frozen: []string{"start"}}
}

func (r *ReFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(r.Problems)
	if err != nil {
		return nil, err
	}
	groups, err := rollout.Sample{}.Solve(ctx, s.Env, problems, 1)
	if err != nil {
		return nil, err
	}
	rows := rollout.KindRows(groups, engine.KindSampled)
	ref, err := s.FrozenModel("start")
	if err != nil {
		return nil, err
	}
	if err := rollout.Score(ctx, ref, rows, engine.ChanRef); err != nil {
		return nil, err
	}
	seqs := make([]*engine.Sequence, len(rows))
	for i, row := range rows {
		seqs[i] = row.Seq
	}
	scores, err := s.Engine.Score(ctx, seqs, engine.Want{Value: true})
	if err != nil {
		return nil, err
	}
	for i, e := range rollout.Episodes(groups) {
		r.fill(e, seqs[i], scores[i])
	}
	return groups, nil // whitening over the whole batch comes here: an estimator in objective over all rows
}

// fill writes advantage, return and value_old: reward at the last sampled token, minus Beta (logp_old - logp_ref) at each.
func (r *ReFT) fill(e *rollout.Episode, s *engine.Sequence, sc *engine.Scores) {
	adv, ret := s.SetChannel(engine.ChanAdvantage, nil), s.SetChannel(engine.ChanReturn, nil)
	s.SetChannel(engine.ChanValueOld, sc.Value)
	var at []int
	var rewards, values []float64
	for t := range s.Tokens {
		if s.KindAt(t) == engine.KindSampled {
			at = append(at, t)
			rewards = append(rewards, -r.Beta*float64(s.Channel(engine.ChanOld)[t]-s.Channel(engine.ChanRef)[t]))
			values = append(values, float64(sc.Value[t]))
		}
	}
	rewards[len(rewards)-1] += e.Grade.Score
	a, g := r.gae(rewards, append(values, 0), r.Gamma, r.Lambda)
	for i, t := range at {
		adv[t], ret[t] = float32(a[i]), float32(g[i])
	}
}

func (r *ReFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.SampledRows(groups)
	return []engine.Stream{
		{Name: "rl", Obj: objective.Clipped{Range: r.Clip}, Coef: 1, Norm: engine.SeqMean, Rows: rows},
		{Name: "value", Obj: r.value, Coef: r.ValueCoef, Norm: engine.SeqMean, Rows: rows},
	}, nil
}

// Awkward: Scores.Value is read before each token; for truncated samples the bootstrap wants Scores.LastValue, which exists for that reason (the
// paper takes 0). rollout had no rows by kind without advantages: KindRows was added for this sketch. Streams of one step may share the same
// Row values, so Normalise must copy them (it does: it writes Scale into its own copy).
