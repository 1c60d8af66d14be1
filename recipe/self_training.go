package recipe

import (
	"context"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// RejectionSampling makes rows for supervised fine-tuning (Zelikman et al. 2022, arXiv 2203.14465; Yuan et al. 2023, arXiv 2308.01825): every
// question of the demonstrations is asked Samples times, once over, and the answers stay that are right and differ from each other and from the
// demonstration. The demonstrations come first.
type RejectionSampling struct {
	SFT      SFT `yaml:"sft"` // whose rows are the demonstrations
	Problems int `yaml:"problems"`
	Samples  int `yaml:"samples"`

	train.Defaults `yaml:"-"`
	questions      int // in all
}

// Need asks for samples.
func (m *RejectionSampling) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapTemperature}}
}

// Extent implements train.Sized.
func (m *RejectionSampling) Extent() train.Extent {
	return train.Extent{Rows: m.Problems * m.Samples}
}

// Collect asks the next questions; the last step may have fewer of them.
func (m *RejectionSampling) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(min(m.Problems, m.questions-s.Index*m.Problems))
	if err != nil {
		return nil, err
	}
	return rollout.Sample{}.Solve(ctx, s.Env, problems, m.Samples)
}

// Streams is not asked for in a build node.
func (m *RejectionSampling) Streams(context.Context, *train.Step, []*rollout.Group) ([]engine.Stream, error) {
	return nil, nil
}

// keep is the node's train.Keep. Demonstrations that are held out for a validation loss are among its rows: whoever learns these holds them out
// again, since that is decided by the question.
func (m *RejectionSampling) keep(s *train.Step, groups []*rollout.Group) ([]*engine.Sequence, error) {
	var out []*engine.Sequence
	if s.Index == 0 {
		out = append(append(out, m.SFT.rows...), m.SFT.held...)
	}
	for _, g := range groups {
		seen := map[string]bool{}
		for _, d := range m.SFT.rows {
			if d.ID.Problem == g.Key {
				seen[spaced(s.Format.Tok.Decode(answerIDs(d, nil), true))] = true
			}
		}
		for _, e := range g.Episodes {
			if text := spaced(e.Text); learnable(e) && !seen[text] {
				seen[text] = true
				out = append(out, rollout.AsDemo(e.Segs[0]))
			}
		}
	}
	return out, nil
}

// learnable answers are right and ended by themselves: one that was cut off would teach never to end.
func learnable(e *rollout.Episode) bool {
	return e.Grade.Verdict == task.Correct && rollout.Ended(e.Segs[0])
}

// spaced writes a text with single spaces, so that answers that differ in spaces alone are the same.
func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }

// node makes the stage that asks list, whose demonstrations m.SFT holds.
func (m *RejectionSampling) node(name string, t task.Task, list []*task.Problem, p engine.Params) train.Node {
	m.questions = len(list)
	steps := (len(list) + m.Problems - 1) / m.Problems
	return train.Node{Name: name, Kind: train.Build, Method: m, Steps: steps, Source: inOrder(list), Grader: t, Params: p, Keep: m.keep}
}

// SelfTraining answers questions with the current model and learns the right answers beside the questions' demonstrations:
//
//	loss = Share CE(right answers) + (1 - Share) CE(demonstrations)
//
// each normalised as SFT says. Wrong answers teach nothing. Without a right answer the step is (1 - Share) of an SFT step.
type SelfTraining struct {
	SFT       SFT     `yaml:"sft"` // whose rows are the demonstrations
	Problems  int     `yaml:"problems"`
	GroupSize int     `yaml:"group_size"`
	Share     float64 `yaml:"share"`

	train.Defaults `yaml:"-"`
}

// Need asks for samples.
func (m *SelfTraining) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapTemperature}}
}

// Extent implements train.Sized.
func (m *SelfTraining) Extent() train.Extent {
	e := m.SFT.Extent()
	e.Rows = m.Problems * (m.GroupSize + 1)
	return e
}

// Collect samples.
func (m *SelfTraining) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	problems, err := s.Problems(m.Problems)
	if err != nil {
		return nil, err
	}
	return rollout.Sample{}.Solve(ctx, s.Env, problems, m.GroupSize)
}

// Streams are the two cross-entropies.
func (m *SelfTraining) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	var right, demos []*rollout.Group
	for _, g := range groups {
		r, d := &rollout.Group{Key: g.Key}, &rollout.Group{Key: g.Key}
		for _, e := range g.Episodes {
			if learnable(e) {
				r.Episodes = append(r.Episodes, e)
			}
		}
		for _, row := range m.SFT.rows {
			if row.ID.Problem == g.Key {
				d.Episodes = append(d.Episodes, &rollout.Episode{Segs: []*engine.Sequence{row}})
			}
		}
		right, demos = append(right, r), append(demos, d)
	}
	self := engine.Stream{Name: "self", Obj: objective.CrossEntropy{}, Coef: m.Share, Norm: engine.Norm(m.SFT.Norm), Rows: rollout.KindRows(right, engine.KindSampled)}
	sft := self
	sft.Name, sft.Coef, sft.Rows = "sft", 1-m.Share, rollout.DemoRows(demos)
	return []engine.Stream{self, sft}, nil
}
