package task

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hone-lm/hone/internal/arith"
	"github.com/hone-lm/hone/internal/rng"
)

// Inequivalent expressions over n different numbers: OEIS A140606.
func TestCountdownCountsExpressions(t *testing.T) {
	for n, want := range []int{0, 0, 6, 68, 1170, 27142} {
		if n < 2 {
			continue
		}
		got := 0
		newSolver([]int{101, 211, 431, 877, 997}[:n]).eachFull(false, func(r ref, _ *cell) { got += 1 + int(truth(r.flip)) })
		if got != want {
			t.Errorf("%d numbers: %d expressions, want %d", n, got, want)
		}
	}
}

func TestCountdownSolutions(t *testing.T) {
	for _, c := range []struct {
		data Countdown
		want []string
	}{
		{Countdown{Numbers: []int{3, 7, 12}, Target: 48}, []string{"12*(7-3)"}},
		{Countdown{Numbers: []int{8, 8, 3, 3}, Target: 24}, []string{"8/(3-8/3)"}}, // needs fractions
		{Countdown{Numbers: []int{1, 1}, Target: 1}, []string{"1*1", "1/1"}},
		{Countdown{Numbers: []int{5, 5, 7}, Target: 7, Subset: true}, []string{"7", "5-5+7", "7*5/5", "7+5-5"}},
		{Countdown{Numbers: []int{2, 3}, Target: 50}, nil},
	} {
		got, err := c.data.Solutions()
		if err != nil {
			t.Fatal(err)
		}
		if c.want == nil && len(got) != 0 || c.want != nil && len(got) == 0 {
			t.Errorf("%+v: %q", c.data, got)
			continue
		}
		if c.want != nil && !slices.Contains(c.want, got[0]) {
			t.Errorf("%+v: first of %q, want one of %q", c.data, got, c.want)
		}
	}
	if got, _ := (&Countdown{Numbers: []int{3, 7, 12}, Target: 48}).Solutions(); len(got) != 1 {
		t.Errorf("3 7 12 = 48: %q, want one solution", got)
	}
}

// Every enumerated solution evaluates to the target over the right numbers and is graded correct; none is listed twice.
func TestEnumeratedSolutionsEvaluate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "n")
		data := &Countdown{
			Numbers: rapid.SliceOfN(rapid.IntRange(1, 30), n, n).Draw(t, "numbers"),
			Target:  rapid.IntRange(0, 99).Draw(t, "target"),
			Subset:  rapid.Bool().Draw(t, "subset"),
		}
		task, err := Get("countdown")
		if err != nil {
			t.Fatal(err)
		}
		p := newProblem(task, n, data, Compact, "")
		found, err := data.Solutions()
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range found {
			if r := task.Check(p, s); r.Verdict != Correct {
				t.Fatalf("%s: %q: %+v", p.Question, s, r)
			}
			if slices.Contains(found[:i], s) {
				t.Fatalf("%q twice", s)
			}
		}
		if tr, err := task.Expert(p); (err == nil) != (len(found) > 0) || err == nil && tr.Answer.Compact != found[0] {
			t.Fatalf("%s: %d solutions, expert %v %v", p.Question, len(found), tr, err)
		}
	})
}

// A brute force over all orders, operators and shapes agrees on which targets can be reached.
func TestSolverMissesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("brute force takes seconds")
	}
	var join func(values []*big.Rat, visit func(*big.Rat))
	join = func(values []*big.Rat, visit func(*big.Rat)) {
		if len(values) == 1 {
			visit(values[0])
			return
		}
		for i := range values {
			for j := range values {
				if i == j {
					continue
				}
				for _, op := range []byte("+-*/") {
					v, err := arith.Apply(op, values[i], values[j])
					if err != nil {
						continue
					}
					join(append(without(values, min(i, j), max(i, j)), v), visit)
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "n")
		numbers := rapid.SliceOfN(rapid.IntRange(1, 12), n, n).Draw(t, "numbers")
		values := make([]*big.Rat, n)
		for i, v := range numbers {
			values[i] = big.NewRat(int64(v), 1)
		}
		reached := map[int64]bool{}
		join(values, func(v *big.Rat) {
			if v.IsInt() {
				reached[v.Num().Int64()] = true
			}
		})
		for target := int64(0); target < 60; target++ {
			if found := len(solve(&Countdown{Numbers: numbers, Target: int(target)})) > 0; found != reached[target] {
				t.Fatalf("%v = %d: solver says %v, brute force %v", numbers, target, found, reached[target])
			}
		}
	})
}

