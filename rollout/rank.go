package rollout

import (
	"context"
	"math"
	"sort"

	"github.com/hone-lm/hone/engine"
)

// Masked counts the tokens in the rows' masks.
func Masked(rows []engine.Row) int {
	n := 0
	for _, r := range rows {
		for _, in := range r.Mask {
			if in {
				n++
			}
		}
	}
	return n
}

// KeepTop weighs the share of masked tokens with the largest keys 1, the others 0; of equals the first stay. keys is [row][token].
func KeepTop(rows []engine.Row, keys [][]float32, share float64) {
	type place struct{ row, token int }
	var all []place
	for i := range rows {
		rows[i].Weight = make([]float32, len(rows[i].Mask))
		for t, in := range rows[i].Mask {
			if in {
				all = append(all, place{i, t})
			}
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return keys[all[a].row][all[a].token] > keys[all[b].row][all[b].token] })
	for _, at := range all[:int(math.Round(share*float64(len(all))))] {
		rows[at.row].Weight[at.token] = 1
	}
}

// Entropies returns the entropies in nats of all tokens of a kind.
func Entropies(ctx context.Context, e engine.Engine, seqs []*engine.Sequence, kind engine.Kind) (h []float32, err error) {
	scores, err := e.Score(ctx, seqs, engine.Want{Entropy: true})
	for i, s := range scores {
		for t, x := range s.Entropy {
			if seqs[i].KindAt(t) == kind {
				h = append(h, x)
			}
		}
	}
	return h, err
}

// Order says which tokens come first when some of a step are to be kept.
type Order struct {
	By  string     // top (highest entropy under the current policy), bottom (lowest) or random
	Key engine.Key // of random
}

// Keep gives weight 1 to the share of the rows' tokens that come first and 0 to the others, which stay in the mask. Entropies are those at
// temperature 1, whatever the answers were sampled at.
func (o Order) Keep(ctx context.Context, e engine.Engine, rows []engine.Row, share float64) error {
	if len(rows) == 0 {
		return nil
	}
	keys := make([][]float32, len(rows))
	if o.By == "random" {
		for i, r := range rows {
			keys[i] = make([]float32, len(r.Mask))
			for t := range keys[i] {
				keys[i][t] = float32(o.Key.With(uint64(i)).Float64(uint64(t)))
			}
		}
		KeepTop(rows, keys, share)
		return nil
	}
	seqs := make([]*engine.Sequence, len(rows))
	for i, r := range rows {
		seqs[i] = r.Seq
	}
	scores, err := e.Score(ctx, seqs, engine.Want{Entropy: true, EntropyTemp: 1})
	if err != nil {
		return err
	}
	for i := range scores {
		keys[i] = scores[i].Entropy
		for t := range keys[i] {
			if o.By == "bottom" {
				keys[i][t] = -keys[i][t]
			}
		}
	}
	KeepTop(rows, keys, share)
	return nil
}
