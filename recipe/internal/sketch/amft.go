package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// AMFT: SFT and GRPO in each step, weighed by mu; mu follows a meta-gradient on held-out loss and the entropy.
type AMFT struct {
	train.Defaults
	RL, SFT, Held train.Method // streams of samples, demonstrations, held-out demonstrations
	EtaMu, EtaH   float64
	Every         int
	Low, High     float64
	TargetEntropy float64
	LearningRate  float64

	state struct{ Mu float64 }
}

func (m *AMFT) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapGradients}}
}
func (m *AMFT) State() any { return &m.state }

func (m *AMFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	return m.RL.Collect(ctx, s)
}

// Streams sends each loss to a buffer of its own; Observe of the loop comes too late to set mu, so it is set here.
func (m *AMFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rl, err := m.RL.Streams(ctx, s, groups)
	if err != nil {
		return nil, err
	}
	if s.Index%m.Every == 0 {
		if err := m.meta(ctx, s, rl); err != nil {
			return nil, err
		}
	}
	demos, err := m.SFT.Collect(ctx, s)
	if err != nil {
		return nil, err
	}
	sft, err := m.SFT.Streams(ctx, s, demos)
	for i := range rl {
		rl[i].Coef *= 1 - m.state.Mu
	}
	for i := range sft {
		sft[i].Coef *= m.state.Mu
	}
	return append(rl, sft...), err
}

// meta: d held / d mu = -lr <grad held at the looked-ahead weights, g_sft - g_rl>.
func (m *AMFT) meta(ctx context.Context, s *train.Step, rl []engine.Stream) error {
	g, err := s.Engine.Gradients()
	if err != nil {
		return err
	}
	err = g.LookAhead(ctx, "step", -m.LearningRate, func() error {
		held, err := m.Held.Collect(ctx, s)
		if err != nil {
			return err
		}
		streams, err := m.Held.Streams(ctx, s, held)
		if err != nil {
			return err
		}
		for i := range streams {
			streams[i].Into = "held"
		}
		b, err := engine.Normalise(streams)
		if err != nil {
			return err
		}
		_, err = s.Engine.Backward(ctx, b)
		return err
	})
	if err != nil {
		return err
	}
	toSFT, err := g.Dot("held", "sft")
	if err != nil {
		return err
	}
	toRL, err := g.Dot("held", "rl")
	m.state.Mu = min(max(m.state.Mu+m.EtaMu*m.LearningRate*(toSFT-toRL), m.Low), m.High)
	return err
}

// Awkward: Streams calls Backward itself, which the seam allows but the loop does not see (tokens forwarded there are not counted). Mended: with
// Gradients.Merge the two buffers become the step's gradient without a second forward pass; Step.GradientMerged tells the loop to step although
// no stream is left.
