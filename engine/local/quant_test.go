package local

import (
	"bytes"
	"fmt"

	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/tensor"
)

// quantised is a model whose matrices are random blocks of a format, under an adapter that does something when lora is set. wide makes the
// weights float32.
func quantised(t testing.TB, f tensor.QuantFormat, lora, wide bool) *model.Model {
	t.Helper()
	c := small(model.Llama)
	c.Hidden, c.HeadDim, c.Inner = 64, 16, 96
	m, err := model.New(c, 3)
	if err != nil {
		t.Fatal(err)
	}
	head := map[tensor.QuantFormat][]byte{tensor.Q8_0: {0, 0x1c}, tensor.Q4_0: {0, 0x2c}, tensor.Q4_1: {0, 0x2c, 0, 0xb7}}[f]
	for n, p := range m.Weights() {
		if !p.Decay {
			continue
		}
		rows, cols, table := p.Cols, p.Rows, strings.Contains(p.Name, "embed")
		if table {
			rows, cols = cols, rows
		}
		q, key, row := tensor.NewQuantised(f, rows, cols), rng.New(4, "blocks", uint64(n)), make([]byte, cols/32*f.Bytes())
		for r := range rows {
			for i := range row {
				if row[i] = byte(key.Uint64(uint64(r*len(row) + i))); i%f.Bytes() < len(head) {
					row[i] = head[i%f.Bytes()]
				}
			}
			q.SetRow(r, row)
		}
		*p.Tensor = *tensor.NewQuantLinear(p.Name, q, 1)
		if table {
			*p.Tensor = *tensor.NewQuantTable(p.Name, q)
		}
	}
	if wide {
		m.Dequantise()
	}
	if lora {
		if err := m.AddLoRA(model.LoRASpec{Rank: 3, Alpha: 6, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		for n, p := range m.Params() {
			for i := range p.Data {
				p.Data[i] += float32(0.1 * rng.New(9, "adapter", uint64(n)).Normal(uint64(i)))
			}
		}
	}
	return m
}

var quantFormats = map[string]tensor.QuantFormat{"Q8_0": tensor.Q8_0, "Q4_0": tensor.Q4_0, "Q4_1": tensor.Q4_1}

func TestRatioIsOneQuantised(t *testing.T) {
	for name, f := range quantFormats {
		t.Run(name, func(t *testing.T) { ratioIsOne(t, quantised(t, f, true, false), 0.7, 7) })
	}
}

// Sampling, scoring and steps of an adapter over quantised weights have the bytes of those over the dequantised ones, and a state of either
// goes on over the other.
func TestQuantisedIsWide(t *testing.T) {
	step := func(e *Engine, key uint64) {
		t.Helper()
		var rows []engine.Row
		for i := range 3 {
			rows = append(rows, fullRow(prompt(key+uint64(i), 30+9*i)))
		}
		if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean, Rows: rows})); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Step(ctx, engine.Optim{LR: 1e-2, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Clip: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range quantFormats {
		q, w := open(t, quantised(t, f, true, false), Options{MicroTokens: 70}), open(t, quantised(t, f, true, true), Options{MicroTokens: 70})
		for i := range 3 {
			step(q, uint64(10*i))
			step(w, uint64(10*i))
		}
		state := saved(t, q)
		if !bytes.Equal(state, saved(t, w)) {
			t.Fatalf("%s: three steps leave other states", name)
		}
		other := open(t, quantised(t, f, true, true), Options{MicroTokens: 70})
		if err := other.Load(ctx, bytes.NewReader(state)); err != nil {
			t.Fatal(err)
		}
		step(q, 90)
		step(other, 90)
		if !bytes.Equal(saved(t, q), saved(t, other)) {
			t.Errorf("%s: a state goes on differently over the dequantised weights", name)
		}
		step(w, 91)
		if bytes.Equal(saved(t, q), saved(t, w)) {
			t.Errorf("%s: another batch was not seen", name)
		}
		if err := open(t, quantised(t, (f+1)%3, true, false), Options{}).Load(ctx, bytes.NewReader(state)); err == nil || !strings.Contains(err.Error(), "another base") {
			t.Errorf("%s: a state over another base: %v", name, err)
		}
		prompts := []engine.Prompt{{Seq: prompt(1, 37), N: 5, Params: engine.Params{Temperature: 1, MaxTokens: 40}, Key: rng.New(1, "a")}}
		sameBits(t, name, sample(t, q, prompts...), sample(t, other, prompts...))
	}
}

// Without an adapter there is nothing to train, and that is said by name; scoring and sampling go on.
func TestQuantisedWithoutAdapter(t *testing.T) {
	e := open(t, quantised(t, tensor.Q4_1, false, false), Options{})
	b := normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean, Rows: []engine.Row{fullRow(prompt(1, 20))}})
	if _, err := e.Backward(ctx, b); err == nil || !strings.Contains(err.Error(), "lora.rank") || !strings.Contains(err.Error(), "Q4_1") {
		t.Errorf("Backward: %v", err)
	}
	if err := e.Fit(ctx, engine.Work{Longest: 20}); err == nil || !strings.Contains(err.Error(), "keep_quantised") {
		t.Errorf("Fit: %v", err)
	}
	if i := e.Info(); i.Trainable != 0 || i.Precision != "f32 over Q4_1" {
		t.Errorf("%+v", i)
	}
	sample(t, e, engine.Prompt{Seq: prompt(1, 7), N: 2, Params: engine.Params{Temperature: 1, MaxTokens: 9}, Key: rng.New(1, "a")})
	again := open(t, quantised(t, tensor.Q4_1, false, false), Options{})
	if err := again.Load(ctx, bytes.NewReader(saved(t, e))); err != nil {
		t.Error(err)
	}
	if err := open(t, quantised(t, tensor.Q8_0, false, false), Options{}).Load(ctx, bytes.NewReader(saved(t, e))); err == nil {
		t.Error("a state of other weights was accepted")
	}
}

