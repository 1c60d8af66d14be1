package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/tensor"
)

const (
	sharedModels = "../../shared/models"
	sharedDigits = "../../shared/data/verl_digit_completion"
)

// expected is an expected.json of the shared models.
type expected struct {
	Model     string
	Adapter   string
	Sequences []struct {
		Tokens            []int32
		Logprobs, Entropy []*float64
		TopLast           [][2]float64 `json:"top_last"`
	}
	LogitsLast  [][]float64 `json:"logits_last"`
	Generations []struct {
		Prompt, Tokens, Continuation []int32
		Gaps                         []float64
	}
	Tolerance struct {
		Logprobs, Entropy, Gap float64
		LogitsLast             float64 `json:"logits_last"`
	}
}

func readExpected(t testing.TB, path string) (*expected, string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skip("../shared absent: no model fixtures")
	}
	var e expected
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return &e, filepath.Join(filepath.Dir(path), e.Model)
}

// scored is what a model says about sequences.
type scored struct {
	logProb, entropy [][]float64
	last             [][]float32 // logits after the last token
}

// score runs all sequences as one packed batch.
func score(m *Model, sequences [][]int32) scored {
	in := &Input{}
	rows := tensor.HeadRows{}
	for _, s := range sequences {
		from := len(in.Tokens)
		in.Tokens = append(in.Tokens, s...)
		in.Docs = append(in.Docs, tensor.Doc{From: from, To: len(in.Tokens)})
		for i := range s[1:] {
			rows.Row, rows.Target = append(rows.Row, int32(from+i)), append(rows.Target, s[i+1])
		}
	}
	t := tensor.NewTape()
	t.Record(false)
	hidden := m.Forward(t, in)
	head := &tensor.Head{W: m.HeadWeight()}
	out := &tensor.HeadScores{LogProb: make([]float32, len(rows.Row)), Entropy: make([]float32, len(rows.Row))}
	if len(rows.Row) > 0 {
		head.Score(hidden, rows, out)
	}
	var r scored
	at := 0
	for i, s := range sequences {
		var lp, en []float64
		for range s[1:] {
			lp, en = append(lp, float64(out.LogProb[at])), append(en, float64(out.Entropy[at]))
			at++
		}
		logits := make([]float32, m.Config.Vocab)
		head.Logits(logits, hidden.Row(in.Docs[i].To-1), 1)
		r.logProb, r.entropy, r.last = append(r.logProb, lp), append(r.entropy, en), append(r.last, logits)
	}
	return r
}

// deviations are the largest differences from the expected values.
type deviations struct{ logProb, entropy, logits float64 }

func (d deviations) within(e *expected) bool {
	return d.logProb <= e.Tolerance.Logprobs && d.entropy <= e.Tolerance.Entropy && (e.LogitsLast == nil || d.logits <= e.Tolerance.LogitsLast)
}

func compare(m *Model, e *expected) (d deviations) {
	var list [][]int32
	for _, s := range e.Sequences {
		list = append(list, s.Tokens)
	}
	got := score(m, list)
	worse := func(max *float64, a, b float64) {
		if diff := math.Abs(a - b); diff > *max || diff != diff {
			*max = diff
		}
	}
	for i, s := range e.Sequences {
		for j := range s.Tokens[1:] {
			worse(&d.logProb, got.logProb[i][j], *s.Logprobs[j+1])
			worse(&d.entropy, got.entropy[i][j], *s.Entropy[j+1])
		}
		for j := range e.LogitsLast {
			if j == i {
				for k, want := range e.LogitsLast[i] {
					worse(&d.logits, float64(got.last[i][k]), want)
				}
			}
		}
		lse := logSumExp(got.last[i])
		for _, top := range s.TopLast {
			worse(&d.logProb, float64(got.last[i][int(top[0])])-lse, top[1])
		}
	}
	return d
}

func logSumExp(x []float32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, float64(v))
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

func argmax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// greedyFull decodes by running the whole sequence again for every token.
func greedyFull(m *Model, prompt []int32, n int) []int32 {
	tokens := append([]int32(nil), prompt...)
	for range n {
		tokens = append(tokens, argmax(score(m, [][]int32{tokens}).last[0]))
	}
	return tokens[len(prompt):]
}

