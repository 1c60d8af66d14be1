package nano

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/arith"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

const rowsTested = 400

// lines returns the whole lines of the first rows of the corpus; the last line of a row may be cut and is left out.
func lines(t *testing.T, seed uint64, rows int) []string {
	t.Helper()
	tok := token.Bytes()
	var out []string
	for i := range rows {
		s := Row(seed, i)
		if len(s.Tokens) != RowTokens || s.Tokens[0] != tok.BOS() {
			t.Fatalf("row %d has %d tokens and begins with %d", i, len(s.Tokens), s.Tokens[0])
		}
		from := 1
		for at, id := range s.Tokens {
			if id == tok.EOS() {
				out = append(out, tok.Decode(s.Tokens[from:at], false))
				from = at + 1
			}
		}
	}
	return out
}

func TestRowIsAFunctionOfSeedAndNumber(t *testing.T) {
	a, b := Row(1, 7), Row(1, 7)
	if !slices.Equal(a.Tokens, b.Tokens) || !slices.Equal(a.Kind, b.Kind) {
		t.Error("the same row twice differs")
	}
	if slices.Equal(a.Tokens, Row(1, 8).Tokens) || slices.Equal(a.Tokens, Row(2, 7).Tokens) {
		t.Error("another row or seed gives the same tokens")
	}
	for i, k := range a.Kind {
		if (k == engine.KindDemo) != (i > 0) {
			t.Fatalf("token %d has kind %v", i, k)
		}
	}
}

var (
	expression = regexp.MustCompile(`[0-9()+\-*/]*[0-9][0-9()+\-*/]*`)
	statement  = regexp.MustCompile(`[0-9()+\-*/]+(=[0-9()+\-*/]+)+`)
	number     = regexp.MustCompile(`[0-9]+`)
	compared   = regexp.MustCompile(`^(\d+)([<>=])(\d+)$`)
	listed     = regexp.MustCompile(`^list ([0-9, ]+): sum (\d+), most (\d+)$`)
	question   = regexp.MustCompile(`^<\|user\|>[0-9+\-*/]+=<\|assistant\|>\d+$`)
)

func value(t *testing.T, text string) *big.Rat {
	t.Helper()
	e, err := arith.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	v, err := e.Eval()
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

// Every chain of equal expressions in the corpus is true, and so is every comparison and list.
func TestStatementsAreTrue(t *testing.T) {
	count := map[string]int{}
	for _, l := range lines(t, 1, rowsTested) {
		plain := l
		if strings.HasPrefix(l, "<|user|>") {
			if !question.MatchString(l) {
				t.Errorf("%q is not a simple question and its answer", l)
			}
			count["chat"]++
			plain = strings.NewReplacer("<|user|>", "", "<|assistant|>", "").Replace(l)
		}
		for _, s := range statement.FindAllString(plain, -1) {
			sides := strings.Split(s, "=")
			for _, side := range sides[1:] {
				if value(t, side).Cmp(value(t, sides[0])) != 0 {
					t.Errorf("%q is false", l)
				}
			}
			count["statement"]++
		}
		if m := compared.FindStringSubmatch(l); m != nil {
			if want := map[int]string{-1: "<", 0: "=", 1: ">"}[value(t, m[1]).Cmp(value(t, m[3]))]; want != m[2] {
				t.Errorf("%q: want %s", l, want)
			}
			count["comparison"]++
		}
		if m := listed.FindStringSubmatch(l); m != nil {
			most := new(big.Rat)
			for _, n := range number.FindAllString(m[1], -1) {
				if v := value(t, n); v.Cmp(most) > 0 {
					most = v
				}
			}
			if value(t, strings.ReplaceAll(m[1], ", ", "+")).Cmp(value(t, m[2])) != 0 || most.Cmp(value(t, m[3])) != 0 {
				t.Errorf("%q is false", l)
			}
			count["list"]++
		}
	}
	for _, kind := range []string{"chat", "statement", "comparison", "list"} {
		if count[kind] < 50 {
			t.Errorf("only %d lines of kind %s in %d rows", count[kind], kind, rowsTested)
		}
	}
}

// numberSets returns the sets of three or more numbers that stand together in a line: in one expression, or in a list.
func numberSets(t *testing.T, line string) [][]int {
	parts := expression.FindAllString(line, -1)
	if m := listed.FindStringSubmatch(line); m != nil {
		parts = []string{strings.ReplaceAll(m[1], ", ", "+")}
	}
	var sets [][]int
	for _, p := range parts {
		var set []int
		for _, n := range number.FindAllString(p, -1) {
			set = append(set, int(value(t, n).Num().Int64()))
		}
		if len(set) >= 3 {
			sets = append(sets, set)
		}
	}
	return sets
}

// No set of numbers of an evaluation problem occurs, and no line asks for a target or belongs to another task.
func TestNoEvaluationItems(t *testing.T) {
	ref, err := task.Get("countdown")
	if err != nil {
		t.Fatal(err)
	}
	gen := ref.(task.Generator)
	evaluated := map[string]bool{}
	for level := 3; level <= 4; level++ {
		for _, split := range []task.Split{task.Test, task.Valid} {
			problems, err := task.NewStream(gen, train.DefaultCommon().Eval.Seed, split, level).Distinct(500)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				evaluated[key(p.Data.(*task.Countdown).Numbers)] = true
			}
		}
	}
	sets, rows := 0, Default().Steps*Default().Rows // all that the embedded model has read
	if testing.Short() {
		rows = rowsTested
	}
	for _, l := range lines(t, Default().Seed, rows) {
		for _, set := range numberSets(t, l) {
			sets++
			if evaluated[key(set)] || heldOut(set) {
				t.Errorf("%q holds the numbers %v of a held-out problem", l, set)
			}
		}
		if strings.Contains(l, " = ") || strings.Contains(strings.ToLower(l), "target") || strings.Contains(l, "Use ") {
			t.Errorf("%q looks like a countdown question", l)
		}
		for _, word := range []string{"knight", "knave", "sudoku", "frozen", "lake"} {
			if strings.Contains(strings.ToLower(l), word) {
				t.Errorf("%q: %s", l, word)
			}
		}
	}
	if sets < rowsTested {
		t.Errorf("only %d sets of numbers were looked at", sets)
	}
}

func key(numbers []int) string { return fmt.Sprint(slices.Sorted(slices.Values(numbers))) }

// heldOut agrees with the split that package task gives a problem.
func TestHeldOutIsTheTasksSplit(t *testing.T) {
	ref, err := task.Get("countdown")
	if err != nil {
		t.Fatal(err)
	}
	out := 0
	for level := 3; level <= 5; level++ {
		stream := task.NewStream(ref.(task.Generator), 5, task.All, level)
		for i := range 100 {
			p, err := stream.At(i)
			if err != nil {
				t.Fatal(err)
			}
			held := heldOut(p.Data.(*task.Countdown).Numbers)
			if want := task.SplitOf(p, task.DefaultSplits) != task.Train; held != want {
				t.Errorf("%v: held out %v, want %v", p.Data, held, want)
			}
			if held {
				out++
			}
		}
	}
	if out < 10 {
		t.Errorf("only %d of 300 problems are held out", out)
	}
}
