package tensor

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// refAttention is plain causal attention over documents, with a T x T matrix.
func refAttention(q, k, v []float64, docs []Doc, rows, heads, kvHeads, hd int, scale float64) []float64 {
	out := make([]float64, rows*heads*hd)
	for _, d := range docs {
		for h := range heads {
			kv := h / (heads / kvHeads)
			for r := d.From; r < d.To; r++ {
				p, sum := make([]float64, r+1), 0.0
				for c := d.From; c <= r; c++ {
					s := 0.0
					for i := range hd {
						s += q[(r*heads+h)*hd+i] * k[(c*kvHeads+kv)*hd+i]
					}
					p[c] = math.Exp(s * scale)
					sum += p[c]
				}
				for c := d.From; c <= r; c++ {
					for i := range hd {
						out[(r*heads+h)*hd+i] += p[c] / sum * v[(c*kvHeads+kv)*hd+i]
					}
				}
			}
		}
	}
	return out
}

func attentionCase(rows, heads, kvHeads, hd int, docs []Doc) opCase {
	scale := 1 / math.Sqrt(float64(hd))
	return opCase{
		few:  rows > 100,
		name: fmt.Sprintf("Attention %d rows %d/%d heads of %d, %d documents", rows, heads, kvHeads, hd, len(docs)),
		in:   []dims{{rows, heads * hd, false}, {rows, kvHeads * hd, false}, {rows, kvHeads * hd, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor {
			return t.Attention(x[0], x[1], x[2], docs, heads, kvHeads, hd, float32(scale))
		},
		ref: func(x [][]float64) []float64 {
			return refAttention(x[0], x[1], x[2], docs, rows, heads, kvHeads, hd, scale)
		},
	}
}

func TestAttention(t *testing.T) {
	runCases(t, []opCase{
		attentionCase(1, 1, 1, 1, []Doc{{From: 0, To: 1}}),
		attentionCase(7, 4, 2, 16, []Doc{{From: 0, To: 1}, {From: 1, To: 1}, {From: 1, To: 4}, {From: 5, To: 6}}), // an empty document, rows outside all
		attentionCase(65, 3, 3, 17, []Doc{{From: 0, To: 33}, {From: 33, To: 65}}),
		attentionCase(150, 6, 2, 32, []Doc{{From: 0, To: 17}, {From: 17, To: 149}, {From: 149, To: 150}}),
		attentionCase(257, 2, 1, 64, []Doc{{From: 0, To: 257}}),
	})
}

// TestAttentionForgetsOtherDocuments wants the bytes of a document alone, whatever stands around it.
func TestAttentionForgetsOtherDocuments(t *testing.T) {
	const rows, heads, kvHeads, hd = 171, 4, 2, 24
	in := attentionCase(rows, heads, kvHeads, hd, nil).inputs(false)
	run := func(from, to int, docs []Doc) []float32 {
		cut := func(x *Tensor) *Tensor {
			return &Tensor{Rows: to - from, Cols: x.Cols, Data: x.Data[from*x.Cols : to*x.Cols]}
		}
		return NewTape().Attention(cut(in[0]), cut(in[1]), cut(in[2]), docs, heads, kvHeads, hd, 0.2).Data
	}
	all := run(0, rows, []Doc{{From: 0, To: 5}, {From: 5, To: 105}, {From: 105, To: rows}})
	if err := same("document alone", run(5, 105, []Doc{{From: 0, To: 100}}), all[5*heads*hd:105*heads*hd]); err != nil {
		t.Error(err)
	}
	if err := same("beginning of a document", run(5, 75, []Doc{{From: 0, To: 70}}), all[5*heads*hd:75*heads*hd]); err != nil {
		t.Error(err)
	}
}

// TestSharedBeginning wants documents that share their trunk's first positions to give the bytes of the same documents written out, and their gradients: bytes where nothing is added up over documents, else to rounding.
func TestSharedBeginning(t *testing.T) {
	const heads, kvHeads, hd, scale = 4, 2, 20, 0.3
	for _, families := range [][][]int{ // shared positions, then rows of the trunk and of the others
		{{1, 5, 1, 40}}, {{31, 40, 1, 2}}, {{32, 33, 90, 1}}, {{33, 70, 64}}, {{64, 64, 64, 64}}, {{100, 130, 1, 7, 70, 33}}, {{70, 71, 3, 120}, {0, 50}, {45, 46, 20, 90}, {5, 5, 1}},
	} {
		var docs, whole []Doc
		var from []int // row of the shared layout that stands in each row of the whole one
		rows := 0
		for _, f := range families {
			trunk := rows
			for i, n := range f[1:] {
				d := Doc{From: rows, To: rows + n}
				if i > 0 {
					d.Shared = f[0]
				}
				w := Doc{From: len(from), To: len(from) + d.Shared + n}
				for p := range d.Shared {
					from = append(from, trunk+p)
				}
				for r := d.From; r < d.To; r++ {
					from = append(from, r)
				}
				docs, whole, rows = append(docs, d), append(whole, w), rows+n
			}
		}
		in := attentionCase(rows, heads, kvHeads, hd, docs).inputs(true)
		seed := attentionCase(rows, heads, kvHeads, hd, docs).inputs(false)[0].Data
		spread := make([]*Tensor, 3)
		for i, x := range in {
			spread[i] = NewParam("", len(from), x.Cols)
			spread[i].EnsureGrad()
			for r, at := range from {
				copy(spread[i].Row(r), x.Row(at))
			}
		}
		run := func(x []*Tensor, docs []Doc, seed []float32) []float32 {
			tape := NewTape()
			y := tape.Attention(x[0], x[1], x[2], docs, heads, kvHeads, hd, scale)
			out := append([]float32(nil), y.Data...)
			copy(tape.GradOf(y), seed)
			tape.Backward()
			return out
		}
		wide := make([]float32, len(from)*heads*hd)
		last := -1
		for r, at := range from {
			if at > last { // a row that is written out again has no seed
				copy(wide[r*heads*hd:(r+1)*heads*hd], seed[at*heads*hd:])
				last = at
			}
		}
		want := run(spread, whole, wide)
		var first [][]float32
		for _, procs := range []int{1, 2} {
			old := runtime.GOMAXPROCS(procs)
			for _, x := range in {
				x.ZeroGrad()
			}
			got := run(in, docs, seed)
			runtime.GOMAXPROCS(old)
			for r, at := range from {
				if err := same(fmt.Sprintf("%v: row %d", families, at), got[at*heads*hd:(at+1)*heads*hd], want[r*heads*hd:(r+1)*heads*hd]); err != nil {
					t.Fatal(err)
				}
			}
			checkSharedGradients(t, in, spread, from)
			grads := [][]float32{in[0].Grad, in[1].Grad, in[2].Grad}
			for i, g := range grads {
				if first != nil && same("", g, first[i]) != nil {
					t.Errorf("%v: gradient %d depends on processors", families, i)
				}
				grads[i] = append([]float32(nil), g...)
			}
			first = grads
		}
	}
}

// checkSharedGradients compares gradients with those of the documents written out, added up over the copies of a row.
func checkSharedGradients(t *testing.T, in, spread []*Tensor, from []int) {
	t.Helper()
	for i, x := range in {
		want, copies := make([]float64, len(x.Grad)), make([]int, x.Rows)
		for r, at := range from {
			copies[at]++
			for c := range x.Cols {
				want[at*x.Cols+c] += float64(spread[i].Grad[r*x.Cols+c])
			}
		}
		for k, g := range x.Grad {
			tolerance := 2e-6
			if copies[k/x.Cols] == 1 || i == 0 {
				tolerance = 0
			}
			if d := math.Abs(float64(g) - want[k]); d > tolerance*(1+math.Abs(want[k])) {
				t.Fatalf("input %d row %d: gradient %g, want %g", i, k/x.Cols, g, want[k])
			}
		}
	}
}

// TestCachedAttention wants the bytes of packed attention from prefill in pieces and from decoding, over more than two pages, with scattered, shared and dirty pages and other documents in the same calls.
func TestCachedAttention(t *testing.T) {
	const heads, kvHeads, hd, layers, layer = 6, 2, 20, 3, 1
	const scale = 0.3
	lengths := []int{101, 70, 33, 1}
	for _, procs := range []int{1, 2} {
		old := runtime.GOMAXPROCS(procs)
		defer runtime.GOMAXPROCS(old)
		kv := NewKV(layers, kvHeads, hd, 40)
		for _, page := range kv.data {
			for i := range page {
				page[i] = float32(math.NaN()) // what a page held before must not matter
			}
		}
		var docs []Doc
		rows := 0
		for _, n := range lengths {
			docs = append(docs, Doc{From: rows, To: rows + n})
			rows += n
		}
		in := attentionCase(rows, heads, kvHeads, hd, docs).inputs(false)
		want := NewTape().Attention(in[0], in[1], in[2], docs, heads, kvHeads, hd, scale).Data

		pages := make([][]int32, len(docs))
		for d := range docs {
			for p := range 4 {
				pages[d] = append(pages[d], int32((d*4+p)*7%40))
			}
		}
		done := make([]int, len(docs))
		tape := NewTape()
		tape.Record(false)
		for _, step := range []int{40, 9, 1, 1, 13, 20, 1, 30} { // a piece of every document in each call
			tape.Reset()
			var list []CachedRow
			var from []int
			for d, doc := range docs {
				for n := 0; n < step && doc.From+done[d] < doc.To; n++ {
					list = append(list, CachedRow{pages[d], int32(done[d])})
					from = append(from, doc.From+done[d])
					done[d]++
				}
			}
			take := func(x *Tensor) *Tensor {
				y := tape.New(len(from), x.Cols)
				for i, r := range from {
					copy(y.Row(i), x.Row(r))
				}
				return y
			}
			out := tape.AttentionCached(take(in[0]), take(in[1]), take(in[2]), kv, layer, list, heads, kvHeads, hd, scale)
			for i, r := range from {
				if err := same(fmt.Sprintf("row %d", r), out.Row(i), want[r*heads*hd:(r+1)*heads*hd]); err != nil {
					t.Fatal(err)
				}
			}
		}
		for d, doc := range docs {
			if done[d] != doc.To-doc.From {
				t.Fatalf("document %d: only %d rows checked", d, done[d])
			}
		}
	}
}

// TestGrowAndCopyPage wants a grown cache to keep what its pages hold, and a copied page to change no other.
func TestGrowAndCopyPage(t *testing.T) {
	kv := NewKV(2, 3, 4, 2)
	fill := func(from int) {
		for n := from; n < kv.Pages; n++ {
			for i := range kv.data[n] {
				kv.data[n][i] = float32(10000*n + i)
			}
		}
	}
	fill(0)
	kv.Grow(3)
	fill(2)
	kv.CopyPage(3, 1)
	for n, page := range kv.data {
		want := n
		if n == 3 {
			want = 1
		}
		for i, x := range page {
			if x != float32(10000*want+i) {
				t.Fatalf("page %d holds %g at %d", n, x, i)
			}
		}
	}
	if kv.Pages != 5 || kv.Bytes() != 5*2*3*2*PageTokens*4*4 {
		t.Errorf("%d pages, %d bytes", kv.Pages, kv.Bytes())
	}
}

// TestShapeErrors wants a clear panic in the caller's goroutine.
func TestShapeErrors(t *testing.T) {
	tape, key := NewTape(), rng.New(1, "shape")
	x := func(rows, cols int) *Tensor { return randomTensor(key, rows, cols) }
	table, _ := NewRope(100, 4, 10, RopeScaling{})
	kv := NewKV(1, 1, 4, 2)
	for name, f := range map[string]func(){
		"Linear":        func() { tape.Linear(x(2, 3), x(4, 5), nil) },
		"bias":          func() { tape.Linear(x(2, 3), x(3, 5), x(1, 4)) },
		"Add":           func() { tape.Add(x(2, 3), x(2, 4)) },
		"Embedding id":  func() { tape.Embedding(x(5, 3), []int32{1, 5}) },
		"negative id":   func() { tape.Embedding(x(5, 3), []int32{-1}) },
		"Rope position": func() { tape.Rope(x(1, 4), table, []int32{10}, 1, 4) },
		"document":      func() { tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{From: 0, To: 4}}, 1, 1, 4, 1) },
		"documents cross": func() {
			tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{From: 0, To: 2}, {From: 1, To: 3}}, 1, 1, 4, 1)
		},
		"shares nothing": func() { tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{From: 0, To: 3, Shared: 1}}, 1, 1, 4, 1) },
		"shares too much": func() {
			tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{From: 0, To: 1}, {From: 1, To: 3, Shared: 2}}, 1, 1, 4, 1)
		},
		"shares an empty one": func() {
			tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{From: 0, To: 2}, {From: 2, To: 2}, {From: 2, To: 3, Shared: 1}}, 1, 1, 4, 1)
		},
		"heads": func() { tape.Attention(x(3, 12), x(3, 8), x(3, 8), []Doc{{From: 0, To: 3}}, 3, 2, 4, 1) },
		"too few pages": func() {
			tape.AttentionCached(x(1, 4), x(1, 4), x(1, 4), kv, 0, []CachedRow{{[]int32{0}, 32}}, 1, 1, 4, 1)
		},
		"no such page": func() {
			tape.AttentionCached(x(1, 4), x(1, 4), x(1, 4), kv, 0, []CachedRow{{[]int32{2}, 0}}, 1, 1, 4, 1)
		},
		"target": func() {
			(&Head{W: x(5, 3)}).Score(x(2, 3), HeadRows{Row: []int32{0}, Target: []int32{5}}, &HeadScores{})
		},
		"released tensors": func() { y := tape.Add(x(2, 2), x(2, 2)); tape.Release(0); tape.ReLU(y) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil {
					t.Errorf("%s: no panic", name)
				} else if s, ok := r.(string); !ok || len(s) < 8 || s[:7] != "tensor:" {
					t.Errorf("%s: panic %v", name, r)
				}
			}()
			f()
		}()
	}
}
