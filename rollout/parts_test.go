package rollout

import (
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
)

func TestWeighAdvantage(t *testing.T) {
	const split = 9
	for _, c := range []struct {
		tokens []int32
		factor float64
		want   []float32
	}{
		{[]int32{1, split, 2, 3, split, 4, 5}, 2, []float32{0, 0, 1, 1, .5, .5, .5}}, // the split of the prompt is none
		{[]int32{1, 2, 2, 3, 6, 4, 5}, 2, []float32{0, 0, 1, 1, 1, 1, 1}},
		{[]int32{1, 2, 2, 3, split, 4, 5}, 1, []float32{0, 0, .5, .5, .5, .5, .5}},
	} {
		s := &engine.Sequence{Tokens: c.tokens, Kind: []engine.Kind{0, 0, 2, 2, 2, 2, 2}}
		e := &Episode{Segs: []*engine.Sequence{s}}
		SetAdvantage(e, 0.5)
		WeighAdvantage(e, []int32{split}, c.factor)
		if got := s.Channel(engine.ChanAdvantage); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.tokens, got, c.want)
		}
	}
}
