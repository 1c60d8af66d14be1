package recipe

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// spoiled is a method that plants a fault in step 4: in the model before answers are sampled, or in the streams.
type spoiled struct {
	train.Method
	damage  func(*model.Model)
	streams func([]engine.Stream)
}

const spoiledStep = 3 // from 0

func (m spoiled) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	if s.Index == spoiledStep && m.damage != nil {
		m.damage(s.Engine.(interface{ Model() *model.Model }).Model())
	}
	return m.Method.Collect(ctx, s)
}

func (m spoiled) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := m.Method.Streams(ctx, s, groups)
	if s.Index == spoiledStep && m.streams != nil {
		m.streams(streams)
	}
	return streams, err
}

// A loss, gradient, log-prob or weight that is not finite ends the run before the update, with the step, and the sequence or the tensor where
// it came in. The last state stays, and from there the run goes on to the bytes of one that never met the fault.
func TestNotFinite(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	nan := float32(math.NaN())
	damage := func(m *model.Model) { m.Params()[2].Data[5] = nan }
	first := func(s []engine.Stream) *engine.Row { return &s[0].Rows[1] }
	last := func(r *engine.Row) int { return len(r.Mask) - 1 }
	for _, c := range []struct {
		name, recipe string
		model        func(*model.Model)
		streams      func([]engine.Stream)
		want         []string
	}{
		{"weight, seen by log-probs", "sft", damage, nil, []string{"sft step 3: backward: sequence", "the log-prob of token", "; the weight model.layers.0.", "[5] is NaN"}},
		{"weight, seen while sampling", "grpo", damage, nil, []string{"grpo step 3: collect: sequence", "the logits after token", "; the weight model.layers.0.", "[5] is NaN"}},
		{"advantage", "grpo", nil, func(s []engine.Stream) { r := first(s); r.Seq.Channel(engine.ChanAdvantage)[last(r)] = nan },
			[]string{`grpo step 3: backward: stream "rl": the loss is NaN`, `; stream "rl": advantage of token `, `sample 1 is NaN`}},
		{"token weight", "sft", nil, func(s []engine.Stream) {
			r := first(s)
			r.Weight = make([]float32, len(r.Mask))
			r.Weight[last(r)] = float32(math.Inf(1))
		}, []string{`sft step 3: backward: stream "sft": the loss is +Inf`, `; stream "sft": the weight of token `, ` is +Inf`}},
		{"gradient", "sft", nil, func(s []engine.Stream) { s[0].Coef, s[0].Norm = 3e38, engine.SumNorm },
			[]string{"sft step 3: update", "gradient norm is ", "the gradient of ", "is not finite; the step was not taken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			s := launch(t, c.recipe, root)
			s.Plan.Nodes[1].Method = spoiled{s.Plan.Nodes[1].Method, c.model, c.streams}
			good := ""
			s.Run.Failpoint = func(name string) {
				if name == "state:renamed" {
					good = read(t, s.Run.Dir, train.StateFile)
				}
			}
			updates := &counted{Engine: s.Engine.(*local.Engine)}
			s.Engine = updates
			err := s.Exec(context.Background())
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			if updates.n != spoiledStep {
				t.Errorf("%d updates were made; want the %d before the fault", updates.n, spoiledStep)
			}
			if err := s.Run.Close(); err != nil {
				t.Fatal(err)
			}
			if good == "" || read(t, s.Run.Dir, train.StateFile) != good {
				t.Error("the last good state is gone")
			}
			resumed := exec(t, launch(t, c.recipe, root))
			sameBytes(t, whole(t, c.recipe), resumed)
			if filepath.Dir(resumed) != root {
				t.Error("another run was resumed")
			}
		})
	}
}

// counted counts the updates that an engine really made.
type counted struct {
	*local.Engine
	n int
}

func (c *counted) Step(ctx context.Context, o engine.Optim) (engine.Update, error) {
	u, err := c.Engine.Step(ctx, o)
	if err == nil && !u.Skipped {
		c.n++
	}
	return u, err
}
