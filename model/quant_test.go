package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
)

var allFormats = map[string]tensor.QuantFormat{"Q8_0": tensor.Q8_0, "Q4_0": tensor.Q4_0, "Q4_1": tensor.Q4_1}

// randomBlocks returns a matrix whose numbers have about the size of weights.
func randomBlocks(key rng.Key, f tensor.QuantFormat, n, cols int) *tensor.Quantised {
	head := map[tensor.QuantFormat][]byte{tensor.Q8_0: {0, 0x18}, tensor.Q4_0: {0, 0x28}, tensor.Q4_1: {0, 0x28, 0, 0xb3}}[f] // scales 2^-9 and 2^-5, minimum -0.22
	q := tensor.NewQuantised(f, n, cols)
	row := make([]byte, cols/32*f.Bytes())
	for r := range n {
		for i := range row {
			row[i] = byte(key.Uint64(uint64(r*len(row) + i)))
			if at := i % f.Bytes(); at < len(head) {
				row[i] = head[at] | row[i]&3<<(at%2) // scales that differ
			}
		}
		q.SetRow(r, row)
	}
	return q
}

// quantise gives every matrix of a model random blocks.
func quantise(m *Model, f tensor.QuantFormat) {
	for i := range m.specs {
		s := &m.specs[i]
		if s.layout == vector {
			continue
		}
		p, key := m.base[i].Tensor, rng.New(5, "blocks").Sub(s.hf)
		if s.layout == rows {
			*p = *tensor.NewQuantTable(p.Name, randomBlocks(key, f, s.in, s.out))
		} else {
			*p = *tensor.NewQuantLinear(p.Name, randomBlocks(key, f, s.out, s.in), max(s.parts, 1))
		}
	}
	m.cutViews()
}

func wide32(c *Config) { c.Hidden, c.Inner, c.HeadDim = 64, 96, 16 }

// sameOutput fails unless all log-probs, entropies and logits are the same numbers.
func sameOutput(t *testing.T, what string, a, b scored) {
	t.Helper()
	if fmt.Sprint(a) != fmt.Sprint(b) || largest(a, b) != 0 {
		t.Errorf("%s: the output differs by %g", what, largest(a, b))
	}
}

