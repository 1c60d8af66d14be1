package rollout

import (
	"context"
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/enginetest"
	"github.com/hone-lm/hone/objective"
)

func demo(tokens ...int32) *engine.Sequence {
	s := &engine.Sequence{Tokens: tokens, Kind: make([]engine.Kind, len(tokens))}
	for t := 1; t < len(tokens); t++ {
		s.Kind[t] = engine.KindDemo
	}
	return s
}

// Only sampled tokens surprise, and they add to the sum that is there.
func TestAddSurprise(t *testing.T) {
	s := demo(1, 2, 3, 1)
	s.Kind[2], s.Kind[3] = engine.KindSampled, engine.KindSampled
	s.SetChannel(engine.ChanOld, []float32{-9, -9, -0.5, -0.25})
	if got := AddSurprise(1, &Episode{Segs: []*engine.Sequence{s, demo(1, 2)}}); got != 1.75 {
		t.Errorf("%g, want 1.75", got)
	}
}

// ScoreTerm scores a sequence once, however many rows name it, and again when the model has moved.
func TestScoreTerm(t *testing.T) {
	ctx := context.Background()
	e, err := enginetest.New(4, 1, 8, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.Freeze(ctx, "teacher")
	if err != nil {
		t.Fatal(err)
	}
	s := demo(1, 2, 3)
	calls := &counted{TemperedLogProb: objective.TemperedLogProb{Temp: objective.FixedTemperature(1), Kind: engine.KindDemo}}
	rows := []engine.Row{{Seq: s}, {Seq: s}}
	for round := 1; round <= 2; round++ {
		s.SetChannel("target", []float32{7, 7, 7})
		if err := ScoreTerm(ctx, f, rows, calls, "target"); err != nil {
			t.Fatal(err)
		}
		want, err := f.Score(ctx, []*engine.Sequence{s}, engine.Want{Entropy: true})
		if err != nil {
			t.Fatal(err)
		}
		for k, got := range s.Channel("target") {
			if math.Abs(float64(got-want[0].LogProb[k])) > 1e-6 {
				t.Errorf("token %d: %g, its log-prob is %g", k, got, want[0].LogProb[k])
			}
		}
		if calls.n != 2*round {
			t.Errorf("round %d: %d rows of logits read, want two a round", round, calls.n)
		}
		h, err := Entropies(ctx, e, []*engine.Sequence{s}, engine.KindDemo)
		if err != nil || len(h) != 2 || h[0] != want[0].Entropy[1] || h[1] != want[0].Entropy[2] {
			t.Errorf("entropies %v, %v; want the last two of %v", h, err, want[0].Entropy)
		}
	}
}

type counted struct {
	objective.TemperedLogProb
	n int
}

func (c *counted) Value(row engine.LogitRow) float32 {
	c.n++
	return c.TemperedLogProb.Value(row)
}
