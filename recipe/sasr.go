package recipe

import (
	"context"
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// SASR: step-wise adaptive integration of supervised and reinforcement fine-tuning (2025, arXiv 2505.13026).
//
// After a supervised warm-up every step is an SFT step or a GRPO step by chance, and the chance of SFT follows the size of its gradient:
//
//	p_t = G_last / (G_last + gamma G_warm),   G = || grad L_SFT ||_2 before clipping
//
// G_warm is the norm at the end of the warm-up and G_last that of the latest SFT step; both are of the same reduction and batch size. GRPO's
// reference model is the end of the warm-up. Reconstructed: the expression of p_t, and all numbers. Left out: several updates a step.
type SASR struct {
	Arm     string  `yaml:"arm" help:"adaptive; or fixed, cosine, switch: the same mean share of SFT steps without the feedback"`
	Gamma   float64 `yaml:"gamma" help:"adaptive: large = more GRPO; the first chance of SFT is 1/(1+gamma)"`
	Smooth  float64 `yaml:"smooth" help:"adaptive: weight of the old norm when a new one comes; 0 = the paper's, 1 = never changes"`
	Refresh int     `yaml:"refresh" help:"adaptive: steps without SFT before the norm is measured without an update; 0 = never (the paper's)"`
	Share   float64 `yaml:"share" help:"fixed, cosine, switch: mean share of SFT steps"`
	SFT     SFT     `yaml:"sft"`
	GRPO    GRPO    `yaml:"grpo"`

	train.Defaults `yaml:"-"`
	skip           int // batches of demonstrations that are the warm-up's, used or not
	state          sasrState
}

type sasrState struct {
	Warm, Last float64  // gradient norms
	Age        int      // steps since Last was measured
	Demos      int      // SFT steps so far: the rows of RL steps are not skipped
	Imitate    bool     // the current step is SFT
	Valid      sftState // what early stopping remembers
}

// State is the controller.
func (m *SASR) State() any { return &m.state }

// Need is GRPO's, and a gradient that is only measured.
func (m *SASR) Need() train.Need {
	n := m.GRPO.Need()
	if m.Arm == "adaptive" {
		n.Caps = append(n.Caps, engine.CapGradients)
	}
	return n
}

// Prepare measures G_warm where the warm-up has ended; a resume brings it in the state.
func (m *SASR) Prepare(ctx context.Context, s *train.Step) error {
	if s.Index > 0 || m.Arm != "adaptive" {
		return nil
	}
	norm, err := m.measure(ctx, s)
	m.state = sasrState{Warm: norm, Last: norm}
	return err
}

// measure returns the norm of the SFT gradient on the next rows and changes nothing.
func (m *SASR) measure(ctx context.Context, s *train.Step) (float64, error) {
	const buffer = "measured"
	groups, err := m.demos(ctx, s)
	if err != nil {
		return 0, err
	}
	streams, err := m.SFT.Streams(ctx, s, groups)
	if err != nil {
		return 0, err
	}
	streams[0].Into = buffer
	batch, err := engine.Normalise(streams)
	if err != nil {
		return 0, err
	}
	if _, err = s.Engine.Backward(ctx, batch); err != nil {
		return 0, err
	}
	g, err := s.Engine.Gradients()
	if err != nil {
		return 0, err
	}
	norm, err := g.Norm(buffer)
	if err != nil {
		return 0, err
	}
	return norm, g.Clear(buffer)
}

// demos takes the rows that follow the last SFT step's.
func (m *SASR) demos(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	at := *s
	at.Index = m.skip + m.state.Demos
	return m.SFT.Collect(ctx, &at)
}

// chance is p_t of the step at index of so many.
func (m *SASR) chance(index, steps int) float64 {
	switch {
	case m.Arm == "adaptive":
		if m.state.Last == 0 { // nothing is left to imitate
			return 0
		}
		return m.state.Last / (m.state.Last + m.Gamma*m.state.Warm)
	case m.Arm == "cosine": // falls from 2 share to 0, or from 1 to 2 share - 1: its mean is share
		c := math.Cos(math.Pi * float64(index) / float64(steps))
		if m.Share <= 0.5 {
			return m.Share * (1 + c)
		}
		return 1 - (1-m.Share)*(1-c)
	case m.Arm == "switch" && index < wholeSteps(m.Share, steps), // one switch
		m.Arm == "fixed" && wholeSteps(m.Share, index+1) > wholeSteps(m.Share, index): // evenly spread
		return 1
	}
	return 0
}

// wholeSteps is a share of steps: 17/49 of 49 are 17, although the product may round to less.
func wholeSteps(share float64, steps int) int { return int(share*float64(steps) + 1e-9) }

// imitates draws from a key of its own, so that what is sampled cannot change the choice.
func imitates(seed uint64, index int, p float64) bool {
	return engine.NewKey(seed, "imitate", uint64(index)).Float64(0) < p
}

// Collect chooses the step's kind.
func (m *SASR) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	if m.Arm == "adaptive" && m.Refresh > 0 && m.state.Age >= m.Refresh {
		norm, err := m.measure(ctx, s)
		if err != nil {
			return nil, err
		}
		m.seen(norm)
	}
	p := m.chance(s.Index, s.Node.Steps)
	m.state.Imitate = imitates(s.Seed, s.Index, p)
	s.Note("sft_chance", p)
	s.Note("sft_norm", m.state.Last)
	s.Note("sft_norm_age", float64(m.state.Age))
	m.state.Age++
	if !m.state.Imitate {
		s.Note("sft_step", 0)
		return m.GRPO.Collect(ctx, s)
	}
	s.Note("sft_step", 1)
	groups, err := m.demos(ctx, s)
	m.state.Demos++
	return groups, err
}

