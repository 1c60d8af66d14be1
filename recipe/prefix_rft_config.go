package recipe

import (
	"fmt"
	"slices"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// Validate implements config's range check.
func (m *PrefixRFT) Validate() error {
	switch {
	case !(m.Low >= 0 && m.Low <= m.High && m.High <= 1):
		return &config.FieldError{Field: "low", Msg: fmt.Sprintf("%g and high %g: want 0 <= low <= high <= 1", m.Low, m.High)}
	case !(m.Keep >= 0 && m.Keep <= 1):
		return &config.FieldError{Field: "keep", Msg: fmt.Sprintf("%g: want a share in [0, 1]", m.Keep)}
	case !(m.Demos >= 0 && m.Demos <= 1):
		return &config.FieldError{Field: "demos", Msg: fmt.Sprintf("%g: want a share in [0, 1]", m.Demos)}
	case m.Horizon < 0 || m.MinPrefix < 0:
		return &config.FieldError{Field: "horizon", Msg: "want horizon and min_prefix of at least 0"}
	case !(m.Static >= 0) || !(m.SFTCoef >= 0):
		return &config.FieldError{Field: "static", Msg: "want static and sft_coef of at least 0"}
	case m.Filter != "none":
		return &config.FieldError{Field: "filter", Msg: "hybrids are not drawn again: want none"}
	case m.Length != "none" && m.GroupSize < 3:
		return &config.FieldError{Field: "group_size", Msg: "want at least 3: two ordinary answers and the hybrid"}
	}
	for _, c := range []struct {
		field, got string
		want       []string
	}{{"length", m.Length, []string{"cosine", "uniform", "none"}}, {"train", m.Train, []string{"advantage", "static", "frozen"}},
		{"order", m.Order, []string{"top", "bottom", "random"}}, {"norm", m.Norm, []string{"constant", "token_mean"}}} {
		if !slices.Contains(c.want, c.got) {
			return oneOf(c.field, c.got, c.want)
		}
	}
	return nil
}

// PrefixRFTConfig are the settings of `hone run prefix-rft`: a supervised warm-up, which may be left out or be all there is, and the method.
type PrefixRFTConfig struct {
	train.Common `yaml:",inline"`
	SFT          SFTStage       `yaml:"sft"`
	RL           PrefixRFTStage `yaml:"rl"`
}

// PrefixRFTStage is the method as a stage.
type PrefixRFTStage struct {
	Steps       int         `yaml:"steps" help:"steps of sampling; 0 = none, where sft has some"`
	Passes      int         `yaml:"passes" help:"times each step's answers are used"`
	Minibatches int         `yaml:"minibatches" help:"updates a pass"`
	Optim       train.Optim `yaml:",inline"`
	PrefixRFT   `yaml:",inline"`
}

// Shared implements Config.
func (c *PrefixRFTConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *PrefixRFTConfig) EvalTask() string { return c.RL.Task }

// Plan implements Config.
func (c *PrefixRFTConfig) Plan(b *Build) (train.Plan, error) {
	p := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	if c.SFT.Steps > 0 {
		n, err := c.SFT.SFT.node(b, "sft", c.SFT.Steps, c.SFT.Optim)
		if err != nil {
			return p, err
		}
		p.Nodes = append(p.Nodes, n)
	}
	if c.RL.Steps > 0 {
		r := &c.RL
		n, err := r.GRPO.node(b, "rl", r.Steps, r.Passes, r.Minibatches, r.Optim)
		if err == nil {
			r.demo, err = b.Expert(r.Task, task.Form(r.Form))
		}
		if err != nil {
			return p, err
		}
		n.Method = &r.PrefixRFT
		p.Nodes = append(p.Nodes, n)
	}
	if len(p.Nodes) == 1 {
		return p, fmt.Errorf("prefix-rft: sft.steps and rl.steps are both 0: give one of the stages steps")
	}
	return p, nil
}
