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
		attentionCase(1, 1, 1, 1, []Doc{{0, 1}}),
		attentionCase(7, 4, 2, 16, []Doc{{0, 1}, {1, 1}, {1, 4}, {5, 6}}), // an empty document, rows outside all
		attentionCase(65, 3, 3, 17, []Doc{{0, 33}, {33, 65}}),
		attentionCase(150, 6, 2, 32, []Doc{{0, 17}, {17, 149}, {149, 150}}),
		attentionCase(257, 2, 1, 64, []Doc{{0, 257}}),
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
	all := run(0, rows, []Doc{{0, 5}, {5, 105}, {105, rows}})
	if err := same("document alone", run(5, 105, []Doc{{0, 100}}), all[5*heads*hd:105*heads*hd]); err != nil {
		t.Error(err)
	}
	if err := same("beginning of a document", run(5, 75, []Doc{{0, 70}}), all[5*heads*hd:75*heads*hd]); err != nil {
		t.Error(err)
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
			docs = append(docs, Doc{rows, rows + n})
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
		"Linear":          func() { tape.Linear(x(2, 3), x(4, 5), nil) },
		"bias":            func() { tape.Linear(x(2, 3), x(3, 5), x(1, 4)) },
		"Add":             func() { tape.Add(x(2, 3), x(2, 4)) },
		"Embedding id":    func() { tape.Embedding(x(5, 3), []int32{1, 5}) },
		"negative id":     func() { tape.Embedding(x(5, 3), []int32{-1}) },
		"Rope position":   func() { tape.Rope(x(1, 4), table, []int32{10}, 1, 4) },
		"document":        func() { tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{0, 4}}, 1, 1, 4, 1) },
		"documents cross": func() { tape.Attention(x(3, 4), x(3, 4), x(3, 4), []Doc{{0, 2}, {1, 3}}, 1, 1, 4, 1) },
		"heads":           func() { tape.Attention(x(3, 12), x(3, 8), x(3, 8), []Doc{{0, 3}}, 3, 2, 4, 1) },
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