func (m *SASR) seen(norm float64) {
	m.state.Last = m.Smooth*m.state.Last + (1-m.Smooth)*norm
	m.state.Age = 0
}

// Streams is the loss of the step's kind.
func (m *SASR) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	if m.state.Imitate {
		return m.SFT.Streams(ctx, s, groups)
	}
	return m.GRPO.Streams(ctx, s, groups)
}

// Observe keeps the norm of an SFT step's gradient as it was before clipping.
func (m *SASR) Observe(ctx context.Context, s *train.Step, u engine.Update) (train.Signal, error) {
	if m.state.Imitate {
		m.seen(u.Norm)
	}
	m.SFT.state = m.state.Valid
	signal, err := m.SFT.Observe(ctx, s, u)
	m.state.Valid = m.SFT.state
	return signal, err
}

func init() {
	quick := []string{"warmup.steps=3", "mix.steps=6", "sft.rows=40", "sft.batch=4", "grpo.problems=3", "grpo.group_size=4", "grpo.max_tokens=8", "grpo.overlong=7", "grpo.temperature=1.5"}
	Register(Paper{Name: "sasr", Title: "Step-wise Adaptive Integration of Supervised Fine-tuning and Reinforcement Learning for Task-Specific LLMs", ArXiv: "2505.13026",
		Org: "Shanghai Jiao Tong University", Date: "2025-05-19", About: "each step is SFT or GRPO by chance, after the size of the SFT gradient", OnPolicy: true, Quick: quick,
		Reduces: []Reduction{
			{With: []string{"warmup.steps=0", "gamma=1e-300", "mix.lr=1e-3"}, To: "sft"},
			{With: []string{"warmup.steps=0", "gamma=1e300"}, To: "grpo"},
			{With: []string{"warmup.steps=4", "mix.steps=4", "gamma=1e300"}, To: "warmup-grpo"}},
		Claim: sasrClaim, Config: func() Config {
			c := &SASRConfig{Common: train.DefaultCommon(), Warmup: Stage{50, train.DefaultOptim(1e-3)}, Mix: Stage{250, train.DefaultOptim(1e-4)},
				SASR: SASR{Arm: "adaptive", Gamma: 1, Share: 0.5, SFT: defaultSFT(), GRPO: defaultGRPO()}}
			c.SFT.Data.Rows = 1000
			return c
		}})
}