// greedyCached decodes over the paged cache: the prompt in one step, then one row a step.
func greedyCached(m *Model, prompt []int32, n int) []int32 {
	c := &m.Config
	pages := (len(prompt)+n)/tensor.PageTokens + 1
	in := &Input{KV: tensor.NewKV(c.Layers, c.KVHeads, c.HeadDim, pages+1)}
	var list []int32
	for p := range pages {
		list = append(list, int32(pages-p)) // not in order, and page 0 is not used
	}
	t := tensor.NewTape()
	t.Record(false)
	head := &tensor.Head{W: m.HeadWeight()}
	logits := make([]float32, c.Vocab)
	var out []int32
	step, pos := prompt, int32(0)
	for range n {
		in.Tokens, in.Rows = step, in.Rows[:0]
		for range step {
			in.Rows = append(in.Rows, tensor.CachedRow{Pages: list, Pos: pos})
			pos++
		}
		t.Reset()
		hidden := m.Forward(t, in)
		head.Logits(logits, hidden.Row(len(step)-1), 1)
		out = append(out, argmax(logits))
		step = []int32{out[len(out)-1]}
	}
	return out
}

// checkGreedy compares continuations up to the first step that is too close to call; at most steps tokens (0: all).
func checkGreedy(t *testing.T, m *Model, e *expected, name string, steps int, decode func(*Model, []int32, int) []int32) {
	t.Helper()
	for i, g := range e.Generations {
		prompt := g.Prompt
		if prompt == nil {
			prompt = g.Tokens
		}
		n := len(g.Continuation)
		if steps > 0 {
			n = min(n, steps)
		}
		got := decode(m, prompt, n)
		for k := range n {
			if g.Gaps[k] < e.Tolerance.Gap {
				break
			}
			if got[k] != g.Continuation[k] {
				t.Errorf("%s: continuation %d, step %d: id %d, want %d (gap %g)", name, i, k, got[k], g.Continuation[k], g.Gaps[k])
				break
			}
		}
	}
}

func TestConformance(t *testing.T) {
	paths, _ := filepath.Glob(sharedModels + "/tiny/*/expected.json")
	for _, pattern := range []string{"/peft/*/expected.json", "/gguf/*.expected.json"} {
		more, _ := filepath.Glob(sharedModels + pattern)
		paths = append(paths, more...)
	}
	if len(paths) == 0 {
		t.Skip("../shared absent: no model fixtures")
	}
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(path), sharedModels+"/"), "expected.json")
		t.Run(name, func(t *testing.T) {
			e, folder := readExpected(t, path)
			m, err := Load(folder)
			if err != nil {
				t.Fatal(err)
			}
			if e.Adapter != "" {
				if err := m.LoadAdapter(filepath.Join(filepath.Dir(path), e.Adapter)); err != nil {
					t.Fatal(err)
				}
			}
			d := compare(m, e)
			t.Logf("largest deviations: log-prob %.2g, entropy %.2g, logits %.2g", d.logProb, d.entropy, d.logits)
			if !d.within(e) {
				t.Errorf("deviations %+v exceed %+v", d, e.Tolerance)
			}
			full := 0
			if testing.Short() {
				full = 4 // the whole sequence again for each token takes long under the race detector
			}
			checkGreedy(t, m, e, "full", full, greedyFull)
			checkGreedy(t, m, e, "cached", 0, greedyCached)
			checkFaults(t, m, e)
		})
	}
}

// faults are errors of a reader or of a forward pass that the tolerances must catch. Each returns false where the model has no such part.
var faults = []struct {
	name  string
	plant func(m *Model) bool
}{
	{"two rows of the head swapped", func(m *Model) bool {
		w := m.HeadWeight()
		for i := range w.Cols {
			w.Row(3)[i], w.Row(4)[i] = w.Row(4)[i], w.Row(3)[i]
		}
		return true
	}},
	{"v transposed", func(m *Model) bool {
		w := m.blocks[1].v.w
		square := min(w.Rows, w.Cols)
		for i := range square {
			for j := range i {
				w.Data[i*w.Cols+j], w.Data[j*w.Cols+i] = w.Data[j*w.Cols+i], w.Data[i*w.Cols+j]
			}
		}
		return true
	}},
	{"bias of v dropped", func(m *Model) bool {
		if m.blocks[1].v.b == nil {
			return false
		}
		clear(m.blocks[1].v.b.Data)
		return true
	}},
	{"norm weight ignored", func(m *Model) bool { fill(m.blocks[2].norm1.Data, 1); return true }},
	{"norm of k ignored", func(m *Model) bool {
		if m.blocks[0].kNorm == nil {
			return false
		}
		fill(m.blocks[0].kNorm.Data, 1)
		return true
	}},
	{"halves of q's heads interleaved", func(m *Model) bool {
		if m.Config.Family == GPT2 {
			return false
		}
		w := m.blocks[0].q.w
		e := entry{layout: outIn, in: w.Rows, out: w.Cols, heads: m.Config.Heads}
		file := make([]float32, len(w.Data))
		e.toFile(file, w.Data)
		e.fromFile(w.Data, file, true)
		return true
	}},
	{"rotary embedding in all layers", func(m *Model) bool { had := m.Config.NoRope != nil; m.Config.NoRope = nil; return had }},
	{"rotary base", func(m *Model) bool { m.Config.RopeTheta *= 1.5; return m.Config.Family != GPT2 }},
	{"no rotary scaling", func(m *Model) bool {
		had := m.Config.Rope.Type == "llama3"
		m.Config.Rope.Type = "default"
		return had
	}},
	{"another GELU", func(m *Model) bool { m.Config.Act = "gelu"; return m.Config.Family == GPT2 }},
	{"adapter's scale", func(m *Model) bool {
		if m.adapter == nil {
			return false
		}
		m.blocks[1].q.lora.scale *= 0.9
		return true
	}},
}

