package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// ConMax (confidence-maximising compression): a compressor rewrites a verbose trace; the reward is how likely a frozen model finds the answer and the trace.
type ConMax struct {
	train.Defaults
	Problems, GroupSize int
	Beta                float64 // weight of the trace's likelihood
	Clip                objective.ClipRange
	phi                 confidence
}

func (m *ConMax) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample}, Frozen: []string{"start"}}
}

func (m *ConMax) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(m.Problems)
	if err != nil {
		return nil, err
	}
	env := *s.Env
	env.Grader = m.phi
	groups, err := rollout.Sample{}.Solve(ctx, &env, problems, m.GroupSize)
	if err == nil {
		_, err = rollout.FillAdvantage(groups, objective.MeanStd, objective.AdvantageEps)
	}
	return groups, err
}

func (m *ConMax) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "rl", Obj: objective.Clipped{Range: m.Clip}, Coef: 1, Norm: engine.TokenMean, Rows: rollout.SampledRows(groups)}}, nil
}

// confidence grades by mean log-probs under a frozen model of two sequences made from the sampled tokens.
type confidence struct {
	phi    engine.Frozen
	answer func(e *reward.Episode) *engine.Sequence // question, sampled trace, answer (Forced)
	trace  func(e *reward.Episode) *engine.Sequence // question, sampled trace (Forced)
	beta   float64
}

func (confidence) Name() string { return "confidence" }

func (c confidence) Grade(ctx context.Context, groups []*reward.Group) error {
	for _, e := range rollout.Episodes(groups) {
		scores, err := c.phi.Score(ctx, []*engine.Sequence{c.answer(e), c.trace(e)}, engine.Want{})
		if err != nil {
			return err
		}
		e.Grade.Score = mean(scores[0].LogProb) + c.beta*mean(scores[1].LogProb)
	}
	return nil
}

func mean(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	return sum / float64(len(x))
}

// Awkward: a grader that needs a frozen model gets it when it is made, but the model is made at the node's start: Prepare must join the two. A frozen
// model of another shape needs Need to say where it comes from (Open): Need.Frozen only has names, so a method calls Engine.Open in Prepare.
