package task

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// A says: B is a knave. B says: A and I are both knights. So A is a knight and B a knave.
func TestKnightsCard(t *testing.T) {
	task, err := Get("knights_knaves")
	if err != nil {
		t.Fatal(err)
	}
	var statements []Statement
	if err := json.Unmarshal([]byte(`[["lying", 1], ["and", ["telling-truth", 0], ["telling-truth", 1]]]`), &statements); err != nil {
		t.Fatal(err)
	}
	if found := SolveKnights(statements); len(found) != 1 || !slices.Equal(found[0], []bool{true, false}) {
		t.Fatalf("solutions %v", found)
	}
	p := newProblem(task, 2, &Knights{Names: []string{"Ada", "Ben"}, Statements: statements, Solution: []bool{true, false}}, Compact, "")
	if p.Question != "A:Bn B:(Ak&Bk)" {
		t.Errorf("question %q", p.Question)
	}
	if q := task.Question(p, Natural); !strings.Contains(q, `Ben says: "Ada is a knight and I am a knight".`) {
		t.Errorf("question %q", q)
	}
	for answer, want := range map[string]Verdict{
		"Ak Bn":                                Correct,
		"Bn, Ak.":                              Correct,
		"A is a knight and B is a knave":       Correct,
		"Ada is a knight, and Ben is a knave.": Correct,
		"ADA IS A KNIGHT, BEN IS A KNAVE":      Correct,
		"Assume Ada is a knave.\nSo no.\n#### Ada: knight, Ben: knave": Correct,
		"An answer: Ada is a knight, and Ben is a knave.":              Correct,
		"Ak Bk":                          Wrong,
		"Ak":                             Wrong,
		"Ak An Bn":                       Unparsed,
		"Ada is not a knave":             Unparsed,
		"who knows":                      Unparsed,
		"":                               Unparsed,
		"Ck Dn":                          Unparsed,
		"Ada is a knave. Ben is a knave": Wrong,
	} {
		if r := task.Check(p, answer); r.Verdict != want {
			t.Errorf("%q: %+v, want %v", answer, r, want)
		}
	}
	if r := task.Check(p, "Ak Bk"); r.Term("people") != 0.5 || r.Score != 0 {
		t.Errorf("half right: %+v", r)
	}
	tr, err := task.Expert(p)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tr.Search()
	if err != nil {
		t.Fatal(err)
	}
	parts, _ := s.Render(Verbose, Compact)
	if got := Join(parts, Compact); got != "Ak?;Bk?;A!;^1;Bn;A+;B+|Ak Bn" {
		t.Errorf("search %q", got)
	}
}

func TestKnightsHaveOneSolution(t *testing.T) {
	g := open1(t, Ref{Name: "knights_knaves"})
	knights, people := 0, 0
	for level := 2; level <= 8; level++ {
		for i := range uint64(30) {
			p, err := g.Generate(rng.New(1, "knights", uint64(level), i), level)
			if err != nil {
				t.Fatal(err)
			}
			data := p.Data.(*Knights)
			if err := data.valid(); err != nil {
				t.Fatal(err)
			}
			for _, k := range data.Solution {
				people++
				knights += int(truth(k))
			}
		}
	}
	if share := float64(knights) / float64(people); share < 0.3 || share > 0.7 {
		t.Errorf("%.0f %% knights", 100*share)
	}
}

func TestSudoku(t *testing.T) {
	if len(firstRows) != 12 {
		t.Errorf("%d solved grids begin with 1 2 3 4, want 12", len(firstRows))
	}
	g := open1(t, Ref{Name: "mini_sudoku"})
	for level := 1; level <= 12; level++ {
		p, err := g.Generate(rng.New(1, "sudoku", uint64(level)), level)
		if err != nil {
			t.Fatal(err)
		}
		data := p.Data.(*Sudoku)
		if n := data.Puzzle.empty(); n != level || data.valid() != nil {
			t.Errorf("level %d: %d empty cells in %v: %v", level, n, data.Puzzle, data.valid())
		}
	}
	data := &Sudoku{
		Puzzle:   Grid{4, 0, 0, 0, 0, 3, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0},
		Solution: Grid{4, 2, 1, 3, 1, 3, 4, 2, 2, 1, 3, 4, 3, 4, 2, 1},
	}
	p := newProblem(g, 12, data, Compact, "")
	if p.Question != "4___ _3__ _13_ ____" {
		t.Errorf("question %q", p.Question)
	}
	for answer, want := range map[string]Verdict{
		"4213 1342 2134 3421":                                     Correct,
		"4213134221343421":                                        Correct,
		"4 2 1 3\n1 3 4 2\n2 1 3 4\n3 4 2 1":                      Correct,
		" 4 2 1 3 \n\n1 3 4 2\n2 1 3 4\n3 4 2 1\n":                Correct,
		"Row 1 is 4213.\n#### 4 2 1 3\n1 3 4 2\n2 1 3 4\n3 4 2 1": Correct,
		"4 2 1 3 1 3 4 2 2 1 3 4 3 4 2 1":                         Correct,
		"4213 1342 2134 3412":                                     Wrong,
		"4213 1342 2134":                                          Unparsed,
		"5213 1342 2134 3421":                                     Unparsed,
		"":                                                        Unparsed,
	} {
		if r := g.Check(p, answer); r.Verdict != want {
			t.Errorf("%q: %+v, want %v", answer, r, want)
		}
	}
	if r := g.Check(p, "4213 1342 2134 3412"); math.Abs(r.Term("cells")-10./12) > 1e-12 || r.Term("clues") != 1 {
		t.Errorf("two cells wrong: %+v", r)
	}
	bad := *data
	bad.Puzzle[0] = 0
	if bad.valid() == nil {
		t.Error("a puzzle with several solutions passes")
	}
}

