package objective

import "github.com/hone-lm/hone/engine"

// side is what losses read of one answer, and their derivatives by it.
type side struct {
	scale  float64 // of the row
	tokens int     // counted by Mask
	shared int     // the first tokens have their full weight,
	tail   float64 // those behind are multiplied by this

	logp, ref, ratio float64 // sums over the answer, nats
	nll              float64 // -sum_t w_t lp_t, without tail
	align            float64 // sum of the channel ChanAligned
	score, slope     float64 // of the ratio, and its derivative by it
	wpo              float64 // weight of the pair, in its chosen side

	dScore, dRatio, dLogp, dNLL float64
}

// length is the number of tokens, at least 1.
func (s *side) length() float64 { return float64(max(s.tokens, 1)) }

// columns are one answer's tokens. Views of an engine hold float32; logits that come with a loss vector keep float64.
type columns[F float32 | float64] struct {
	row        *engine.Row
	from, to   int
	logp       []F       // [token - from]
	ref, align []F       // [token]; nil where a loss does not read them
	d          []float64 // [token - from]
}

// read sums the columns into s.
func (c *columns[F]) read(s *side) {
	n := 0
	for t := c.from; t < c.to; t++ {
		if !c.row.Mask[t] {
			continue
		}
		n++
		w, lp, ref := c.row.WeightAt(t), float64(c.logp[t-c.from]), 0.0
		s.nll -= w * lp
		if c.align != nil {
			s.align += float64(c.align[t])
		}
		if c.ref != nil {
			ref = float64(c.ref[t])
		}
		if n > s.shared {
			w *= s.tail
		}
		if w != 0 {
			s.ratio += w * (lp - ref)
			s.logp += w * lp
			s.ref += w * ref
		}
	}
}

// add spreads dLogp and dNLL over the tokens.
func (c *columns[F]) add(s *side) {
	n := 0
	for t := c.from; t < c.to; t++ {
		if !c.row.Mask[t] {
			continue
		}
		n++
		w := c.row.WeightAt(t)
		d := -s.dNLL * w
		if n > s.shared {
			w *= s.tail
		}
		c.d[t-c.from] += s.dLogp*w + d
	}
}
