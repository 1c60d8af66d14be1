package local

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/token"
)

// rawLogits are the logits after the last token, by the packed forward.
func rawLogits(e *Engine, s *engine.Sequence) []float32 {
	in := model.Input{Tokens: s.Tokens, Docs: []tensor.Doc{{From: 0, To: len(s.Tokens)}}}
	hidden := e.live.m.Forward(e.live.prepare(len(in.Tokens)), &in)
	out := make([]float32, e.live.m.Config.Vocab)
	e.live.head.Logits(out, hidden.Row(len(s.Tokens)-1), 1)
	return out
}

// reference is the distribution that Params ask for, in float64 and straight from the definitions; q is nil where nothing is cut.
func reference(logits []float32, seen []int32, p engine.Params) (policy, drawn []float64) {
	temp := float64(p.Temperature)
	if temp == 0 {
		temp = 1
	}
	softmax := func(z []float64) []float64 {
		out, sum := make([]float64, len(z)), 0.0
		for i := range z {
			out[i] = math.Exp((z[i] - slices.Max(z)) / temp)
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
		return out
	}
	z := make([]float64, len(logits))
	for i, x := range logits {
		z[i] = float64(x)
	}
	policy = softmax(z)
	if r := float64(p.RepetitionPenalty); r != 0 {
		for _, id := range seen {
			if x := float64(logits[id]); x > 0 {
				z[id] = x / r
			} else {
				z[id] = x * r
			}
		}
	}
	drawn = softmax(z)
	order := make([]int, len(z))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case drawn[a] > drawn[b]:
			return -1
		case drawn[a] < drawn[b]:
			return 1
		}
		return 0
	})
	cut := func(keep int) {
		sum := 0.0
		for i, id := range order {
			if i >= keep {
				drawn[id] = 0
			}
			sum += drawn[id]
		}
		for id := range drawn {
			drawn[id] /= sum
		}
	}
	if p.TopK > 0 {
		cut(p.TopK)
	}
	if p.TopP > 0 {
		keep, mass := 0, 0.0
		for keep < len(order) && mass < float64(p.TopP) {
			mass += drawn[order[keep]]
			keep++
		}
		cut(keep)
	}
	if p.MinP > 0 {
		keep := 0
		for keep < len(order) && drawn[order[keep]] >= float64(p.MinP)*drawn[order[0]] {
			keep++
		}
		cut(keep)
	}
	return policy, drawn
}

// chiSquare returns Pearson's statistic over cells with at least five expected draws (the rest is one cell) and a bound that a right
// sampler passes all but once in about 10,000 times.
func chiSquare(counts []int, n int, want []float64) (stat, bound float64) {
	cells, restWant, restGot := 0, 0.0, 0
	for id, p := range want {
		if e := p * float64(n); e >= 5 {
			stat += (float64(counts[id]) - e) * (float64(counts[id]) - e) / e
			cells++
		} else {
			restWant, restGot = restWant+e, restGot+counts[id]
		}
	}
	if restWant > 1 {
		stat += (float64(restGot) - restWant) * (float64(restGot) - restWant) / restWant
		cells++
	}
	df := float64(max(1, cells-1))
	return stat, df * math.Pow(1-2/(9*df)+3.72*math.Sqrt(2/(9*df)), 3) // Wilson and Hilferty 1931
}