func TestLake(t *testing.T) {
	g := open1(t, Ref{Name: "frozenlake"})
	data := &Lake{Map: []string{"SFFF", "FHFH", "FFFH", "HFFG"}} // Gymnasium's 4x4 map
	p := newProblem(g, 4, data, Compact, "")
	if p.Question != "SFFF/FHFH/FFFH/HFFG" {
		t.Errorf("question %q", p.Question)
	}
	for answer, want := range map[string]Verdict{
		"RRDDDR": Correct, "DDRRDR": Correct, "R R D D D R": Correct, "right, right, down, down, down, right": Correct, "LURRDDDRLL": Correct,
		"RD": Wrong, "RRDDD": Wrong, "RDRRDDDR": Wrong, "": Unparsed, "RRX": Unparsed, strings.Repeat("L", 101): Unparsed,
	} {
		if r := g.Check(p, answer); r.Verdict != want {
			t.Errorf("%q: %+v, want %v", answer, r, want)
		}
	}
	if r := g.Check(p, "RRD"); r.Term("progress") != 0.5 {
		t.Errorf("half way: %+v", r)
	}
	// One slippery move right from S: stays (up), right, down, one third each.
	slippery := &Lake{Map: data.Map, Slippery: true}
	p1 := slippery.step([]float64{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 2)
	if math.Abs(p1[0]-1./3) > 1e-15 || math.Abs(p1[1]-1./3) > 1e-15 || math.Abs(p1[4]-1./3) > 1e-15 {
		t.Errorf("%v", p1)
	}
	// 2x2 without holes: R leads to S, right or down with 1/3 each; then D arrives from the right cell with 1/3 (down) and from the left one
	// below with 1/3 (the slip to the right).
	small := &Lake{Map: []string{"SF", "FG"}, Slippery: true}
	if got := small.success([]int{2, 1}); math.Abs(got-2./9) > 1e-12 {
		t.Errorf("success of RD on 2x2: %v, want 2/9", got)
	}
	ref := small.reference()
	if s := small.success(ref); s < 0.9 {
		t.Errorf("reference %s arrives with %v", spell(ref), s)
	}
	p = newProblem(g, 2, small, Compact, "")
	small.Goal = small.success(ref)
	if r := g.Check(p, "RD"); r.Verdict != Wrong || math.Abs(r.Score-small.success([]int{2, 1})) > 1e-15 || r.Score == 0 {
		t.Errorf("%+v", r)
	}
}

func TestChainSum(t *testing.T) {
	g := open1(t, Ref{Name: "chain_sum"})
	p := newProblem(g, 3, &ChainSum{Terms: []int{12, 35, 70}, Ops: "+-"}, Compact, "")
	if p.Question != "12+35-70=" {
		t.Errorf("question %q", p.Question)
	}
	if q := g.Question(p, Natural); q != "State the final answer to the following arithmetic problem: 12 + 35 - 70 =" {
		t.Errorf("question %q", q)
	}
	for answer, want := range map[string]Verdict{
		"-23": Correct, "12+35=47;47-70=-23|-23": Correct, "The answer is -23.": Correct, "47 - 70 = -23": Correct, "−23": Correct, "-23.0": Correct,
		"23": Wrong, "-23.5": Wrong, "47 - 23": Wrong, "none": Unparsed, "": Unparsed,
	} {
		if r := g.Check(p, answer); r.Verdict != want {
			t.Errorf("%q: %+v, want %v", answer, r, want)
		}
	}
	for level := 2; level <= 6; level++ {
		h := open1(t, Ref{Name: "chain_sum", Options: map[string]any{"digits": "1-4"}})
		p, err := h.Generate(rng.New(1, "chain", uint64(level)), level)
		if err != nil {
			t.Fatal(err)
		}
		if data := p.Data.(*ChainSum); len(data.Terms) != level || data.valid() != nil {
			t.Errorf("level %d: %+v", level, data)
		}
	}
}
