package recipe

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/train"
)

// Validate implements config's range check.
func (m *SASR) Validate() error {
	switch {
	case !(m.Gamma > 0) || math.IsInf(m.Gamma, 1):
		return &config.FieldError{Field: "gamma", Msg: fmt.Sprintf("%g: want a positive number", m.Gamma)}
	case !(m.Smooth >= 0 && m.Smooth <= 1):
		return &config.FieldError{Field: "smooth", Msg: fmt.Sprintf("%g: want a weight in [0, 1]", m.Smooth)}
	case !(m.Share >= 0 && m.Share <= 1):
		return &config.FieldError{Field: "share", Msg: fmt.Sprintf("%g: want a share in [0, 1]", m.Share)}
	case m.Refresh < 0:
		return &config.FieldError{Field: "refresh", Msg: "want 0 (never) or a positive number of steps"}
	}
	return oneOf("arm", m.Arm, []string{"adaptive", "fixed", "cosine", "switch"})
}

// SASRConfig are the settings of `hone run sasr`: a warm-up on the demonstrations of sft, then the mixture. Each has an optimiser of its own;
// within the mixture SFT and GRPO share one learning rate and one Adam state.
type SASRConfig struct {
	train.Common `yaml:",inline"`
	Warmup       Stage `yaml:"warmup"`
	Mix          Stage `yaml:"mix"`
	SASR         `yaml:",inline"`
}

// Stage is how long a stage is and how it is optimised.
type Stage struct {
	Steps int         `yaml:"steps" help:"optimiser updates; 0 = leave the stage out, where another follows"`
	Optim train.Optim `yaml:",inline"`
}

// Shared implements Config.
func (c *SASRConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *SASRConfig) EvalTask() string { return c.GRPO.Task }

// Plan implements Config.
func (c *SASRConfig) Plan(b *Build) (train.Plan, error) {
	warm := c.SFT
	sft, err := warm.node(b, "warmup", c.Warmup.Steps, c.Warmup.Optim)
	if err != nil {
		return train.Plan{}, err
	}
	mix, err := c.GRPO.node(b, "mix", c.Mix.Steps, 1, 1, c.Mix.Optim)
	if err != nil {
		return train.Plan{}, err
	}
	c.SFT, c.skip = warm, c.Warmup.Steps
	mix.Method = &c.SASR
	p := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	if c.Warmup.Steps > 0 {
		p.Nodes = append(p.Nodes, sft)
	}
	p.Nodes = append(p.Nodes, mix)
	return p, nil
}
