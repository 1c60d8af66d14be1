package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
)

// reference fills the channel logp_ref with the log-probs under the present weights, which are the start weights.
func (t *trainRun) reference(seqs []*engine.Sequence) error {
	scores, err := t.e.Score(t.ctx, seqs, engine.Want{})
	if err != nil {
		return err
	}
	for i, s := range seqs {
		s.SetChannel(engine.ChanRef, scores[i].LogProb)
	}
	return nil
}

// row turns a sequence of the request into the engine's types.
func (t *trainRun) row(name string, s *trainSequence) (engine.Row, error) {
	if err := checkTokens(t.e.Info(), name+".tokens", s.Tokens); err != nil {
		return engine.Row{}, err
	}
	if len(s.Weights) != len(s.Tokens) {
		return engine.Row{}, fmt.Errorf("%s has %d tokens and %d weights: give one weight a token", name, len(s.Tokens), len(s.Weights))
	}
	r := engine.Row{Seq: &engine.Sequence{Tokens: s.Tokens}, Mask: make([]bool, len(s.Tokens)), Weight: make([]float32, len(s.Tokens))}
	for i := 1; i < len(s.Tokens); i++ { // nothing predicts the first token
		r.Weight[i] = float32(s.Weights[i])
		r.Mask[i] = r.Weight[i] != 0
	}
	return r, nil
}

func (t *trainRun) prepare(b *trainBatch) (preparedStep, error) {
	switch {
	case t.req.Kind == "dpo" && (b.Pairs == nil || b.Sequences != nil || b.MicroBatches != nil):
		return preparedStep{}, errors.New("a step of kind dpo has the field pairs and no other")
	case t.req.Kind != "dpo" && (b.Sequences == nil || b.Pairs != nil):
		return preparedStep{}, fmt.Errorf("a step of kind %s has the field sequences, not pairs", t.req.Kind)
	case t.req.Kind == "grpo" && b.MicroBatches != nil:
		return preparedStep{}, errors.New("micro_batches belong to kind sft")
	}
	switch t.req.Kind {
	case "dpo":
		return t.prepareDPO(b)
	case "grpo":
		return t.prepareGRPO(b)
	}
	rows, err := t.rows(b, false)
	if err != nil {
		return preparedStep{}, err
	}
	if err := checkParts(b.MicroBatches, len(rows)); err != nil {
		return preparedStep{}, err
	}
	sft := engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.WeightMean, Rows: rows}
	return preparedStep{streams: []engine.Stream{sft}, parts: b.MicroBatches}, nil
}

