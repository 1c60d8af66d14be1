package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// DeepResearch (a survey's default line): multi-turn tool episodes; observations never trained; credit by turn and by outcome.
type DeepResearch struct {
	train.Defaults
	Problems, GroupSize, Turns int
	Lambda                     float64 // weight of the outcome in a tool turn's advantage
	Clip                       objective.ClipRange
	tools                      func(ctx context.Context, p *task.Problem, call string) (observation string, done bool, err error)
	encode                     func(text string) []int32
}

func (m *DeepResearch) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample}}
}

// turn appends an observation to a sampled sequence and marks the turn; tokens are never decoded and encoded again.
func (m *DeepResearch) turn(seq *engine.Sequence, number int, observation string) {
	from := len(seq.Tokens)
	for _, id := range m.encode(observation) {
		seq.Tokens, seq.Kind = append(seq.Tokens, id), append(seq.Kind, engine.KindObserved)
	}
	seq.Spans = append(seq.Spans, engine.Span{From: from, To: len(seq.Tokens), Turn: number, Name: "observation"})
}

func (m *DeepResearch) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(m.Problems)
	if err != nil {
		return nil, err
	}
	groups, err := rollout.Sample{}.Solve(ctx, s.Env, problems, m.GroupSize) // first turn
	if err != nil {
		return nil, err
	}
	for n := 1; n < m.Turns; n++ {
		for _, e := range rollout.Episodes(groups) {
			seq := e.Segs[len(e.Segs)-1]
			observation, done, err := m.tools(ctx, e.Problem, e.Text)
			if err != nil {
				return nil, err
			}
			if !done {
				m.turn(seq, n, observation)
			}
		}
	}
	return groups, nil
}

func (m *DeepResearch) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "rl", Obj: objective.Clipped{Range: m.Clip}, Coef: 1, Norm: engine.TokenMean, Rows: rollout.SampledRows(groups)}}, nil
}

// Awkward: channels must grow with the tokens when a turn is appended: a method Sequence.Append(ids, kind) that extends every channel would keep
// them in step (now each caller must). Grades have terms by turn, but FillAdvantage is by episode: the turn form belongs beside it in rollout.
