// Command recipe registers a recipe of its own and trains with it: supervised fine-tuning with the focal loss (Lin et al. 2017, arXiv
// 1708.02002, equation 4), which turns away from tokens that the model already finds likely.
//
//	loss = - sum_t (1 - p_t)^gamma log p_t / demonstrated tokens of the step,   p_t = p(token t)
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// Focal is the method: demonstrations as in SFT, another loss.
type Focal struct {
	recipe.SFT `yaml:",inline"`
	Gamma      float64 `yaml:"gamma" help:"0 = plain supervised fine-tuning"`
}

// Streams implements train.Method.
func (m *Focal) Streams(_ context.Context, _ *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "sft", Obj: focalLoss{m.Gamma}, Coef: 1, Norm: engine.TokenMean, Rows: rollout.DemoRows(groups)}}, nil
}

type focalLoss struct{ gamma float64 }

func (focalLoss) Name() string        { return "focal" }
func (focalLoss) Scope() engine.Scope { return engine.ScopeToken }
func (focalLoss) Needs() engine.Want  { return engine.Want{} }
func (f focalLoss) Eval(views []engine.View, _ *engine.Tally) (loss float64) {
	for _, v := range views {
		for t := v.From; t < v.To; t++ {
			w, lp := v.Row.WeightAt(t)*v.Row.Scale, float64(v.LogProb[t-v.From])
			p, q := math.Exp(lp), -math.Expm1(lp) // probability of the token and of all others
			loss -= w * math.Pow(q, f.gamma) * lp
			slope := math.Pow(q, f.gamma)
			if f.gamma != 0 && q > 0 {
				slope -= f.gamma * math.Pow(q, f.gamma-1) * p * lp
			}
			v.DLogProb[t-v.From] -= w * slope
		}
	}
	return loss
}

type config struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps"`
	Optim        train.Optim `yaml:",inline"`
	Focal        `yaml:",inline"`
}

func (c *config) Shared() *train.Common { return &c.Common }
func (c *config) EvalTask() string      { return c.Data.Path }
func (c *config) Plan(b *recipe.Build) (train.Plan, error) {
	n, err := recipe.SFTNode(b, &c.SFT, &c.Focal, "focal", c.Steps, c.Optim)
	return train.Plan{Nodes: []train.Node{n}}, err
}

func main() {
	recipe.Register(recipe.Paper{Name: "focal", Title: "Focal loss", ArXiv: "1708.02002", About: "less weight on what is already likely", Config: func() recipe.Config {
		return &config{Common: train.DefaultCommon(), Steps: 40, Optim: train.DefaultOptim(1e-3), Focal: Focal{SFT: recipe.DefaultSFT(), Gamma: 1}}
	}})
	r, err := recipe.Train(context.Background(), "focal", append([]string{"rows=200", "eval.problems=50"}, os.Args[1:]...), os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("trained:", r.Dir)
}
