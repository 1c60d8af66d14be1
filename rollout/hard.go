package rollout

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
)

// Perplexity returns exp(mean -logp) over the demonstrated tokens of each row, 1 where there are none.
func Perplexity(ctx context.Context, model reward.Scorer, rows []*engine.Sequence) ([]float64, error) {
	scores, err := model.Score(ctx, rows, engine.Want{})
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(rows))
	for i, s := range rows {
		sum, n := 0.0, 0
		for t := range s.Tokens {
			if t > 0 && s.KindAt(t) == engine.KindDemo {
				sum -= float64(scores[i].LogProb[t])
				n++
			}
		}
		out[i] = math.Exp(sum / float64(max(1, n)))
	}
	return out, nil
}

// ShareOf is how many of n items a share keeps.
func ShareOf(share float64, n int) int { return min(n, int(math.Round(share*float64(n)))) }

// Hardest keeps the share of the items with the largest keys, of each stratum on its own, so that a stratum of easy items does not vanish.
// It returns their numbers, ascending; of equals the first stay.
func Hardest(keys []float64, stratum []bool, share float64) []int {
	var out []int
	for _, which := range []bool{false, true} {
		var in []int
		for i, s := range stratum {
			if s == which {
				in = append(in, i)
			}
		}
		slices.SortStableFunc(in, func(a, b int) int { return cmp.Compare(keys[b], keys[a]) })
		out = append(out, in[:ShareOf(share, len(in))]...)
	}
	slices.Sort(out)
	return out
}
