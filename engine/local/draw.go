package local

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/tensor"
)

// drawer chooses the tokens of one sequence. Draw number t of its key decides token t, so a sample does not depend on its neighbours.
type drawer struct {
	key  engine.Key
	tail []byte
	room *drawRoom
	err  error
}

// drawRoom is working space, handed from sequences that have ended to those that start.
type drawRoom struct {
	own   []float32 // logits after rules and penalties
	probs []float32
	sums  []float64 // of probs before every sumBlock of them
	order []int32
}

// draw appends one token with its log-probs: under the untruncated policy at the sampling temperature, and under what was really drawn from.
func (d *drawer) draw(s *slot, logits []float32) {
	q := &s.prompt.spec.Params
	stats := tensor.RowStats(logits, s.out.Temp)
	if stats.LSE-stats.LSE != 0 {
		d.err = fmt.Errorf("sequence %s: the logits after token %d are not finite: the model's weights are damaged; go back to an earlier checkpoint", name(s.out), len(s.out.Tokens)-1)
		return
	}
	z := d.adjusted(s, logits)
	if d.err != nil {
		return
	}
	top := stats.Max
	if &z[0] != &logits[0] {
		if top = slices.Max(z); top-top != 0 { // NaN passes through this Max
			d.err = fmt.Errorf("sequence %s: rules leave no finite best logit for token %d: let them allow at least one id", name(s.out), len(s.out.Tokens))
			return
		}
	}
	var id int32
	var drawn float64
	switch {
	case q.Greedy:
		id = argmax(z, top)
	case &z[0] == &logits[0] && !q.Truncates():
		id = d.plain(z, top, s.out.Temp, len(s.out.Tokens))
		drawn = math.NaN() // the policy itself
	default:
		id, drawn = d.truncated(z, top, s, len(s.out.Tokens))
	}
	old := tensor.LogProb(logits[id], s.out.Temp, stats.LSE)
	if math.IsNaN(drawn) {
		drawn = float64(old)
	}
	s.out.Tokens = append(s.out.Tokens, id)
	s.out.Kind = append(s.out.Kind, engine.KindSampled)
	s.old, s.drawn = append(s.old, old), append(s.drawn, float32(drawn))
}

// adjusted applies rules and the repetition penalty (Keskar et al. 2019: positive logits are divided, negative ones multiplied) to a copy.
func (d *drawer) adjusted(s *slot, logits []float32) []float32 {
	penalty := s.prompt.spec.Params.RepetitionPenalty
	if len(s.prompt.spec.Rules) == 0 && (penalty == 0 || penalty == 1) {
		return logits
	}
	d.room.own = append(d.room.own[:0], logits...)
	if penalty != 0 && penalty != 1 {
		for _, id := range s.out.Tokens {
			if v := logits[id]; v > 0 {
				d.room.own[id] = v / penalty
			} else {
				d.room.own[id] = v * penalty
			}
		}
	}
	for _, rule := range s.prompt.spec.Rules {
		d.apply(rule, s.out)
	}
	return d.room.own
}

// apply runs a rule. Its panic is the error of its own call: others are in the same batch.
func (d *drawer) apply(rule engine.Rule, seq *engine.Sequence) {
	defer func() {
		if v := recover(); v != nil {
			d.err = fmt.Errorf("sequence %s: rule %T panicked at token %d: %v", name(seq), rule, len(seq.Tokens), v)
		}
	}()
	rule.Apply(seq, d.room.own)
}

// argmax returns the lowest id whose logit is top, the largest of z.
func argmax(z []float32, top float32) int32 { return int32(slices.Index(z, top)) }

// weights fills probs with exp((z - top)/T), top being the largest of z.
func (d *drawer) weights(z []float32, top, temp float32) {
	if cap(d.room.probs) < len(z) {
		d.room.probs = make([]float32, len(z))
	}
	d.room.probs = d.room.probs[:len(z)]
	inv := 1 / temp
	tensor.Exp(d.room.probs, z, inv, top*inv)
}

// sumBlock is how many probabilities lie between two sums that are kept.
const sumBlock = 256

// plain inverts the cumulative distribution over ids in ascending order. The sums of the way to the total serve to find the place in it.
func (d *drawer) plain(z []float32, top, temp float32, t int) int32 {
	d.weights(z, top, temp)
	probs, sums, total := d.room.probs, d.room.sums[:0], 0.0
	for lo := 0; lo < len(probs); lo += sumBlock {
		sums = append(sums, total)
		for _, p := range probs[lo:min(lo+sumBlock, len(probs))] {
			total += float64(p)
		}
	}
	d.room.sums = sums
	u := d.key.Float64(uint64(t)) * total
	block := len(sums) - 1
	for block > 0 && sums[block] > u {
		block--
	}
	sum := sums[block]
	for i, p := range probs[block*sumBlock:] {
		if sum += float64(p); sum > u {
			return int32(block*sumBlock + i)
		}
	}
	last := len(probs) - 1 // u was rounded up to the total: the last that can be drawn
	for last > 0 && probs[last] == 0 {
		last--
	}
	return int32(last)
}

// truncated draws after top-k, top-p (the smallest set whose mass reaches it) and min-p, in that order, from what is left renormalised.
func (d *drawer) truncated(z []float32, top float32, s *slot, t int) (int32, float64) {
	q := &s.prompt.spec.Params
	d.weights(z, top, s.out.Temp)
	d.room.order = d.room.order[:0]
	for i, p := range d.room.probs {
		if p > 0 {
			d.room.order = append(d.room.order, int32(i))
		}
	}
	slices.SortFunc(d.room.order, func(a, b int32) int {
		if d.room.probs[a] != d.room.probs[b] {
			if d.room.probs[a] > d.room.probs[b] {
				return -1
			}
			return 1
		}
		return int(a - b)
	})
	keep := len(d.room.order)
	if q.TopK > 0 {
		keep = min(keep, q.TopK)
	}
	if q.TopP > 0 && q.TopP < 1 {
		mass := d.mass(keep)
		sum := 0.0
		for i, id := range d.room.order[:keep] {
			if sum += float64(d.room.probs[id]); sum >= float64(q.TopP)*mass {
				keep = i + 1
				break
			}
		}
	}
	for keep > 1 && d.room.probs[d.room.order[keep-1]] < q.MinP*d.room.probs[d.room.order[0]] {
		keep--
	}
	mass := d.mass(keep)
	u, sum := d.key.Float64(uint64(t))*mass, 0.0
	id := d.room.order[keep-1]
	for _, k := range d.room.order[:keep] {
		if sum += float64(d.room.probs[k]); sum > u {
			id = k
			break
		}
	}
	return id, math.Log(float64(d.room.probs[id]) / mass)
}

func (d *drawer) mass(n int) float64 {
	m := 0.0
	for _, id := range d.room.order[:n] {
		m += float64(d.room.probs[id])
	}
	return m
}

// sawStop reports whether a stop string ends within the newest token.
func (d *drawer) sawStop(text []byte, stops []string) bool {
	longest := 0
	for _, s := range stops {
		longest = max(longest, len(s))
	}
	old := len(d.tail)
	d.tail = append(d.tail, text...)
	for _, s := range stops {
		if s != "" && bytes.Contains(d.tail[max(0, old-len(s)+1):], []byte(s)) {
			return true
		}
	}
	if n := len(d.tail) - longest; n > 0 {
		d.tail = append(d.tail[:0], d.tail[n:]...)
	}
	return false
}