// Draws follow the distribution that was asked for, and both log-prob channels say what was drawn from.
func TestDistributions(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	const n = 6000
	for _, p := range []engine.Params{{}, {Temperature: 0.7}, {Temperature: 1.3}, {TopK: 5}, {TopP: 0.8}, {MinP: 0.1}, {RepetitionPenalty: 1.5}, {RepetitionPenalty: 0.8},
		{Temperature: 1.3, TopK: 20, TopP: 0.7, MinP: 0.05, RepetitionPenalty: 1.2}, {TopK: 1}, {TopK: 97, TopP: 1}} {
		s := prompt(4, 50)
		policy, want := reference(rawLogits(e, s), s.Tokens, p)
		_, wrong := reference(rawLogits(e, s), s.Tokens, engine.Params{Temperature: 1.6, TopK: p.TopK})
		p.MaxTokens = 1
		out, err := e.Sample(ctx, []engine.Prompt{{Seq: s, N: n, Params: p, Key: rng.New(5, "chi")}})
		if err != nil {
			t.Fatal(err)
		}
		counts := make([]int, len(want))
		for _, o := range out[0] {
			id := o.Tokens[50]
			counts[id]++
			old, drawn := float64(o.Channel(engine.ChanOld)[50]), float64(o.Channel(engine.ChanDrawn)[50])
			if want[id] == 0 {
				t.Fatalf("%+v: drew id %d, which is cut off", p, id)
			}
			if math.Abs(old-math.Log(policy[id])) > 2e-5 || math.Abs(drawn-math.Log(want[id])) > 2e-5 {
				t.Fatalf("%+v: id %d: logp_old %g, want %g; logp_drawn %g, want %g", p, id, old, math.Log(policy[id]), drawn, math.Log(want[id]))
			}
		}
		stat, bound := chiSquare(counts, n, want)
		if stat > bound {
			t.Errorf("%+v: chi-square %.1f, bound %.1f", p, stat, bound)
		}
		if stat, bound := chiSquare(counts, n, wrong); p.TopK != 1 && stat <= bound {
			t.Errorf("%+v: a wrong temperature is not seen: chi-square %.1f, bound %.1f", p, stat, bound)
		}
	}
}

// A draw goes to the first id at which the sum of all weights so far passes its share of the total.
func TestPlainDrawIsTheFirstPastItsShare(t *testing.T) {
	inf := float32(math.Inf(-1))
	for _, n := range []int{1, 255, 256, 257, 2000} {
		d := drawer{key: rng.New(7, "plain", uint64(n)), room: &drawRoom{}}
		z := make([]float32, n)
		for i := range z {
			if z[i] = float32(3 * d.key.Normal(uint64(i))); i%3 == 1 || i > 1500 {
				z[i] = inf
			}
		}
		hits := map[int32]bool{}
		for draw := range 500 {
			got := d.plain(z, slices.Max(z), 0.9, draw)
			total, sum, want := 0.0, 0.0, -1
			for _, p := range d.room.probs {
				total += float64(p)
			}
			for i, p := range d.room.probs {
				if sum += float64(p); sum > d.key.Float64(uint64(draw))*total {
					want = i
					break
				}
			}
			if int(got) != want {
				t.Fatalf("draw %d of %d ids: %d, want %d", draw, n, got, want)
			}
			hits[got] = true
		}
		if len(hits) < min(n, 50)/2 {
			t.Errorf("%d ids: only %d drawn", n, len(hits))
		}
	}
}

