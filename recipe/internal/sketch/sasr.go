package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// SASR (arXiv 2505.13026): after a warm-up each step is SFT or GRPO by chance; the chance of SFT follows the size of the SFT gradient.
type SASR struct {
	train.Defaults
	Gamma     float64
	Warmup    int
	SFT, GRPO train.Method

	state sasrState
}

type sasrState struct {
	Warm, Last float64 // gradient norms before clipping
	SFT        bool    // kind of the current step
}

func (m *SASR) Need() train.Need { return m.GRPO.Need() }
func (m *SASR) State() any       { return &m.state }

func (m *SASR) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	p := 1.0
	if s.Index >= m.Warmup {
		p = m.state.Last / (m.state.Last + m.Gamma*m.state.Warm)
	}
	s.Note("sft_chance", p)
	m.state.SFT = engine.NewKey(s.Seed, "sasr", uint64(s.Index)).Float64(0) < p
	return m.now().Collect(ctx, s)
}

func (m *SASR) now() train.Method {
	if m.state.SFT {
		return m.SFT
	}
	return m.GRPO
}

func (m *SASR) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return m.now().Streams(ctx, s, groups)
}

func (m *SASR) Observe(ctx context.Context, s *train.Step, u engine.Update) (train.Signal, error) {
	if m.state.SFT {
		m.state.Last = u.Norm
		if s.Index+1 == m.Warmup {
			m.state.Warm = u.Norm
		}
	}
	return train.Continue, nil
}

// Awkward: nothing much: Update.Norm is before clipping, State is saved, the draw has a key of its own. SFT as written counts rows by s.Index,
// so inside SASR it would skip the rows of RL steps: a method that is part of another needs its own cursor in State.
