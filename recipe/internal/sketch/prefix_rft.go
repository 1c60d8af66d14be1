package sketch

import (
	"context"
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// PrefixRFT (arXiv 2507.01679): one member of each group continues an expert's prefix; the prefix is trained with its advantage, on its most uncertain tokens.
type PrefixRFT struct {
	train.Defaults
	Problems, GroupSize int
	Low, High           float64 // of the prefix's share
	Horizon             int     // steps of the cosine
	Keep                float64 // share of prefix tokens that keep their advantage
	Clip                objective.ClipRange

	demo func(problem string) []int32 // the expert's ids
}

func (p *PrefixRFT) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapEntropy}}
}

// low is the lower end of the prefix's share at a step.
func (p *PrefixRFT) low(step int) float64 {
	if step > p.Horizon {
		return p.Low
	}
	return p.Low + 0.5*(1+math.Cos(math.Pi*float64(step)/float64(p.Horizon)))*(p.High-p.Low)
}

func (p *PrefixRFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(p.Problems)
	if err != nil {
		return nil, err
	}
	groups, err := rollout.Sample{}.Solve(ctx, s.Env, problems, p.GroupSize-1)
	if err != nil {
		return nil, err
	}
	var prompts []engine.Prompt
	for i, problem := range problems {
		seq, err := s.Format.Prompt(problem)
		if err != nil {
			return nil, err
		}
		expert := p.demo(problem.ID)
		share := p.low(s.Index) + engine.NewKey(s.Seed, "prefix", uint64(s.Index), problem.Key).Float64(0)*(p.High-p.low(s.Index))
		for _, id := range expert[:min(len(expert)-1, int(share*float64(len(expert))))] {
			seq.Tokens, seq.Kind = append(seq.Tokens, id), append(seq.Kind, engine.KindForced)
		}
		prompts = append(prompts, engine.Prompt{Seq: seq, N: 1, Params: s.Params, Key: s.Key.With(problem.Key, uint64(i))})
	}
	_, err = s.Engine.Sample(ctx, prompts) // hybrids: graded, given their own baseline, appended to their groups
	return groups, err
}

func (p *PrefixRFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.SampledRows(groups)
	prefixes := rollout.KindRows(groups, engine.KindForced)
	seqs := make([]*engine.Sequence, len(prefixes))
	for i := range prefixes {
		seqs[i] = prefixes[i].Seq
	}
	scores, err := s.Engine.Score(ctx, seqs, engine.Want{Entropy: true}) // rank over the minibatch, Weight 0 outside the top Keep
	_ = scores
	return []engine.Stream{
		{Name: "rl", Obj: objective.Clipped{Range: p.Clip}, Coef: 1, Norm: engine.Constant, Denom: 1, Rows: rows},
		{Name: "prefix", Obj: objective.PolicyGradient{}, Coef: 1, Norm: engine.Constant, Denom: 1, Rows: prefixes},
	}, err
}

// Awkward: the sampler leaves logp_old of forced tokens at 0, and only Score under the same weights can fill them: Collect must call Score once
// more. Weight and Mask of Row are apart for exactly this method: masked-out prefix tokens stay in the denominator.