// Greedy takes the best logit, the lowest id on a tie, and carries temperature 1.
func TestGreedy(t *testing.T) {
	if got := argmax([]float32{1, 3, 2, 3}, 3); got != 1 {
		t.Errorf("argmax with a tie: %d", got)
	}
	e := open(t, loud(t, model.GPT2, true), Options{})
	out, err := e.Sample(ctx, []engine.Prompt{{Seq: prompt(1, 40), N: 2, Params: engine.Params{Greedy: true, Temperature: 0.5, MaxTokens: 30}, Key: rng.New(1, "g")}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, out[:1], [][]*engine.Sequence{{out[0][1], out[0][0]}})
	s := out[0][0]
	for at := 40; at < len(s.Tokens); at++ {
		z := rawLogits(e, &engine.Sequence{Tokens: s.Tokens[:at]})
		if best := argmax(z, slices.Max(z)); best != s.Tokens[at] {
			t.Fatalf("token %d is %d, the best is %d", at, s.Tokens[at], best)
		}
	}
	if s.Temp != 1 || s.Channel(engine.ChanDrawn)[45] != 0 || s.Channel(engine.ChanOld)[45] == 0 {
		t.Errorf("temperature %g, logp_drawn %g, logp_old %g", s.Temp, s.Channel(engine.ChanDrawn)[45], s.Channel(engine.ChanOld)[45])
	}
}

// text is a model over bytes whose samples have to be readable by stop strings.
func text(t testing.TB) *Engine {
	c := small(model.Llama)
	c.Vocab = token.Bytes().VocabSize()
	m, err := model.New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(m, token.Bytes(), Options{Context: 200})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Sampling ends at stop ids, stop strings (also over several tokens), MaxTokens and the end of the context, and nowhere else.
func TestStops(t *testing.T) {
	e := text(t)
	base := engine.Prompt{Seq: &engine.Sequence{Tokens: []int32{65, 66, 67, 68}}, N: 1, Key: rng.New(1, "stop")}
	run := func(p engine.Params) *engine.Sequence {
		t.Helper()
		q := base
		q.Params = p
		out, err := e.Sample(ctx, []engine.Prompt{q})
		if err != nil {
			t.Fatal(err)
		}
		return out[0][0]
	}
	free := run(engine.Params{MaxTokens: 100})
	if len(free.Tokens) != 104 || free.Stop != engine.StopLength {
		t.Fatalf("%d tokens, stop %q", len(free.Tokens), free.Stop)
	}
	if s := run(engine.Params{}); len(s.Tokens) != 200 || s.Stop != engine.StopContext {
		t.Errorf("no limit: %d tokens, stop %q", len(s.Tokens), s.Stop)
	}
	if s := run(engine.Params{MaxTokens: 196}); len(s.Tokens) != 200 || s.Stop != engine.StopLength {
		t.Errorf("limit at the context's end: %d tokens, stop %q", len(s.Tokens), s.Stop)
	}
	if s := run(engine.Params{MaxTokens: 197}); len(s.Tokens) != 200 || s.Stop != engine.StopContext {
		t.Errorf("limit behind the context's end: %d tokens, stop %q", len(s.Tokens), s.Stop)
	}
	for at := 30; at < 90; at += 7 { // stops that only come to pass in the middle of the free sample
		stop := []int32{free.Tokens[at]}
		end := 4 + slices.Index(free.Tokens[4:], stop[0])
		if s := run(engine.Params{MaxTokens: 100, StopIDs: stop}); s.Stop != engine.StopEOS || !slices.Equal(s.Tokens, free.Tokens[:end+1]) {
			t.Errorf("stop id %d: stop %q after %d tokens, want %d", stop[0], s.Stop, len(s.Tokens), end+1)
		}
		str := ""
		for _, id := range free.Tokens[at-2 : at+1] {
			str += string(token.Bytes().Bytes(id))
		}
		if len(str) < 3 {
			continue // a special token in it
		}
		want, sofar := 0, ""
		for i, id := range free.Tokens[4:] {
			sofar += string(token.Bytes().Bytes(id))
			if len(sofar) >= len(str) && sofar[len(sofar)-len(str):] == str {
				want = 4 + i + 1
				break
			}
		}
		if s := run(engine.Params{MaxTokens: 100, Stop: []string{"never seen here", str}}); s.Stop != engine.StopText || len(s.Tokens) != want {
			t.Errorf("stop string %q: stop %q after %d tokens, want %d", str, s.Stop, len(s.Tokens), want)
		}
	}
	if s := run(engine.Params{MaxTokens: 20, Stop: []string{"ABCD"}}); s.Stop != engine.StopLength {
		t.Errorf("a stop string of the prompt ended the sample: %q", s.Stop)
	}
	full := engine.Prompt{Seq: prompt(1, 200), N: 2}
	out, err := e.Sample(ctx, []engine.Prompt{full, {Seq: prompt(1, 10)}, base})
	if err != nil || len(out[0][1].Tokens) != 200 || out[0][0].Stop != engine.StopContext || len(out[1]) != 0 || len(out[2]) != 1 {
		t.Errorf("a prompt that fills the context, and one without samples: %v", err)
	}
}

// Score and Backward have one forward: the same bytes, whatever the micro-batches. Prompts longer than one prefill pass keep the ratio at 1.
func TestScoreIsBackward(t *testing.T) {
	m := loud(t, model.Qwen3, true)
	c := small(model.Qwen3)
	c.MaxPos = 700
	long, err := model.New(c, 4)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*model.Model{"short": m, "long": long} {
		e := open(t, m, Options{MicroTokens: 400, Slots: 4})
		n := 30
		if name == "long" {
			n = 600
		}
		out, err := e.Sample(ctx, []engine.Prompt{{Seq: prompt(1, n), N: 6, Params: engine.Params{Temperature: 0.7, MaxTokens: 70}, Key: rng.New(1, "a")}, {Seq: prompt(2, 33), N: 1, Params: engine.Params{MaxTokens: 66}, Key: rng.New(2, "b")}})
		if err != nil {
			t.Fatal(err)
		}
		p := probe{map[*engine.Sequence][]float32{}}
		var rows []engine.Row
		var seqs []*engine.Sequence
		for _, s := range append(out[0], out[1]...) {
			rows, seqs = append(rows, fullRow(s)), append(seqs, s)
		}
		if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "probe", Obj: p, Rows: rows})); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(seqs)
		scores, err := open(t, m, Options{MicroTokens: 1}).Score(ctx, seqs, engine.Want{Entropy: true, TopK: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range seqs {
			if !slices.Equal(scores[i].LogProb[1:], p.seen[s][1:]) {
				t.Fatalf("%s: sequence %d: Score and Backward differ", name, i)
			}
			for k, kind := range s.Kind {
				if kind == engine.KindSampled && s.Channel(engine.ChanOld)[k] != p.seen[s][k] {
					t.Fatalf("%s: sequence %d token %d: sampler and Backward differ", name, i, k)
				}
			}
		}
	}
}

// The adapters of ../shared/models/peft, unmerged: ratio exactly 1.
func TestRatioIsOneWithSharedAdapters(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "models")
	if _, err := os.Stat(root); err != nil {
		t.Skip("../shared absent: its adapters are not tried")
	}
	for adapter, base := range map[string]string{"llama-all-rslora": "llama", "llama-qv": "llama", "llama-modules-to-save": "llama", "qwen2-all": "qwen2"} {
		t.Run(adapter, func(t *testing.T) {
			m, err := model.Load(filepath.Join(root, "tiny", base))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.LoadAdapter(filepath.Join(root, "peft", adapter)); err != nil {
				t.Fatal(err)
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
			ratioIsOne(t, m, 0.7, 7)
		})
	}
}

// Samples of many prompts that end at different times, so that pages go back while others of the same prompt still run, are those drawn alone;
// neither the number of slots nor the order of the prompts changes one.
func TestRefilledSlots(t *testing.T) {
	m := loud(t, model.Llama, true)
	var prompts []engine.Prompt
	for i := range 10 {
		prompts = append(prompts, engine.Prompt{Seq: prompt(uint64(i), 25+13*i), N: 1 + i%4, Key: rng.New(uint64(i), "refill"),
			Params: engine.Params{MaxTokens: 45, Temperature: 1.3, StopIDs: []int32{1, 2, 3, 4, 5, 6, 7, 8}}})
	}
	want := make([][]*engine.Sequence, len(prompts))
	lengths := map[int]bool{}
	for i, p := range prompts {
		one, err := open(t, m, Options{}).Sample(ctx, []engine.Prompt{p})
		if err != nil {
			t.Fatal(err)
		}
		want[i] = one[0]
		for _, s := range one[0] {
			lengths[len(s.Tokens)-len(p.Seq.Tokens)] = true
		}
	}
	if len(lengths) < 8 {
		t.Fatalf("samples have only %d different lengths", len(lengths))
	}
	for _, slots := range []int{2, 3, 7, 64} {
		for _, turn := range []int{0, 3, 8} {
			order := append(slices.Clone(prompts[turn:]), prompts[:turn]...)
			got, err := open(t, m, Options{Slots: slots}).Sample(ctx, order)
			if err != nil {
				t.Fatal(err)
			}
			expected := append(slices.Clone(want[turn:]), want[:turn]...)
			same(t, expected, got)
			for i := range got {
				for k := range got[i] {
					if !slices.Equal(got[i][k].Channel(engine.ChanOld), expected[i][k].Channel(engine.ChanOld)) {
						t.Fatalf("slots %d: prompt %d sample %d: other log-probs than alone", slots, i, k)
					}
				}
			}
		}
	}
}
