package recipe

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// Before the first update ratios and the reference point are 0, and each answer's loss is half its weight.
func TestKTOStart(t *testing.T) {
	s, streams := lastBatch(t, "kto", "desirable=2", "undesirable=3")
	want := 0.0
	for _, r := range streams[0].Rows {
		if r.Seq.Channel(objective.ChanLabel)[0] == 1 {
			want += 2.0 / 2 / 6
		} else {
			want += 3.0 / 2 / 6
		}
	}
	if kl := streams[0].Obj.(objective.KTO).KL; kl != 0 {
		t.Errorf("the reference point is %g", kl)
	}
	near(t, "loss", lossOf(t, s, streams).Loss(), want, 1e-15)
}

// Equations 7 and 8 worked out from ratios, at a reference point that is not 0.
func TestKTOLoss(t *testing.T) {
	s, streams := lastBatch(t, "kto", "beta=0.3", "desirable=2", "undesirable=3")
	ratio := shiftReference(t, streams[0].Rows)
	obj := streams[0].Obj.(objective.KTO)
	obj.KL = 0.7
	streams[0].Obj = obj
	want, seen := 0.0, map[float32]int{}
	for i, r := range streams[0].Rows {
		label := r.Seq.Channel(objective.ChanLabel)[0]
		seen[label]++
		if label == 1 {
			want += 2 * (1 - logistic(0.3*(ratio[i]-0.7))) / 6
		} else {
			want += 3 * (1 - logistic(0.3*(0.7-ratio[i]))) / 6
		}
	}
	near(t, "loss", lossOf(t, s, streams).Loss(), want, 1e-9)
	if len(seen) != 2 {
		t.Errorf("labels %v: both kinds should be in the batch", seen)
	}
}

// The reference point is the mean of the mismatched answers' ratios between the moved policy and its start, never below 0.
func TestKTOReferencePoint(t *testing.T) {
	s := launch(t, "kto", t.TempDir(), "lr=3e-3", "warmup=0", "eval.problems=0")
	n := &s.Plan.Nodes[1]
	probe := &probed{KTO: n.Method.(*KTO)}
	n.Method = probe
	if err := s.Exec(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Run.Close()
	positive := 0
	for i, got := range probe.got {
		near(t, "reference point", got, probe.want[i], 1e-9)
		if got > 0 {
			positive++
		}
	}
	if len(probe.got) != 6 || positive == 0 {
		t.Errorf("%d steps, %d reference points above 0: the comparison shows little", len(probe.got), positive)
	}
}

// probed works the reference point out row by row beside the recipe.
type probed struct {
	*KTO
	got, want []float64
}

func (p *probed) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := p.KTO.Streams(ctx, s, groups)
	if err != nil {
		return nil, err
	}
	rows := mismatched(streams[0].Rows, 0)
	sum := 0.0
	for _, r := range rows {
		now, err := s.Engine.Score(ctx, []*engine.Sequence{r.Seq}, engine.Want{})
		if err != nil {
			return nil, err
		}
		start, err := s.Env.Frozen["start"].Score(ctx, []*engine.Sequence{r.Seq}, engine.Want{})
		if err != nil {
			return nil, err
		}
		for k := range r.Mask {
			if r.Mask[k] {
				sum += float64(now[0].LogProb[k]) - float64(start[0].LogProb[k])
			}
		}
	}
	p.got = append(p.got, streams[0].Obj.(objective.KTO).KL)
	p.want = append(p.want, math.Max(0, sum/float64(len(rows))))
	return streams, nil
}

// Each prompt gets the answer of the next row with another prompt; one prompt alone gives none; the limit cuts.
func TestMismatched(t *testing.T) {
	row := func(prompt, answer int32) engine.Row {
		return engine.Row{Seq: &engine.Sequence{Tokens: []int32{prompt, prompt, answer, answer + 1}}, Mask: []bool{false, false, true, true}}
	}
	rows := []engine.Row{row(1, 10), row(1, 20), row(2, 30)}
	var got [][]int32
	for _, r := range mismatched(rows, 0) {
		got = append(got, r.Seq.Tokens)
		if !slices.Equal(r.Mask, []bool{false, false, true, true}) {
			t.Errorf("mask %v", r.Mask)
		}
	}
	want := [][]int32{{1, 1, 30, 31}, {1, 1, 30, 31}, {2, 2, 10, 11}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := len(mismatched(rows[:2], 0)); n != 0 {
		t.Errorf("%d rows of one prompt", n)
	}
	if cut := mismatched(rows, 3)[0]; len(cut.Seq.Tokens) != 3 || len(cut.Mask) != 3 {
		t.Errorf("%d tokens with a limit of 3", len(cut.Seq.Tokens))
	}
}

func TestKTOVariants(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	whole(t, "kto", "loss=apo_zero_unpaired", "steps=2")
	whole(t, "kto", "lora.rank=2", "steps=2")
}