// gradients returns those of one step of an adapter that does something, over the test's sequences.
func gradients(t *testing.T, m *Model) (all []float32) {
	t.Helper()
	if err := m.AddLoRA(LoRASpec{Rank: 3, Alpha: 6, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	for i, p := range m.Params() {
		shake(p.Tensor, uint64(i))
	}
	if err := m.Train(); err != nil {
		t.Fatal(err)
	}
	type sequence struct {
		Tokens  []int32
		Weights []float64
	}
	var list []sequence
	for _, x := range testTokens {
		w := make([]float64, len(x))
		for i := range w {
			w[i] = 1
		}
		list = append(list, sequence{x, w})
	}
	data, err := json.Marshal(map[string]any{"Input": map[string]any{"Steps": []any{map[string]any{"Sequences": list}}}})
	tr := &trajectory{}
	if err := errors.Join(err, json.Unmarshal(data, tr)); err != nil {
		t.Fatal(err)
	}
	firstStep(m, tr)
	for _, p := range m.Params() {
		all = append(all, p.Grad...)
	}
	return all
}

// compareQuantised checks that everything computed with the quantised weights of q has the bytes of w, the same model in float32.
func compareQuantised(t *testing.T, q, w *Model) {
	t.Helper()
	sameOutput(t, "base", score(w, testTokens), score(q, testTokens))
	sameOutput(t, "clone", score(w, testTokens), score(q.Clone(), testTokens))
	for i, p := range q.Weights() {
		at := 0
		p.Widen(func(x []float32) {
			if !sameValues(x, w.base[i].Data[at:at+len(x)], safetensors.F32) {
				t.Errorf("%s: widened to other numbers", p.Name)
			}
			at += len(x)
		})
		if at != p.Rows*p.Cols {
			t.Errorf("%s: %d numbers", p.Name, at)
		}
	}
	if err := q.Train(); err == nil || !strings.Contains(err.Error(), "keep_quantised") || len(q.Params()) != 0 {
		t.Errorf("training quantised weights: %v, %d parameters", err, len(q.Params()))
	}
	if a, b := gradients(t, w), gradients(t, q); !sameValues(a, b, safetensors.F32) || len(a) == 0 {
		t.Error("the adapter's gradient differs")
	}
	sameOutput(t, "adapter", score(w, testTokens), score(q, testTokens))
	clone := q.Clone()
	if !clone.Quantised() {
		t.Error("a clone is not quantised")
	}
	q.Merge()
	w.Merge()
	if q.Quantised() {
		t.Error("merging left quantised weights")
	}
	sameOutput(t, "merged", score(w, testTokens), score(q, testTokens))
	if !clone.Quantised() {
		t.Error("merging changed a clone")
	}
}

func TestQuantised(t *testing.T) {
	for _, family := range []Family{Llama, Qwen2, Qwen3, SmolLM3, GPT2} {
		for name, f := range allFormats {
			t.Run(fmt.Sprintf("%s/%s", family, name), func(t *testing.T) {
				q, w := small(t, family, wide32), small(t, family, wide32)
				full := q.Bytes()
				quantise(q, f)
				quantise(w, f)
				w.Dequantise()
				if w.Bytes() != full || q.Bytes() >= full/2 || q.QuantFormats() != name {
					t.Errorf("%d bytes of %s instead of %d", q.Bytes(), q.QuantFormats(), full)
				}
				// The comparison must see one wrong number, and a scale that is used twice.
				for _, at := range []*tensor.Tensor{w.blocks[1].o.w, w.embed} {
					at.Data[77] += 1e-3
					if largest(score(w, testTokens), score(q, testTokens)) == 0 {
						t.Error("a wrong number was not seen")
					}
					at.Data[77] -= 1e-3
				}
				quantise(w, f)
				w.Dequantise()
				compareQuantised(t, q, w)
			})
		}
	}
}

// The shared files: what is loaded quantised is what is loaded wide, and takes the room of the file.
func TestLoadQuantised(t *testing.T) {
	for _, name := range []string{"gguf/llama-q8_0.gguf", "gguf/qwen2-q8_0.gguf", "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			if strings.HasPrefix(name, "smollm2") && testing.Short() {
				t.Skip("a real model takes some seconds")
			}
			path := filepath.Join(sharedModels, name)
			st, err := os.Stat(path)
			if err != nil {
				t.Skip("../shared absent: no GGUF files to read")
			}
			q, err := LoadQuantised(path)
			if err != nil {
				t.Fatal(err)
			}
			w, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if !q.Quantised() || w.Quantised() || q.Count() != w.Count() || q.Bytes() > st.Size() {
				t.Errorf("%d bytes in memory, %d in the file", q.Bytes(), st.Size())
			}
			t.Logf("%s: %d bytes, %d in float32", q.QuantFormats(), q.Bytes(), w.Bytes())
			dir := t.TempDir()
			if err := q.SaveHF(dir, safetensors.F32); err != nil {
				t.Fatal(err)
			}
			back, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			sameOutput(t, "saved", score(w, testTokens), score(back, testTokens))
			compareQuantised(t, q, w)
		})
	}
	m, err := LoadQuantised(filepath.Join(sharedModels, "gguf/llama-f32.gguf"))
	if err == nil && m.Quantised() {
		t.Error("a file of F32 has nothing to keep")
	}
}

// A quantised model passes the comparison with the publisher's log-probs that the wide one passes.
func TestQuantisedConformance(t *testing.T) {
	for _, name := range []string{"llama-q8_0", "qwen2-q8_0"} {
		e, path := readExpected(t, filepath.Join(sharedModels, "gguf", name+".expected.json"))
		m, err := LoadQuantised(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := compare(m, e); !d.within(e) || math.IsNaN(d.logProb) {
			t.Errorf("%s: deviations %+v exceed %+v", name, d, e.Tolerance)
		}
		checkGreedy(t, m, e, "cached", 0, greedyCached)
	}
}

// Adapters from files sit on quantised weights as on wide ones, those that replace whole tensors included.
func TestAdaptersOverQuantised(t *testing.T) {
	for adapter, base := range map[string]string{"llama-all-rslora": "llama", "llama-qv": "llama", "llama-modules-to-save": "llama", "qwen2-all": "qwen2"} {
		path := filepath.Join(sharedModels, "gguf", base+"-q8_0.gguf")
		if _, err := os.Stat(path); err != nil {
			t.Skip("../shared absent: no GGUF files to read")
		}
		var out []scored
		for _, load := range []func(string) (*Model, error){Load, LoadQuantised} {
			m, err := load(path)
			if err != nil {
				t.Fatal(err)
			}
			plain := score(m, testTokens)
			if err := m.LoadAdapter(filepath.Join(sharedModels, "peft", adapter)); err != nil {
				t.Fatal(err)
			}
			with := score(m, testTokens)
			if largest(plain, with) == 0 {
				t.Errorf("%s changes nothing", adapter)
			}
			m.Merge()
			out = append(out, with, score(m, testTokens))
		}
		sameOutput(t, adapter, out[0], out[2])
		sameOutput(t, adapter+" merged", out[1], out[3])
	}
}
