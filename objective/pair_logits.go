package objective

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
)

// LogitBatch is a batch given by its logits, as loss vectors of other trainers are. Losses on it are the objectives', summed in float64
// throughout (an engine's columns are float32) and taken back to the logits.
type LogitBatch struct {
	Tokens      [][]int32     // [row][token]
	Mask        [][]bool      // [row][token]: the answer
	Logits, Ref [][][]float64 // [row][token][vocabulary] of policy and reference; entry t predicts token t+1
}

// Check wants equal shapes, ids within the vocabulary, and nothing of the answer in token 0.
func (b *LogitBatch) Check() error {
	if len(b.Tokens) == 0 || len(b.Mask) != len(b.Tokens) || len(b.Logits) != len(b.Tokens) || len(b.Ref) != len(b.Tokens) {
		return fmt.Errorf("%d rows of tokens, %d of the mask, %d of logits, %d of the reference's: give as many of each, at least one", len(b.Tokens), len(b.Mask), len(b.Logits), len(b.Ref))
	}
	for r, tokens := range b.Tokens {
		if len(tokens) == 0 || len(b.Mask[r]) != len(tokens) || len(b.Logits[r]) != len(tokens) || len(b.Ref[r]) != len(tokens) {
			return fmt.Errorf("row %d: %d tokens, %d mask entries, %d positions of logits, %d of the reference's: give as many of each, at least one", r, len(tokens), len(b.Mask[r]), len(b.Logits[r]), len(b.Ref[r]))
		}
		if b.Mask[r][0] {
			return fmt.Errorf("row %d: token 0 is in the mask, but nothing predicts it: put a token before it", r)
		}
		vocab := len(b.Logits[0][0])
		for t, id := range tokens {
			if len(b.Logits[r][t]) != vocab || len(b.Ref[r][t]) != vocab {
				return fmt.Errorf("row %d, position %d: %d logits and %d of the reference's: the vocabulary has %d ids everywhere", r, t, len(b.Logits[r][t]), len(b.Ref[r][t]), vocab)
			}
			if id < 0 || int(id) >= vocab {
				return fmt.Errorf("row %d, token %d: id %d is not in the vocabulary of %d ids", r, t, id, vocab)
			}
		}
	}
	return nil
}

// row returns one row's columns: log-probs of the answer's tokens under both models, and WPO's alignment.
func (b *LogitBatch) row(r int) *columns[float64] {
	n := len(b.Tokens[r])
	c := &columns[float64]{
		row: &engine.Row{Seq: &engine.Sequence{Tokens: b.Tokens[r]}, Mask: b.Mask[r]}, to: n,
		logp: make([]float64, n), ref: make([]float64, n), align: make([]float64, n), d: make([]float64, n),
	}
	for t := 1; t < n; t++ {
		if !b.Mask[r][t] {
			continue
		}
		id := b.Tokens[r][t]
		top, one, two := powerSums(b.Logits[r][t-1])
		c.logp[t] = b.Logits[r][t-1][id] - top - math.Log(one)
		c.align[t] = c.logp[t] - (math.Log(two) - 2*math.Log(one))
		top, one, _ = powerSums(b.Ref[r][t-1])
		c.ref[t] = b.Ref[r][t-1][id] - top - math.Log(one)
	}
	return c
}

// back takes the derivatives by log-probs to those by logits: d lp_y / d z_k = 1[k = y] - p_k.
func (b *LogitBatch) back(r int, c *columns[float64]) [][]float64 {
	grad := make([][]float64, len(b.Tokens[r]))
	for t := range grad {
		grad[t] = make([]float64, len(b.Logits[r][t]))
		if t+1 == len(grad) || !b.Mask[r][t+1] {
			continue
		}
		top, one, _ := powerSums(b.Logits[r][t])
		for k, z := range b.Logits[r][t] {
			grad[t][k] = -c.d[t+1] * math.Exp(z-top) / one
		}
		grad[t][b.Tokens[r][t+1]] += c.d[t+1]
	}
	return grad
}

// EvalLogits returns the mean loss over pairs and its derivative by the policy's logits, [row][token][vocabulary]. The first half of the rows
// are the chosen answers, the second half the rejected ones in the same order.
func (d DPO) EvalLogits(b *LogitBatch) (loss float64, grad [][][]float64, err error) {
	if err := d.Check(); err != nil {
		return 0, nil, err
	}
	if err := b.Check(); err != nil {
		return 0, nil, err
	}
	n := len(b.Tokens) / 2
	if len(b.Tokens)%2 != 0 {
		return 0, nil, fmt.Errorf("%d rows: pairs need an even number, the chosen answers first, then the rejected ones", len(b.Tokens))
	}
	s := &pairScratch{sides: make([]side, 2*n)}
	rows := make([]*columns[float64], 2*n)
	for i := range rows { // i counts as sides do: chosen, rejected, chosen ...
		r := i/2 + i%2*n
		rows[i] = b.row(r)
		s.sides[i] = side{scale: 1 / float64(n), tokens: maskTokens(b.Mask[r])}
	}
	d.share(s.sides)
	for i, c := range rows {
		c.read(&s.sides[i])
	}
	loss = d.loss(s, nil)
	grad = make([][][]float64, 2*n)
	for i, c := range rows {
		c.add(&s.sides[i])
		r := i/2 + i%2*n
		grad[r] = b.back(r, c)
	}
	return loss, grad, nil
}

// EvalLogits returns the mean loss over answers and its derivative by the policy's logits, [row][token][vocabulary]; desirable has one entry
// a row.
func (k KTO) EvalLogits(b *LogitBatch, desirable []bool) (loss float64, grad [][][]float64, err error) {
	if err := k.Check(); err != nil {
		return 0, nil, err
	}
	if err := b.Check(); err != nil {
		return 0, nil, err
	}
	if len(desirable) != len(b.Tokens) {
		return 0, nil, fmt.Errorf("%d labels for %d rows: give one a row", len(desirable), len(b.Tokens))
	}
	grad = make([][][]float64, len(b.Tokens))
	for r := range b.Tokens {
		c := b.row(r)
		s := side{scale: 1 / float64(len(b.Tokens)), shared: math.MaxInt}
		c.read(&s)
		loss += k.answer(&s, desirable[r], nil)
		c.add(&s)
		grad[r] = b.back(r, c)
	}
	return loss, grad, nil
}