func (t *trainRun) rows(b *trainBatch, sampled bool) ([]engine.Row, error) {
	rows := make([]engine.Row, len(b.Sequences))
	for i := range b.Sequences {
		s, name := &b.Sequences[i], fmt.Sprintf("sequences[%d]", i)
		if given := s.Sampled != nil || s.Reward != nil || s.Group != nil; given && !sampled {
			return nil, fmt.Errorf("%s: sampled, reward and group belong to kind grpo", name)
		}
		var err error
		if rows[i], err = t.row(name, s); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// checkParts wants every sequence in exactly one micro-batch.
func checkParts(parts [][]int, n int) error {
	if parts == nil {
		return nil
	}
	seen := make([]bool, n)
	count := 0
	for i, part := range parts {
		for _, s := range part {
			if s < 0 || s >= n || seen[s] {
				return fmt.Errorf("micro_batches[%d] names sequence %d: every one of 0 to %d must stand there once", i, s, n-1)
			}
			seen[s] = true
			count++
		}
	}
	if count != n {
		return fmt.Errorf("micro_batches name %d of %d sequences: every one must stand there once", count, n)
	}
	return nil
}

func (t *trainRun) prepareDPO(b *trainBatch) (preparedStep, error) {
	var rows []engine.Row
	var seqs []*engine.Sequence
	for i := range b.Pairs {
		for _, side := range []struct {
			name string
			s    *trainSequence
		}{{"chosen", &b.Pairs[i].Chosen}, {"rejected", &b.Pairs[i].Rejected}} {
			name := fmt.Sprintf("pairs[%d].%s", i, side.name)
			r, err := t.row(name, side.s)
			if err != nil {
				return preparedStep{}, err
			}
			if !slices.Contains(r.Mask, true) {
				return preparedStep{}, fmt.Errorf("%s has no token with a weight behind its first: a pair needs one on each side", name)
			}
			if side.s.Sampled != nil || side.s.Reward != nil || side.s.Group != nil {
				return preparedStep{}, fmt.Errorf("%s: sampled, reward and group belong to kind grpo", name)
			}
			r.Seq.Unit = int64(i + 1)
			rows, seqs = append(rows, r), append(seqs, r.Seq)
		}
	}
	if err := t.reference(seqs); err != nil {
		return preparedStep{}, err
	}
	reference := make([][2]float64, len(b.Pairs))
	for i, r := range rows {
		sum := 0.0
		for k, ref := range r.Seq.Channel(engine.ChanRef) {
			sum += r.WeightAt(k) * float64(ref)
		}
		reference[i/2][i%2] = sum
	}
	dpo := engine.Stream{Name: "dpo", Obj: objective.DPO{Beta: *t.req.Beta}, Coef: 1, Norm: engine.UnitMean, Rows: rows}
	return preparedStep{streams: []engine.Stream{dpo}, extra: map[string]any{"reference": reference}}, nil
}

func (t *trainRun) prepareGRPO(b *trainBatch) (preparedStep, error) {
	rows, err := t.rows(b, true)
	if err != nil {
		return preparedStep{}, err
	}
	advantages, err := groupAdvantages(b.Sequences, *t.req.AdvantageEps)
	if err != nil {
		return preparedStep{}, err
	}
	seqs := make([]*engine.Sequence, len(rows))
	for i, r := range rows {
		s := &b.Sequences[i]
		if len(s.Sampled) != len(s.Tokens) {
			return preparedStep{}, fmt.Errorf("sequences[%d] has %d tokens and %d entries of sampled: give one a token", i, len(s.Tokens), len(s.Sampled))
		}
		old, advantage := r.Seq.SetChannel(engine.ChanOld, nil), r.Seq.SetChannel(engine.ChanAdvantage, nil)
		for k := range s.Tokens {
			if s.Sampled[k] != nil {
				old[k] = float32(*s.Sampled[k])
			} else if r.Mask[k] {
				return preparedStep{}, fmt.Errorf("sequences[%d].sampled[%d] is null, but the token has a weight", i, k)
			}
			advantage[k] = float32(advantages[i])
		}
		seqs[i] = r.Seq
	}
	if err := t.reference(seqs); err != nil {
		return preparedStep{}, err
	}
	clip := objective.Clipped{Range: objective.ClipRange{Low: *t.req.ClipRange, High: *t.req.ClipRange}}
	return preparedStep{
		streams: []engine.Stream{
			{Name: "rl", Obj: clip, Coef: 1, Norm: engine.WeightMean, Rows: rows},
			{Name: "kl", Obj: objective.KL{Estimator: objective.K3}, Coef: *t.req.Beta, Norm: engine.WeightMean, Rows: rows},
		},
		extra: map[string]any{"advantages": advantages},
	}, nil
}

// groupAdvantages returns each sequence's advantage within its group.
func groupAdvantages(seqs []trainSequence, eps float64) ([]float64, error) {
	members := map[int64][]int{}
	var order []int64
	for i, s := range seqs {
		if s.Reward == nil || s.Group == nil {
			return nil, fmt.Errorf("sequences[%d]: kind grpo needs reward and group", i)
		}
		if members[*s.Group] == nil {
			order = append(order, *s.Group)
		}
		members[*s.Group] = append(members[*s.Group], i)
	}
	out := make([]float64, len(seqs))
	for _, g := range order {
		rewards := make([]float64, len(members[g]))
		for k, i := range members[g] {
			rewards[k] = *seqs[i].Reward
		}
		a, err := objective.MeanStd.Of(rewards, eps)
		if err != nil {
			return nil, fmt.Errorf("group %d: %w", g, err)
		}
		for k, i := range members[g] {
			out[i] = a[k]
		}
	}
	return out, nil
}

// tallyKL measures the estimate of the KL divergence from the start weights without training on it.
func (t *trainRun) tallyKL(rows []engine.Row, tally *engine.Tally) error {
	seqs := make([]*engine.Sequence, len(rows))
	for i, r := range rows {
		seqs[i] = r.Seq
	}
	scores, err := t.e.Score(t.ctx, seqs, engine.Want{})
	if err != nil {
		return err
	}
	for i := range rows {
		n := len(seqs[i].Tokens)
		view := engine.View{Row: &rows[i], From: 0, To: n, LogProb: scores[i].LogProb, DLogProb: make([]float64, n)}
		objective.KL{Estimator: objective.K3}.Eval([]engine.View{view}, tally)
	}
	return nil
}
