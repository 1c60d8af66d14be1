package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// ParallelR1: at <parallel> several paths are sampled from one prefix, put one after the other, summed up, and the text goes on.
type ParallelR1 struct {
	train.Defaults
	Problems, GroupSize, Paths, Blocks int
	Open, Close, PathOpen, PathClose   int32 // tags
	Structured                         bool  // paths do not see each other
	Window, Plain                      int   // steps of a reward window, and of them with the plain reward
	Clip                               objective.ClipRange
}

func (m *ParallelR1) Need() train.Need {
	n := train.Need{Caps: []engine.Capability{engine.CapSample}}
	if m.Structured {
		n.Caps = append(n.Caps, engine.CapHide)
	}
	return n
}

// branch samples paths from a sequence that ends in <parallel> and joins them with masks and positions.
func (m *ParallelR1) branch(ctx context.Context, env *rollout.Env, trunk *engine.Sequence, key engine.Key) (*engine.Sequence, error) {
	open := *trunk
	open.Tokens = append(append([]int32(nil), trunk.Tokens...), m.PathOpen)
	open.Kind = append(append([]engine.Kind(nil), trunk.Kind...), engine.KindInserted)
	p := env.Params
	p.StopIDs = append([]int32{m.PathClose}, p.StopIDs...)
	drawn, err := env.Engine.Sample(ctx, []engine.Prompt{{Seq: &open, N: m.Paths, Params: p, Key: key}})
	if err != nil {
		return nil, err
	}
	joined := *trunk
	var from []int
	for _, path := range drawn[0] {
		from = append(from, len(joined.Tokens))
		at := len(trunk.Tokens)
		joined.Tokens = append(joined.Tokens, path.Tokens[at:]...)
		joined.Kind = append(joined.Kind, path.Kind[at:]...)
		if m.Structured {
			for i := range path.Tokens[at:] {
				joined.Pos = append(joined.Pos, int32(at+i))
			}
		}
	}
	for i := 1; i < len(from) && m.Structured; i++ {
		end := len(joined.Tokens)
		if i+1 < len(from) {
			end = from[i+1]
		}
		joined.Hide = append(joined.Hide, engine.Hide{From: from[i], To: end, KeyFrom: from[0], KeyTo: from[i]})
	}
	return &joined, nil
}

// Solve implements rollout.Solver: training and evaluation branch alike.
func (m *ParallelR1) Solve(ctx context.Context, env *rollout.Env, problems []*task.Problem, n int) ([]*rollout.Group, error) {
	for _, p := range problems {
		seq, err := env.Format.Prompt(p)
		if err != nil {
			return nil, err
		}
		if _, err := m.branch(ctx, env, seq, env.Key.With(p.Key)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (m *ParallelR1) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(m.Problems)
	if err != nil {
		return nil, err
	}
	return m.Solve(ctx, s.Env, problems, m.GroupSize) // the tiered reward reads s.Index
}

func (m *ParallelR1) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "rl", Obj: objective.Clipped{Range: m.Clip}, Coef: 1, Norm: engine.TokenMean, Rows: rollout.SampledRows(groups)}}, nil
}

// Awkward: channels of the parts must be joined like tokens; a helper rollout.Join for that belongs beside Sample. logp_old of what follows a
// structured block must be sampled under the same Hide and Pos, so the sampler needs both, not only Backward. A mask on Tokens counts tokens as
// targets while Hide speaks of them as inputs: the last token of a path is an input of </parallel>; the doc comment of Hide says queries and keys.
