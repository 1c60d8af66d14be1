package local

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
)

// two are streams with losses of their own, over partly the same sequences.
func two() (sft, rl engine.Stream) {
	rows := returnRows(5)
	for _, r := range rows {
		adv := r.Seq.SetChannel(engine.ChanAdvantage, nil)
		for t := range adv {
			adv[t] = float32(t%3) - 0.7
		}
	}
	sft = engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: rows[:3]}
	rl = engine.Stream{Name: "rl", Obj: objective.PolicyGradient{}, Rows: rows[2:]}
	return sft, rl
}

func into(s engine.Stream, name string) engine.Stream {
	s.Into = name
	return s
}

func must[T any](x T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

// A buffer holds, to the bit, what the optimiser's gradient would; the optimiser's own stays untouched; norms and products are theirs.
func TestGradientBuffers(t *testing.T) {
	for _, family := range []model.Family{model.Llama, model.GPT2} { // GPT-2 has views of weights
		for _, lora := range []bool{false, true} {
			e := open(t, loud(t, family, lora), Options{MicroTokens: 60})
			g := must(e.Gradients())(t)
			sft, rl := two()
			a, la := gradientOf(t, e, normalised(t, sft))
			b, lb := gradientOf(t, e, normalised(t, rl))
			mine := must(e.Backward(ctx, normalised(t, engine.Stream{Name: "own", Obj: objective.CrossEntropy{}, Rows: []engine.Row{fullRow(prompt(9, 20))}})))(t)
			own := must(g.Norm(""))(t)
			stats := must(e.Backward(ctx, normalised(t, into(sft, "sft"), into(rl, "rl"))))(t)
			if math.Abs(stats.Streams[0].Loss-la) > 1e-12 || math.Abs(stats.Streams[1].Loss-lb) > 1e-12 || stats.Sequences != 5 || stats.Trained != 9+20+31+42+53-5 || mine.Trained != 19 {
				t.Errorf("%s: %+v", family, stats)
			}
			if !equal(e.buffers["sft"].data, a) || !equal(e.buffers["rl"].data, b) || must(g.Norm(""))(t) != own {
				t.Errorf("%s, lora %v: buffers do not hold their streams' gradients", family, lora)
			}
			dot, square, other := 0.0, 0.0, flat(b)
			for i, x := range flat(a) {
				dot += float64(x) * float64(other[i])
				square += float64(x) * float64(x)
			}
			if n := must(g.Norm("sft"))(t); math.Abs(n*n/square-1) > 1e-6 || math.Abs(must(g.Dot("sft", "rl"))(t)/dot-1) > 1e-9 || must(g.Dot("rl", "sft"))(t) != must(g.Dot("sft", "rl"))(t) {
				t.Errorf("%s: norm %g of %g, product %g of %g", family, n, math.Sqrt(square), must(g.Dot("sft", "rl"))(t), dot)
			}
			must(e.Backward(ctx, normalised(t, into(sft, "sft"))))(t) // adds
			if twice, once := must(g.Norm("sft"))(t), math.Sqrt(square); math.Abs(twice/once-2) > 1e-5 {
				t.Errorf("%s: two passes give the norm %g, one %g", family, twice, once)
			}
			e.clear()
			norm := must(g.Norm("rl"))(t)
			if err := errors.Join(g.Merge("rl", 0.5), g.Merge("rl", 0.5), g.Clear("rl")); err != nil {
				t.Fatal(err)
			}
			if u := must(e.Step(ctx, adam))(t); u.Skipped || math.Abs(u.Norm/norm-1) > 1e-6 || must(g.Norm("rl"))(t) != 0 {
				t.Errorf("%s: the merged gradient has norm %g, the buffer had %g", family, u.Norm, norm)
			}
			if err := g.Merge("rl", 1); err != nil { // an empty one
				t.Fatal(err)
			}
			if u := must(e.Step(ctx, adam))(t); !u.Skipped {
				t.Errorf("%s: merging an empty buffer made a step", family)
			}
		}
	}
}

func equal(a, b [][]float32) bool { return slices.EqualFunc(a, b, slices.Equal[[]float32]) }

// What Norm says of a buffer is what Step says of the same gradient, to the bit.
func TestBufferNorm(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	g := must(e.Gradients())(t)
	sft, _ := two()
	must(e.Backward(ctx, normalised(t, into(sft, "sft"))))(t)
	norm := must(g.Norm("sft"))(t)
	must(e.Backward(ctx, normalised(t, sft)))(t)
	if u := must(e.Step(ctx, adam))(t); u.Norm != norm {
		t.Errorf("Norm %v, Step %v", norm, u.Norm)
	}
}

// LookAhead moves the weights by scale times the gradient, and puts them back to the bit; the loss there is that of the moved weights.
func TestLookAhead(t *testing.T) {
	for _, lora := range []bool{false, true} {
		e := open(t, loud(t, model.GPT2, lora), Options{MicroTokens: 60})
		g := must(e.Gradients())(t)
		sft, rl := two()
		must(e.Backward(ctx, normalised(t, into(sft, "sft"))))(t)
		state := saved(t, e)
		here := must(e.Backward(ctx, normalised(t, into(sft, "there"))))(t).Loss()
		if err := g.Clear("there"); err != nil {
			t.Fatal(err)
		}
		slope, loss := must(g.Dot("sft", "sft"))(t), map[float64]float64{}
		for _, scale := range []float64{-2e-4, 2e-4} {
			err := g.LookAhead(ctx, "sft", scale, func() error {
				p := e.live.m.Params()[0]
				before := bytes.NewReader(state)
				b := open(t, loud(t, model.GPT2, lora), Options{})
				if err := b.LoadWeights(ctx, before); err != nil {
					return err
				}
				if want := float32(float64(b.live.m.Params()[0].Data[5]) + scale*float64(e.buffers["sft"].data[0][5])); p.Data[5] != want {
					t.Errorf("the weight is %g, want %g", p.Data[5], want)
				}
				stats, err := e.Backward(ctx, normalised(t, into(sft, "there"), into(rl, "unused")))
				if err != nil {
					return err
				}
				loss[scale] = stats.Streams[0].Loss
				for what, err := range map[string]error{
					"Step": second(e.Step(ctx, adam)), "Save": e.Save(ctx, &bytes.Buffer{}), "Load": e.Load(ctx, bytes.NewReader(state)), "LoadWeights": e.LoadWeights(ctx, bytes.NewReader(state)),
					"Export": e.Export(ctx, t.TempDir()), "LookAhead": g.LookAhead(ctx, "sft", 1, func() error { return nil }),
				} {
					if err == nil || !strings.Contains(err.Error(), "inside LookAhead") {
						t.Errorf("%s inside LookAhead: %v", what, err)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := (loss[2e-4] - loss[-2e-4]) / 4e-4; math.Abs(got/slope-1) > 0.02 || !(loss[-2e-4] < here && here < loss[2e-4]) {
			t.Errorf("lora %v: the loss goes %g, %g, %g along its gradient: a slope of %g, want %g", lora, loss[-2e-4], here, loss[2e-4], got, slope)
		}
		if d := must(g.Dot("there", "sft"))(t); d <= 0 {
			t.Errorf("lora %v: gradients nearby have the product %g", lora, d)
		}
		failed := errors.New("failed")
		if err := g.LookAhead(ctx, "sft", 1, func() error { return failed }); err != failed {
			t.Errorf("the function's error became %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = g.LookAhead(ctx, "sft", 1, func() error { panic("fault") })
		}()
		delete(e.buffers, "there")
		delete(e.buffers, "unused")
		if !bytes.Equal(state, saved(t, e)) {
			t.Errorf("lora %v: the weights did not come back to the bit", lora)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Buffers are part of the state, filled or not; LoadWeights drops them; names that nobody made are errors.
func TestBufferState(t *testing.T) {
	e := open(t, loud(t, model.Llama, true), Options{})
	g := must(e.Gradients())(t)
	sft, rl := two()
	must(e.Backward(ctx, normalised(t, into(sft, "sft"), engine.Stream{Name: "value", Obj: valueLoss{}, Rows: returnRows(2), Into: "value"}, rl)))(t)
	must(e.Step(ctx, adam))(t)
	if err := g.Clear("empty"); err != nil {
		t.Fatal(err)
	}
	state := saved(t, e)
	b := open(t, loud(t, model.Llama, true), Options{})
	if err := b.Load(ctx, bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	h := must(b.Gradients())(t)
	for _, name := range []string{"sft", "value", "empty"} {
		if x, y := must(g.Norm(name))(t), must(h.Norm(name))(t); x != y || (x == 0) != (name == "empty") {
			t.Errorf("%s has norm %g, loaded %g", name, x, y)
		}
	}
	if !bytes.Equal(state, saved(t, b)) {
		t.Error("a loaded state is saved differently")
	}
	for _, cut := range []int{1, 4 * len(e.buffers["value"].data[0])} {
		if err := open(t, loud(t, model.Llama, true), Options{}).Load(ctx, bytes.NewReader(state[:len(state)-cut])); err == nil {
			t.Error("a state that ends within its buffers was accepted")
		}
	}
	if err := b.LoadWeights(ctx, bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Norm": second(h.Norm("sft")), "Dot": second(h.Dot("", "sft")), "Merge": h.Merge("sft", 1), "LookAhead": h.LookAhead(ctx, "sft", 1, func() error { return nil }),
	} {
		if err == nil || !strings.Contains(err.Error(), `"sft"`) {
			t.Errorf("%s of a buffer that is gone: %v", what, err)
		}
	}
	if h.Merge("", 1) == nil || g.Merge("sft", math.NaN()) == nil || g.LookAhead(ctx, "sft", math.Inf(1), func() error { return nil }) == nil {
		t.Error("merging the optimiser's gradient into itself, or a weight that is not finite, passed")
	}
	if u := must(b.Step(ctx, adam))(t); !u.Skipped {
		t.Error("a step without a gradient")
	}
}

// A Backward that fails empties what it was to add to, and nothing else.
func TestBufferAfterError(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{MicroTokens: 1})
	g := must(e.Gradients())(t)
	sft, rl := two()
	must(e.Backward(ctx, normalised(t, into(sft, "kept"), into(sft, "sft"))))(t)
	rl.Rows[2].Seq.Channel(engine.ChanAdvantage)[4] = float32(math.NaN())
	if _, err := e.Backward(ctx, normalised(t, into(sft, "sft"), into(rl, "rl"))); err == nil {
		t.Fatal("a loss that is not a number passed")
	}
	if must(g.Norm("sft"))(t) != 0 || must(g.Norm("rl"))(t) != 0 || must(g.Norm(""))(t) != 0 || must(g.Norm("kept"))(t) == 0 {
		t.Error("a failed Backward left something, or took too much")
	}
}
