package main

import (
	"fmt"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/train"
)

type benchTrainCmd struct {
	benchFlags
	Shape       string `enum:"0.3M,1.0M,5.4M,15.5M,40M,135M" default:"5.4M" help:"Model: ${enum}."`
	LoRA        bool   `name:"lora" help:"Train an adapter of rank 16 on all projections; the weights stay frozen."`
	Precision   string `enum:"f32,bf16" default:"f32" help:"f32 or bf16."`
	Docs        int    `help:"Sequences a step; 0 = the shape's own."`
	Tokens      int    `help:"Tokens of a sequence; 0 = the shape's own."`
	MicroTokens int    `help:"Tokens forwarded and differentiated together; 0 = the shape's own: 512 for 135M, 4096 for the others."`
	Recompute   bool   `help:"Compute activations again in the backward pass."`
}

func (benchTrainCmd) Help() string {
	return `A training step as hone run takes it: Backward of a batch of new random tokens, clipping, AdamW. Weights are random. Work is 6 x parameters x
tokens (4 x where the weights are frozen under an adapter); parameters are those of the matrices, a tied head once.

  hone bench train --shape 5.4M
  hone bench train --shape 135M --lora --threads 1 --json
  hone bench train --shape 1.0M --time 10s --profile cpu.out && go tool pprof -top cpu.out`
}

const benchRank = 16 // of the adapter

// Run measures the step.
func (c *benchTrainCmd) Run(a *app) error {
	s, err := shapeOf(c.Shape)
	if err != nil {
		return err
	}
	if c.Docs < 0 || c.Tokens < 0 || c.Tokens == 1 || c.Tokens > 1<<20 || c.MicroTokens < 0 {
		return badCallf("--docs %d, --tokens %d, --micro-tokens %d: give positive numbers, 2 to %d tokens", c.Docs, c.Tokens, c.MicroTokens, 1<<20)
	}
	if c.Docs > 0 {
		s.docs = c.Docs
	}
	if c.MicroTokens > 0 {
		s.micro = c.MicroTokens
	}
	if c.Tokens > 0 {
		s.tokens = c.Tokens
	}
	o, err := withPrecision(local.Options{MicroTokens: s.micro, Recompute: c.Recompute}, c.Precision)
	if err != nil {
		return err
	}
	e, err := s.engine(o, c.LoRA)
	if err != nil {
		return err
	}
	b, err := c.begin(a)
	if err != nil {
		return err
	}
	defer b.end()
	b.bf16 = c.Precision == "bf16"
	r, err := b.train(s, e, c)
	if err != nil {
		return err
	}
	return b.print(r)
}

// engine makes the embedded engine on random weights.
func (s benchShape) engine(o local.Options, lora bool) (*local.Engine, error) {
	cfg := s.config
	cfg.MaxPos = max(cfg.MaxPos, s.tokens, o.Context)
	m, err := model.New(cfg, 1)
	if err != nil {
		return nil, err
	}
	if lora {
		if err := m.AddLoRA(model.LoRASpec{Rank: benchRank, Alpha: 2 * benchRank, Seed: 1}); err != nil {
			return nil, err
		}
	}
	return local.New(m, nil, o)
}

func (b *bencher) train(s benchShape, e *local.Engine, c *benchTrainCmd) (benchResult, error) {
	b.lookAtPeak()
	w := engine.Work{Longest: s.tokens, Rows: s.docs}
	if err := e.Fit(b.a.ctx, w); err != nil { // as hone run does before a node's first step
		return benchResult{}, err
	}
	optim := train.DefaultOptim(1e-4)
	step := 0
	seconds, err := b.fastest(func() (time.Duration, error) {
		step++
		return b.timed(func() error { return trainOnce(b, e, s, step, optim.At(optim.LR)) })
	})
	if err != nil {
		return benchResult{}, err
	}
	tokens, each, kind := float64(s.docs*s.tokens), 6.0, "full"
	if c.LoRA {
		each, kind = 4, fmt.Sprintf("LoRA rank %d", benchRank)
	}
	r := benchResult{Case: fmt.Sprintf("train %s %s %s, %d x %d, %s", s.name, kind, c.Precision, s.docs, s.tokens, plural(b.threads, "thread")),
		TokensPerSec: tokens / seconds, GFlops: each * float64(s.params()) * tokens / seconds / 1e9}
	r.work = fmt.Sprintf("work: %.0f x %s parameters x %.0f tokens a step", each, millions(s.params()), tokens)
	if s.micro > 0 {
		r.work += fmt.Sprintf(", micro-batches of %d", s.micro)
	}
	if r.Planned, err = b.plan(e, w); err != nil {
		return r, err
	}
	return b.against(r), nil
}

// trainOnce makes a batch of new random tokens and takes one step on it.
func trainOnce(b *bencher, e *local.Engine, s benchShape, step int, o engine.Optim) error {
	stream := engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean}
	for d := range s.docs {
		seq := s.random(rng.New(1, "bench", uint64(step), uint64(d)), s.tokens)
		mask := make([]bool, s.tokens)
		for t := 1; t < s.tokens; t++ {
			mask[t] = true
		}
		stream.Rows = append(stream.Rows, engine.Row{Seq: seq, Mask: mask})
	}
	batch, err := engine.Normalise([]engine.Stream{stream})
	if err != nil {
		return err
	}
	if _, err := e.Backward(b.a.ctx, batch); err != nil {
		return err
	}
	_, err = e.Step(b.a.ctx, o)
	return err
}

// random returns a sequence of random tokens.
func (s benchShape) random(key rng.Key, tokens int) *engine.Sequence {
	seq := &engine.Sequence{Tokens: make([]int32, tokens)}
	for t := range seq.Tokens {
		seq.Tokens[t] = int32(key.Intn(uint64(t), s.config.Vocab))
	}
	return seq
}
