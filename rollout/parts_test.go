package rollout

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/token"
)

// The split is the first tag's, else the second's; tags may begin and end within a token, and those of the prompt are none.
func TestWeighAdvantage(t *testing.T) {
	tok := joined{texts: []string{"a", "</plan>", "<execute>", "</", "plan", "><", "execute>", "a</", "é", "a</plan>"}}
	for _, c := range []struct {
		tokens []int32 // behind a prompt of "</plan>a"
		factor float64
		want   []float32
	}{
		{[]int32{0, 0, 1, 0, 1}, 2, []float32{1, 1, .5, .5, .5}},
		{[]int32{0, 0, 1, 0, 1}, 1, []float32{.5, .5, .5, .5, .5}},
		{[]int32{0, 0, 8, 0, 0}, 2, []float32{1, 1, 1, 1, 1}},
		{[]int32{1, 0, 8, 0, 0}, 2, []float32{.5, .5, .5, .5, .5}},
		{[]int32{0, 8, 3, 4, 5, 6, 0}, 2, []float32{1, 1, .5, .5, .5, .5, .5}}, // "><" is one token
		{[]int32{8, 7, 4, 5, 6, 0}, 2, []float32{1, 1, .5, .5, .5, .5}},        // so is "a</"
		{[]int32{0, 9}, 2, []float32{1, 1}},
		{[]int32{0, 2, 0, 0}, 2, []float32{1, .5, .5, .5}},      // the second tag
		{[]int32{0, 2, 0, 1, 0}, 2, []float32{1, 1, 1, .5, .5}}, // both: the first one's
	} {
		s := &engine.Sequence{Tokens: append([]int32{1, 0}, c.tokens...), Kind: append(make([]engine.Kind, 2), slices.Repeat([]engine.Kind{engine.KindSampled}, len(c.tokens))...)}
		e := &Episode{Segs: []*engine.Sequence{s}}
		SetAdvantage(e, 0.5)
		WeighAdvantage(tok, e, c.factor, PlanClose, ExecuteOpen)
		if got := s.Channel(engine.ChanAdvantage); !slices.Equal(got, append([]float32{0, 0}, c.want...)) {
			t.Errorf("%v: %v, want %v", c.tokens, got, c.want)
		}
	}
}

// A real vocabulary that merges the tags' edges: the ids of </plan> alone are nowhere in the answer, and the split is found.
func TestWeighAdvantageMerged(t *testing.T) {
	tok, err := token.Load(filepath.Join("..", "..", "shared", "models", "smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"))
	if err != nil {
		t.Skip(err)
	}
	ids := tok.Encode("a*b</plan><execute>5*3=15|15", token.EncodeOptions{})
	s := &engine.Sequence{Tokens: ids, Kind: slices.Repeat([]engine.Kind{engine.KindSampled}, len(ids))}
	e := &Episode{Segs: []*engine.Sequence{s}}
	SetAdvantage(e, 1)
	WeighAdvantage(tok, e, 2, PlanClose, ExecuteOpen)
	n := slices.Index(s.Channel(engine.ChanAdvantage), 1)
	if n < 1 || tok.Decode(ids[:n], true) != "a*b" {
		t.Errorf("%d of %d tokens are the plan's", n, len(ids))
	}
	if alone := tok.Encode(PlanClose, token.EncodeOptions{}); strings.Contains(fmt.Sprint(ids), strings.Trim(fmt.Sprint(alone), "[]")) {
		t.Skip("the ids of the tag are there: this vocabulary shows nothing")
	}
}
