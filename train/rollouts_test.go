package train

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// The record of a sampled sequence holds what each stream's row says about it, aligned from the first token that is not the prompt's.
func TestRolloutRow(t *testing.T) {
	seq := &engine.Sequence{ID: engine.ItemID{Problem: "p", Sample: 4}, Tokens: []int32{1, 2, 3, 4, 5}, Kind: []engine.Kind{engine.KindPrompt, engine.KindForced, engine.KindSampled, engine.KindObserved, engine.KindSampled}, Stop: engine.StopEOS}
	copy(seq.SetChannel(engine.ChanOld, nil), []float32{0, -1, -2, 0, -3})
	copy(seq.SetChannel(engine.ChanAdvantage, nil), []float32{0, 0, 0.5, 0, 0.5})
	demo := &engine.Sequence{Tokens: []int32{1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindDemo}}
	mask := func(on string) (m []bool) {
		for _, c := range on {
			m = append(m, c == 'x')
		}
		return m
	}
	ce := objective.CrossEntropy{}
	batch, err := engine.Normalise([]engine.Stream{
		{Name: "rl", Obj: ce, Coef: 1, Norm: engine.TokenMean, Rows: []engine.Row{{Seq: seq, Mask: mask("--x-x"), Weight: []float32{9, 9, 0.5, 9, -2}}}},
		{Name: "sft", Obj: ce, Coef: 2, Norm: engine.TokenMean, Rows: []engine.Row{{Seq: seq, Mask: mask("-x---")}, {Seq: demo, Mask: mask("-x")}, {Seq: seq, Mask: mask("-xx--")}}},
		{Name: "off", Obj: ce, Coef: 0, Norm: engine.TokenMean, Rows: []engine.Row{{Seq: seq, Mask: mask("-xxxx")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var r recorder
	r.weigh(batch)
	if len(r.weights) != 1 {
		t.Errorf("weights of %d sequences; the demonstration is no rollout", len(r.weights))
	}
	e := &reward.Episode{Problem: &task.Problem{ID: "p"}, Segs: []*engine.Sequence{seq}, Text: "text", Grade: reward.Grade{Score: 1.5, Verdict: task.Correct, Terms: []reward.Term{{Name: "a", Value: 1, Turn: -1}, {Name: "a", Value: 0.25, Turn: -1}, {Name: "b", Value: 2, Turn: 1}}}}
	got := rolloutRow(e, seq, r.weights[seq])
	want := &run.Rollout{Problem: "p", Sample: 4, Text: "text", Verdict: "correct", Reward: 1.5, Terms: map[string]run.Float{"a": 1.25, "b/1": 2}, Stop: "eos", Tokens: seq.Tokens, Prompt: 1,
		Kinds: "fsos", LogProb: run.Column{-1, -2, 0, -3}, Advantage: run.Column{0, 0.5, 0, 0.5},
		Weights: map[string]run.Column{"rl": {0, 0.5, 0, -2}, "sft": {2, 1, 0, 0}}, Scale: map[string]run.Short{"rl": 0.5, "sft": 0.5}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	r.begin()
	if len(r.weights) != 0 {
		t.Error("the next step begins with weights of this one")
	}
}

// The texts of tokens joined are the whole text, whatever characters their bytes are cut in.
func TestPieces(t *testing.T) {
	tok := token.Bytes()
	for _, text := range []string{"", "7*3", "é", "a€b", "\U0001F600!", "\xff\xfeé", "é\xc3", "\xe2\x82"} {
		ids := tok.Encode(text, token.EncodeOptions{})
		p := pieces(tok, ids)
		if len(p) != len(ids) || strings.Join(p, "") != text {
			t.Errorf("%q: %q", text, p)
		}
	}
	if p := pieces(tok, tok.Encode("€!", token.EncodeOptions{})); !reflect.DeepEqual(p, []string{"", "", "€", "!"}) {
		t.Errorf("%q", p)
	}
}
