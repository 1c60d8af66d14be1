package main

import (
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// benchModel is the model whose training speed the project promises.
var benchModel = model.Config{Family: model.Llama, Vocab: 512, Hidden: 256, Inner: 768, Layers: 6, Heads: 8, MaxPos: 512, NormEps: 1e-5, RopeTheta: 10000, Tied: true}

const (
	benchDocs      = 16
	benchDocTokens = 256
)

// trainStep is one training step on a packed batch: mean cross-entropy, clipping, AdamW.
type trainStep struct {
	m      *model.Model
	tape   *tensor.Tape
	head   tensor.Head
	opt    *tensor.AdamW
	in     model.Input
	rows   tensor.HeadRows
	weight float32
}

func newTrainStep() (*trainStep, error) {
	m, err := model.New(benchModel, 1)
	if err != nil {
		return nil, err
	}
	if err := m.Train(); err != nil {
		return nil, err
	}
	s := &trainStep{m: m, tape: tensor.NewTape(), head: tensor.Head{W: m.HeadWeight()}}
	var group tensor.ParamGroup
	for _, p := range m.Params() {
		group.Params = append(group.Params, p.Tensor)
	}
	s.opt = tensor.NewAdamW(group)
	for d := range benchDocs {
		s.in.Docs = append(s.in.Docs, tensor.Doc{From: d * benchDocTokens, To: (d + 1) * benchDocTokens})
		for t := range benchDocTokens {
			i := d*benchDocTokens + t
			s.in.Tokens = append(s.in.Tokens, int32((i*7919+t*t)%benchModel.Vocab))
			if t > 0 {
				s.rows.Row = append(s.rows.Row, int32(i-1))
				s.rows.Target = append(s.rows.Target, s.in.Tokens[i])
			}
		}
	}
	s.weight = -1 / float32(len(s.rows.Row))
	return s, nil
}

func (s *trainStep) run() error {
	s.tape.Reset()
	hidden := s.m.Forward(s.tape, &s.in)
	s.head.Fused(hidden, s.rows, s.tape.GradOf(hidden), func(lo, hi int, logp, _, dLogp, _ []float32) {
		for i := range dLogp {
			dLogp[i] = s.weight
		}
	})
	s.tape.Backward()
	_, err := s.opt.Step(tensor.AdamConfig{LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Clip: 1})
	s.opt.ZeroGrad()
	return err
}

func (b *bencher) train(threads int) error {
	s, err := newTrainStep()
	if err != nil {
		return err
	}
	var failed error
	seconds := b.fastest(threads, func() {}, func() {
		if err := s.run(); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	tokens := float64(len(s.in.Tokens))
	promised := 0.0
	if threads == 2 {
		promised = 0.4
	}
	b.print(benchRow{Bench: "train", Case: "Llama 5.2 M, 16 x 256", Threads: threads, GFlops: 6 * float64(s.m.Count()) * tokens / seconds / 1e9, TokensPerSec: tokens / seconds, Promised: promised})
	return nil
}
