package recipe

import (
	"fmt"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/train"
)

// Validate implements config's range check.
func (m *CurioSFT) Validate() error {
	for _, c := range []struct {
		field string
		got   float64
		ok    bool
		want  string
	}{
		{"alpha", m.Alpha, m.Alpha >= 0, "a weight of at least 0"},
		{"tau", m.Tau, m.Tau == 0 || m.Tau >= 0.05 && m.Tau <= 100, "0 (chosen by entropy) or a temperature in [0.05, 100]"},
		{"tau_low", m.TauLow, m.TauLow >= 0.05, "a temperature of at least 0.05"},
		{"tau_high", m.TauHigh, m.TauHigh >= m.TauLow && m.TauHigh <= 100, "a temperature in [tau_low, 100]"},
		{"pivot", m.Pivot, m.Pivot >= 0, "0 (measured) or a positive entropy in nats"},
		{"top_k", float64(m.TopK), m.TopK == 0 || m.TopK >= 2, "0 (all) or at least 2 tokens"},
		{"sync", float64(m.Sync), m.Sync >= 1, "at least one update"},
		{"share", m.Share, m.Share >= 0 && m.Share <= 1, "a share in [0, 1]"},
		{"entropy", m.Entropy, m.Entropy >= 0, "a weight of at least 0"},
		{"entropy_top", m.EntropyTop, m.EntropyTop > 0 && m.EntropyTop <= 1, "a share in (0, 1]"},
	} {
		if !c.ok || c.got-c.got != 0 { // infinite numbers are out of every range
			return &config.FieldError{Field: c.field, Msg: fmt.Sprintf("%g: want %s", c.got, c.want)}
		}
	}
	if err := oneOf("divergence", m.Divergence, []string{"k2", "kl"}); err != nil {
		return err
	}
	return m.SFT.Validate()
}

// CurioSFTConfig are the settings of `hone run curiosft`: a warm-up on the demonstrations of sft, which goes on where it
// is planned to end, and GRPO.
type CurioSFTConfig struct {
	train.Common `yaml:",inline"`
	Warmup       Stage      `yaml:"warmup"`
	SFT          CurioStage `yaml:"sft"`
	GRPO         GRPOStage  `yaml:"grpo"`
}

// CurioStage is the supervised stage.
type CurioStage struct {
	Steps    int         `yaml:"steps"`
	Optim    train.Optim `yaml:",inline"`
	CurioSFT `yaml:",inline"`
}

// Shared implements Config.
func (c *CurioSFTConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *CurioSFTConfig) EvalTask() string { return c.GRPO.Task }

// Plan implements Config. A stage of 0 steps is left out.
func (c *CurioSFTConfig) Plan(b *Build) (train.Plan, error) {
	plan := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	warm := c.SFT.CurioSFT.SFT
	first, err := warm.node(b, "warmup", c.Warmup.Steps, c.Warmup.Optim)
	if err != nil {
		return plan, err
	}
	if c.Warmup.Steps > 0 {
		plan.Nodes = append(plan.Nodes, first)
	}
	c.SFT.CurioSFT.SFT, c.SFT.skip = warm, c.Warmup.Steps // as planned, wherever patience ends it
	if c.SFT.Steps > 0 {
		plan.Nodes = append(plan.Nodes, train.Node{Name: "sft", Kind: train.Train, Method: &c.SFT.CurioSFT, Steps: c.SFT.Steps, Optim: c.SFT.Optim})
	}
	if c.GRPO.Steps > 0 {
		grpo, err := c.GRPO.GRPO.node(b, "grpo", c.GRPO.Steps, c.GRPO.Passes, c.GRPO.Minibatches, c.GRPO.Optim)
		if err != nil {
			return plan, err
		}
		plan.Nodes = append(plan.Nodes, grpo)
	}
	return plan, nil
}
