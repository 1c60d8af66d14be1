package data

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hone-lm/hone/internal/rng"
)

func TestOrder(t *testing.T) {
	key := rng.New(1, "test")
	a, b, c := Order(key, 0, 50), Order(key, 0, 50), Order(key, 1, 50)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("the order is not a function of key and epoch")
	}
	slices.Sort(c)
	for i, v := range c {
		if i != v {
			t.Fatalf("not a permutation: %v", c)
		}
	}
}

// Whatever the batch sizes and wherever the walk is taken up again, position p is always the same row.
func TestShuffle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		key := rng.New(3, "test")
		var want []int
		for epoch := range 5 {
			want = append(want, Order(key, epoch, n)...)
		}
		s := &Shuffle{Key: key, N: n}
		for range 5 {
			from := rapid.IntRange(0, len(want)).Draw(t, "from")
			count := rapid.IntRange(0, len(want)-from).Draw(t, "count")
			if got := s.Rows(from, count); !slices.Equal(got, want[from:from+count]) {
				t.Fatalf("rows %d+%d of %d: %v, want %v", from, count, n, got, want[from:from+count])
			}
		}
	})
	if got := (&Shuffle{}).Rows(0, 3); got != nil {
		t.Errorf("a walk over nothing: %v", got)
	}
}

func TestBatches(t *testing.T) {
	if got := fmt.Sprint(Batches([]int{4, 3, 2, 1, 0}, 2)); got != "[[4 3] [2 1] [0]]" {
		t.Error(got)
	}
	if Batches(nil, 2) != nil || Batches([]int{1}, 0) != nil {
		t.Error("batches of nothing")
	}
}

func TestPack(t *testing.T) {
	for _, c := range []struct {
		lengths []int
		budget  int
		want    string
	}{
		{nil, 10, "[]"},
		{[]int{4, 4, 4}, 8, "[[0 1] [2]]"},
		{[]int{4, 20, 4, 4}, 8, "[[0] [1] [2 3]]"},
		{[]int{8, 1}, 8, "[[0] [1]]"},
		{[]int{0, 0, 8}, 8, "[[0 1 2]]"},
	} {
		if got := fmt.Sprint(Pack(c.lengths, c.budget)); got != c.want {
			t.Errorf("Pack(%v, %d) = %s, want %s", c.lengths, c.budget, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOf(rapid.IntRange(0, 12)).Draw(t, "lengths")
		budget := rapid.IntRange(1, 20).Draw(t, "budget")
		next := 0
		for _, pack := range Pack(lengths, budget) {
			sum := 0
			for _, i := range pack {
				if i != next {
					t.Fatalf("sequence %d where %d was due", i, next)
				}
				next++
				sum += lengths[i]
			}
			if sum > budget && len(pack) > 1 {
				t.Fatalf("%d tokens over a budget of %d", sum, budget)
			}
		}
		if next != len(lengths) {
			t.Fatalf("%d of %d packed", next, len(lengths))
		}
	})
}

func TestSplitRows(t *testing.T) {
	var rows []Row
	for i := range 2000 {
		rows = append(rows, Row{Prompt: fmt.Sprint("question ", i%1000), Completion: fmt.Sprint("answer ", i)})
	}
	train, valid := SplitRows(rows, 0.1, 1)
	if len(train)+len(valid) != len(rows) || len(valid) < 140 || len(valid) > 260 {
		t.Fatalf("%d + %d of %d", len(train), len(valid), len(rows))
	}
	seen := map[string]bool{}
	for _, r := range valid {
		seen[r.Prompt] = true
	}
	for _, r := range train {
		if seen[r.Prompt] {
			t.Fatalf("%q is on both sides", r.Prompt)
		}
	}
	_, fewer := SplitRows(rows[:500], 0.1, 1) // what stays is where it was
	if n := slices.IndexFunc(rows, func(r Row) bool { return r.Prompt == fewer[0].Prompt }); n < 0 || !slices.ContainsFunc(valid, func(r Row) bool { return r.Prompt == fewer[0].Prompt }) {
		t.Error("a row changed sides when rows were added")
	}
	if _, other := SplitRows(rows, 0.1, 2); len(other) > 0 && other[0].Prompt == valid[0].Prompt && other[1].Prompt == valid[1].Prompt {
		t.Error("the seed changes nothing")
	}
	if train, valid := SplitRows(rows, 0, 1); len(train) != len(rows) || valid != nil {
		t.Error("a share of 0 took rows")
	}
	talk := []Row{{Messages: []Message{{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}}}, {Messages: []Message{{Role: "user", Content: "a"}, {Role: "assistant", Content: "c"}}}}
	if question(&talk[0]) != question(&talk[1]) {
		t.Error("the answer decides the side of a conversation")
	}
}