// The plan counts the blocks, not what they would widen to, and a frozen copy shares them.
func TestQuantisedMemory(t *testing.T) {
	plan := func(wide bool) engine.Memory {
		m, err := open(t, quantised(t, tensor.Q4_0, true, wide), Options{}).Memory(engine.Work{Longest: 64, Frozen: 1})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	q, w := plan(false), plan(true)
	if w.Weights < 6*q.Weights || q.Weights <= 0 {
		t.Errorf("quantised weights take %d bytes, wide ones %d", q.Weights, w.Weights)
	}
	w.Weights = q.Weights
	if q != w {
		t.Errorf("the rest of the plan differs: %+v and %+v", q, w)
	}
}

// A frozen model that is opened by an engine over quantised weights keeps its own, and has the bytes of the wide one.
func TestOpenQuantised(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "models", "gguf", "llama-q8_0.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Skip("../shared absent: no GGUF files to read")
	}
	var states [][]byte
	for _, load := range []func(string) (*model.Model, error){model.LoadQuantised, model.Load} {
		m, err := load(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.AddLoRA(model.LoRASpec{Rank: 2, Alpha: 4, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		was := m.Quantised()
		e := open(t, m, Options{})
		f, err := e.Open(ctx, "teacher", path)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.frozen["teacher"].m.Quantised(); got != was {
			t.Errorf("opened quantised %v under a model quantised %v", got, was)
		}
		states = append(states, append(saved(t, e), logProbs(t, f)...))
	}
	if !bytes.Equal(states[0], states[1]) {
		t.Error("states or log-probs differ")
	}
}

// BenchmarkQuantised decodes and trains an adapter with SmolLM2-135M, its weights in float32 and as the file has them. Figures are of the fastest round.
func BenchmarkQuantised(b *testing.B) {
	path := filepath.Join("..", "..", "..", "shared", "models", "smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf")
	if _, err := os.Stat(path); err != nil {
		b.Skip("../shared absent: no model")
	}
	for name, load := range map[string]func(string) (*model.Model, error){"f32": model.Load, "quantised": model.LoadQuantised} {
		m, err := load(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.AddLoRA(model.LoRASpec{Rank: 16, Alpha: 32, Seed: 1}); err != nil {
			b.Fatal(err)
		}
		for _, threads := range []int{1, 2} {
			for _, streams := range []int{1, 4, 16} {
				b.Run(fmt.Sprintf("decode/%s/streams=%d/threads=%d", name, streams, threads), func(b *testing.B) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
					m.DisableAdapter(true)
					defer m.DisableAdapter(false)
					e := open(b, m, Options{Context: 256})
					best := 0.0
					for b.Loop() {
						start := time.Now()
						sample(b, e, engine.Prompt{Seq: prompt(1, 8), N: streams, Params: engine.Params{Temperature: 1, MaxTokens: 24}, Key: rng.New(1, "a")})
						best = max(best, float64(24*streams)/time.Since(start).Seconds())
					}
					b.ReportMetric(best, "tokens/s")
				})
			}
			b.Run(fmt.Sprintf("lora/%s/threads=%d", name, threads), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
				e := open(b, m, Options{MicroTokens: 512})
				batch := normalised(b, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean, Rows: []engine.Row{fullRow(prompt(1, 256)), fullRow(prompt(2, 256))}})
				best := 0.0
				for b.Loop() {
					start := time.Now()
					if _, err := e.Backward(ctx, batch); err != nil {
						b.Fatal(err)
					}
					best = max(best, 512/time.Since(start).Seconds())
				}
				b.ReportMetric(best, "tokens/s")
			})
		}
	}
}