func TestCountdownCheck(t *testing.T) {
	task, err := Get("countdown")
	if err != nil {
		t.Fatal(err)
	}
	all := newProblem(task, 3, &Countdown{Numbers: []int{3, 7, 12}, Target: 48}, Compact, "")
	some := newProblem(task, 3, &Countdown{Numbers: []int{3, 7, 12}, Target: 36, Subset: true}, Compact, "")
	if all.Question != "3 7 12 = 48" || all.ID == some.ID {
		t.Errorf("%q %s %s", all.Question, all.ID, some.ID)
	}
	for _, c := range []struct {
		p                      *Problem
		answer                 string
		want                   Verdict
		parsed, numbers, value float64
	}{
		{all, "12*(7-3)", Correct, 1, 1, 1},
		{all, " (7-3)*12 . ", Correct, 1, 1, 1},
		{all, "12*(7-3)=48", Correct, 1, 1, 1},
		{all, "12 × (7 − 3)", Correct, 1, 1, 1},
		{all, "7-3=4;12*4=48|12*(7-3)", Correct, 1, 1, 1},
		{all, "I subtract first.\n7 - 3 = 4\n#### 12*(7-3)", Correct, 1, 1, 1},
		{all, "<think>12*7</think><answer>12*(7-3)</answer>", Correct, 1, 1, 1},
		{all, "The answer is 12*(7-3).", Correct, 1, 1, 1},
		{all, "Some words.\n12*(7-3)", Correct, 1, 1, 1},
		{all, "12*(7-3)=40", Unparsed, 0, 0, 0},
		{all, "12*4", Wrong, 1, 0, 1},
		{all, "12+7+3", Wrong, 1, 1, 0},
		{all, "48", Wrong, 1, 0, 1},
		{all, "12*(7-3)+0", Wrong, 1, 0, 1},
		{all, "12*(7-3)+12-12", Wrong, 1, 0, 1},
		{all, "12/(7-7)*3", Wrong, 1, 0, 0},
		{all, "12*(7-3", Unparsed, 0, 0, 0},
		{all, "", Unparsed, 0, 0, 0},
		{all, "no idea", Unparsed, 0, 0, 0},
		{some, "12*3", Correct, 1, 1, 1},
		{some, "12*3*1", Wrong, 1, 0, 1},
		{some, "12+12+12", Wrong, 1, 0, 1},
	} {
		r := task.Check(c.p, c.answer)
		if r.Verdict != c.want || r.Term("parsed") != c.parsed || r.Term("numbers") != c.numbers || r.Term("value") != c.value || (r.Score == 1) != (c.want == Correct) {
			t.Errorf("%q: %+v, want %v", c.answer, r, c.want)
		}
	}
}

// The generator covers its ranges evenly enough: each number about equally often, targets everywhere, every operator in the experts' answers.
func TestCountdownDistribution(t *testing.T) {
	task, err := Open(Ref{Name: "countdown", Level: 3})
	if err != nil {
		t.Fatal(err)
	}
	numbers, targets, operators := map[int]int{}, map[int]int{}, map[rune]int{}
	const n = 4000
	for i := range uint64(n) {
		p, err := task.(Generator).Generate(rng.New(1, "distribution", i), 0)
		if err != nil {
			t.Fatal(err)
		}
		data := p.Data.(*Countdown)
		for _, v := range data.Numbers {
			if v < 1 || v > 20 {
				t.Fatalf("number %d", v)
			}
			numbers[v]++
		}
		if data.Target < 1 || data.Target > 99 {
			t.Fatalf("target %d", data.Target)
		}
		targets[data.Target]++
		for _, op := range "+-*/" {
			if strings.ContainsRune(p.Answer, op) {
				operators[op]++
			}
		}
	}
	for v := 1; v <= 20; v++ {
		if share := float64(numbers[v]) / (3 * n); share < 0.02 || share > 0.10 {
			t.Errorf("number %d is %.1f %% of all", v, 100*share)
		}
	}
	if len(targets) < 97 {
		t.Errorf("only %d of 99 targets occur", len(targets))
	}
	for _, op := range "+-*/" {
		if operators[op] < n/20 {
			t.Errorf("operator %c in %d of %d answers", op, operators[op], n)
		}
	}
}

func BenchmarkCountdown(b *testing.B) {
	task, err := Get("countdown")
	if err != nil {
		b.Fatal(err)
	}
	for level := 3; level <= maxCountdown; level++ {
		b.Run(fmt.Sprint("generate/", level), func(b *testing.B) {
			for i := uint64(0); b.Loop(); i++ {
				if _, err := task.(Generator).Generate(rng.New(1, "bench", i), level); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("check", func(b *testing.B) {
		p, _ := task.(Generator).Generate(1, 4)
		for b.Loop() {
			task.Check(p, p.Answer)
		}
	})
}