func checkFaults(t *testing.T, m *Model, e *expected) {
	planted := 0
	for _, f := range faults {
		c := deepCopy(t, m)
		if !f.plant(c) {
			continue
		}
		planted++
		if d := compare(c, e); d.within(e) {
			t.Errorf("planted fault %q stays within the tolerance: %+v", f.name, d)
		}
	}
	if planted < 3 {
		t.Errorf("only %d faults could be planted", planted)
	}
}

// deepCopy copies the base weights, too.
func deepCopy(t *testing.T, m *Model) *Model {
	t.Helper()
	c := m.Clone()
	for i := range c.base {
		c.base[i].Data = append([]float32(nil), c.base[i].Data...)
	}
	c.cutViews()
	return c
}

func TestSmolLM2(t *testing.T) {
	if testing.Short() {
		t.Skip("a real model takes some seconds")
	}
	e, path := readExpected(t, sharedModels+"/smollm2-135m-instruct/expected.json")
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if m.Count() != 134515008 {
		t.Errorf("%d parameters", m.Count())
	}
	d := compare(m, e)
	t.Logf("largest deviations: log-prob %.2g, entropy %.2g", d.logProb, d.entropy)
	if !d.within(e) {
		t.Errorf("deviations %+v exceed %+v", d, e.Tolerance)
	}
	checkGreedy(t, m, e, "cached", 0, greedyCached)
	checkGreedy(t, m, e, "full", 2, greedyFull)
	w := m.blocks[7].norm2
	copy(w.Data, m.blocks[8].norm2.Data)
	if d := compare(m, e); d.within(e) {
		t.Errorf("another layer's norm stays within the tolerance: %+v", d)
	}
}

func TestDigitCompletion(t *testing.T) {
	data, err := os.ReadFile(sharedDigits + "/reference_logits.json")
	if err != nil {
		t.Skip("../shared absent: no digit completion model")
	}
	var cases []struct {
		IDs  []int32   `json:"ids"`
		Last []float64 `json:"logits_last"`
		NLL  *float64  `json:"mean_nll"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	m, err := Load(sharedDigits + "/model")
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for i, c := range cases {
		got := score(m, [][]int32{c.IDs})
		for k, want := range c.Last {
			worst = max(worst, math.Abs(float64(got.last[0][k])-want))
		}
		if c.NLL != nil {
			sum := 0.0
			for _, lp := range got.logProb[0] {
				sum -= lp
			}
			worst = max(worst, math.Abs(sum/float64(len(c.IDs)-1)-*c.NLL))
		}
		if worst > 1e-5 {
			t.Errorf("sequence %d deviates by %g", i, worst)
		}
	}
	t.Logf("largest deviation %.2g", worst)
}

func ExampleModel_Check() {
	m, _ := New(Config{Family: Llama, Vocab: 8, Hidden: 4, Inner: 8, Layers: 1, Heads: 2, MaxPos: 3, NormEps: 1e-5, RopeTheta: 1e4}, 1)
	fmt.Println(m.Check([]int32{1, 9}))
	fmt.Println(m.Check([]int32{1, 2, 3, 4}))
	// Output:
	// token 1 is id 9, but the vocabulary has 8 ids
	// the sequence has 4 tokens, but the model's context is 3
}
