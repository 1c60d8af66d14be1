package nano

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/token"
)

// Pretraining are the settings that made the embedded weights.
type Pretraining struct {
	Seed  uint64
	Steps int
	Rows  int // rows of RowTokens tokens a step
	LR    float64
}

// Default gives the embedded weights.
func Default() Pretraining { return Pretraining{Seed: 1, Steps: 2500, Rows: 16, LR: 2e-3} }

// Pretrain trains the nano model from random weights on the corpus, every token counted, AdamW with a cosine schedule. observe is called after each step.
func Pretrain(ctx context.Context, p Pretraining, observe func(step int, loss float64)) (*model.Model, error) {
	m, err := model.New(Config(), p.Seed)
	if err != nil {
		return nil, err
	}
	e, err := local.New(m, token.Bytes(), local.Options{})
	if err != nil {
		return nil, err
	}
	schedule := tensor.Schedule{Kind: "cosine", LR: p.LR, MinLR: p.LR / 20, Warmup: min(50, p.Steps), Total: p.Steps}
	for step := range p.Steps {
		rows := make([]engine.Row, p.Rows)
		for r := range rows {
			s := Row(p.Seed, step*p.Rows+r)
			mask := make([]bool, RowTokens)
			for t := 1; t < RowTokens; t++ {
				mask[t] = true
			}
			rows[r] = engine.Row{Seq: s, Mask: mask}
		}
		batch, err := engine.Normalise([]engine.Stream{{Name: "corpus", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean, Rows: rows}})
		if err != nil {
			return nil, err
		}
		stats, err := e.Backward(ctx, batch)
		if err != nil {
			return nil, fmt.Errorf("pretraining step %d: %w", step, err)
		}
		if _, err := e.Step(ctx, engine.Optim{LR: schedule.At(step), Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, Clip: 1}); err != nil {
			return nil, err
		}
		observe(step+1, stats.Loss())
	}
	return m, nil
}
