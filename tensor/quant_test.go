package tensor

import (
	"math"
	"slices"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// quantPair returns a quantised parameter and the same numbers as a plain one. parts 0 makes a table.
func quantPair(f QuantFormat, rows, cols, parts int) (q, wide *Tensor) {
	blocks, key := NewQuantised(f, rows, cols), rng.New(3, "blocks")
	row := make([]byte, cols/32*f.Bytes())
	for r := range rows {
		for i := range row {
			row[i] = byte(key.Uint64(uint64(r*len(row) + i)))
			if at := i % f.Bytes(); at < 4 && (f == Q4_1 || at < 2) {
				row[i] = []byte{1, 0x24, 2, 0xb0}[at]
			}
		}
		blocks.SetRow(r, row)
	}
	if parts == 0 {
		q = NewQuantTable("q", blocks)
	} else {
		q = NewQuantLinear("q", blocks, parts)
	}
	copied := *q
	copied.Dequantise()
	return q, &copied
}

func randomParam(name string, seed uint64, rows, cols int) *Tensor {
	p := NewParam(name, rows, cols)
	for i := range p.Data {
		p.Data[i] = float32(rng.New(seed, name).Normal(uint64(i)))
	}
	return p
}

// passes returns the numbers of a pass through embedding, Linear with a bias, LoRA and head, and all gradients.
func passes(table, w *Tensor) []float32 {
	x := randomParam("x", 1, 9, w.Rows)
	bias, a, b := randomParam("bias", 2, 1, w.Cols), randomParam("a", 3, w.Rows, 2), randomParam("b", 4, 2, w.Cols)
	params := []*Tensor{x, bias, a, b}
	for _, p := range params {
		p.EnsureGrad()
	}
	tape := NewTape()
	ids := []int32{4, 0, int32(table.Rows - 1), 4, 2, 1, 3, 5, 6}
	h := tape.LinearLoRA(tape.Add(x, tape.Embedding(table, ids)), w, bias, a, b, 0.5)
	hidden := tape.Linear(h, w2(w.Cols, table.Cols), nil)
	all := slices.Concat(h.Data, hidden.Data)
	rows := HeadRows{Row: []int32{0, 1, 2, 5, 8}, Target: []int32{1, 2, 0, 3, 4}}
	head := &Head{W: table, ChunkRows: 3}
	head.Fused(hidden, rows, tape.GradOf(hidden), func(lo, hi int, logProb, entropy, dLogProb, dEntropy []float32) {
		all = append(append(all, logProb...), entropy...)
		for i := range dLogProb {
			dLogProb[i], dEntropy[i] = -1, 0.1
		}
	})
	tape.Backward()
	for _, p := range params {
		all = append(all, p.Grad...)
	}
	return all
}

// w2 is small, so that every token has a probability.
func w2(in, out int) *Tensor {
	p := randomParam("w2", 5, in, out)
	for i := range p.Data {
		p.Data[i] /= 200
	}
	return p
}

// Every operation on quantised parameters has the bytes of the operation on what they widen to, forward and backward.
func TestQuantisedOperations(t *testing.T) {
	for _, f := range []QuantFormat{Q8_0, Q4_0, Q4_1} {
		for _, size := range [][3]int{{64, 50, 130}, {32, 16, 7}, {96, 161, 40}} { // in (the hidden size), out, vocabulary
			table, wideTable := quantPair(f, size[2], size[0], 0)
			w, wide := quantPair(f, size[1], size[0], 1)
			want, got := passes(wideTable, wide), passes(table, w)
			if !slices.Equal(want, got) {
				t.Errorf("format %d, sizes %v: differs from the widened", f, size)
			}
			if slices.ContainsFunc(want, func(x float32) bool { return math.IsNaN(float64(x)) }) {
				t.Fatal("the numbers prove nothing")
			}
			for _, p := range []*Tensor{wide, wideTable} {
				p.Data[len(p.Data)/2] += 0.5
				if slices.Equal(passes(wideTable, wide), got) {
					t.Errorf("format %d: a wrong number in %s was not seen", f, p.shape())
				}
				p.Data[len(p.Data)/2] -= 0.5
			}
		}
	}
}

// The parts of a fused weight follow one another, and the tape's plan runs on quantised parameters.
func TestQuantisedParts(t *testing.T) {
	q, wide := quantPair(Q4_1, 96, 64, 3)
	if q.Rows != 3*64 || q.Cols != 32 {
		t.Fatal(q.shape())
	}
	for i := range 3 {
		part := q.QuantPart(i, 3)
		part.Dequantise()
		if !slices.Equal(part.Data, wide.Data[i*64*32:(i+1)*64*32]) {
			t.Errorf("part %d differs", i)
		}
	}
	if q.Bytes() != 96*2*20 || wide.Bytes() != 4*96*64 {
		t.Errorf("%d and %d bytes", q.Bytes(), wide.Bytes())
	}
	x := randomParam("x", 1, 9, 64)
	x.EnsureGrad()
	one := q.QuantPart(0, 3)
	pass := func(t *Tape) { t.Linear(x, one, nil) }
	tape := NewTape()
	plan := tape.Plan(pass)
	pass(tape)
	tape.GradOf(tape.nodes[0].out)
	tape.Backward()
	if tape.Bytes() != plan || plan == 0 {
		t.Errorf("planned %d bytes, took %d", plan, tape.Bytes())
	}
}

func TestQuantisedRefused(t *testing.T) {
	table, _ := quantPair(Q8_0, 32, 32, 0)
	w, _ := quantPair(Q8_0, 32, 32, 1)
	x := randomParam("x", 1, 2, 32)
	for name, f := range map[string]func(){
		"training":    func() { w.EnsureGrad() },
		"Linear":      func() { NewTape().Linear(x, table, nil) },
		"Embedding":   func() { NewTape().Embedding(w, []int32{1}) },
		"Head":        func() { (&Head{W: w}).Score(x, HeadRows{Row: []int32{0}, Target: []int32{0}}, &HeadScores{}) },
		"33 columns":  func() { NewQuantised(Q8_0, 1, 33) },
		"a short row": func() { table.Quant.SetRow(0, make([]byte, 33)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
