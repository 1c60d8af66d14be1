package task

import (
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// Padded traces are right, the same every time, never shorter than the plain ones, and every number of checks occurs.
func TestPadded(t *testing.T) {
	r, err := ParseRef("chain_sum?level=3")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := Open(r)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for i := range 200 {
		p, err := sums.(Generator).Generate(rng.New(1, "padded", uint64(i)), 3)
		if err != nil {
			t.Fatal(err)
		}
		trace, err := sums.Expert(p)
		if err != nil {
			t.Fatal(err)
		}
		var texts [3]string
		for k, f := range []Form{Verbose, Padded, Padded} {
			parts, err := trace.Render(f, Compact)
			if err != nil {
				t.Fatal(err)
			}
			texts[k] = Join(parts, Compact)
		}
		if texts[1] != texts[2] || sums.Check(p, texts[1]).Verdict != Correct {
			t.Fatalf("%q, then %q", texts[1], texts[2])
		}
		seen[strings.Count(texts[1], ";")-strings.Count(texts[0], ";")]++
	}
	for k := range PaddedChecks + 1 {
		if seen[k] < 25 { // 50 expected, deviation 6
			t.Errorf("%d of 200 traces have %d checks", seen[k], k)
		}
		delete(seen, k)
	}
	if len(seen) > 0 {
		t.Errorf("other numbers of checks: %v", seen)
	}
	plain, _ := Open(Ref{Name: "countdown"})
	p, err := plain.(Generator).Generate(rng.New(1, "padded"), 3)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := plain.Expert(p)
	if err != nil {
		t.Fatal(err)
	}
	refused := false
	for k := range uint64(8) {
		p.Key = k
		if _, err := trace.Render(Padded, Compact); err != nil {
			refused = strings.Contains(err.Error(), "no redundant checks")
		}
	}
	if !refused {
		t.Error("a task without checks is padded")
	}
}
