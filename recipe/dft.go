package recipe

import (
	"context"
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// DFT: dynamic fine-tuning (Wu et al. 2025, arXiv 2508.05629, equation 9).
//
// Supervised fine-tuning is a policy gradient whose implicit reward is 1/p of the demonstrated token: rare tokens pull without bound. DFT takes
// that out by weighting each token by its own probability, held constant:
//
//	loss = - sum_t sg(p_t) log p_t / demonstrated tokens of the step,   p_t = p(token t)
//
// Left out: nothing; the paper has no other part. Power generalises the weight to p_t^Power, so that 0 is supervised fine-tuning.
type DFT struct {
	SFT   `yaml:",inline"`
	Power float64 `yaml:"power" help:"tokens are weighted by their probability to this power; 0 = plain supervised fine-tuning"`
}

// Streams weights every demonstrated token by its own probability.
func (m *DFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := m.SFT.Streams(ctx, s, groups)
	if m.Power != 0 {
		streams[0].Obj = selfWeighted{m.Power}
	}
	return streams, err
}

// selfWeighted is loss = -sum w_t sg(p_t^power) lp_t.
type selfWeighted struct{ power float64 }

func (selfWeighted) Name() string        { return "self_weighted_cross_entropy" }
func (selfWeighted) Scope() engine.Scope { return engine.ScopeToken }
func (selfWeighted) Needs() engine.Want  { return engine.Want{} }

func (o selfWeighted) Eval(views []engine.View, tally *engine.Tally) float64 {
	return o.EvalHeld(views, views, tally)
}

// Holds and EvalHeld implement objective.Held: the weight is read from held, so that differences show what Eval derives.
func (selfWeighted) Holds() bool { return true }

func (o selfWeighted) EvalHeld(views, held []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		for t := v.From; t < v.To; t++ {
			w := v.Row.WeightAt(t)
			if w == 0 {
				continue
			}
			lp := float64(v.LogProb[t-v.From])
			p := math.Exp(o.power * float64(held[i].LogProb[t-v.From]))
			loss -= w * v.Row.Scale * p * lp
			v.DLogProb[t-v.From] -= w * v.Row.Scale * p
			tally.Add("weight", p, w)
		}
	}
	return loss
}

// DFTConfig are the settings of `hone run dft`.
type DFTConfig struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps" help:"optimiser updates"`
	Optim        train.Optim `yaml:",inline"`
	DFT          `yaml:",inline"`
}

// Shared implements Config.
func (c *DFTConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *DFTConfig) EvalTask() string { return taskOf(c.Data.Path) }

// Plan implements Config.
func (c *DFTConfig) Plan(b *Build) (train.Plan, error) {
	n, err := c.SFT.node(b, "dft", c.Steps, c.Optim)
	n.Method = &c.DFT
	return train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}, n}}, err
}

func init() {
	Register(Paper{Name: "dft", Title: "On the Generalization of SFT: A Reinforcement Learning Perspective with Reward Rectification", ArXiv: "2508.05629",
		Org: "Southeast University and others", Date: "2025-08-07", About: "SFT with each token weighted by its own probability",
		Quick: []string{"steps=6", "rows=40", "batch=4"}, Reduces: []Reduction{{With: []string{"power=0"}, To: "sft"}},
		Config: func() Config {
			return &DFTConfig{Common: train.DefaultCommon(), Steps: 600, Optim: train.DefaultOptim(1e-3), DFT: DFT{SFT: defaultSFT(), Power: 1}}
		}})
}
