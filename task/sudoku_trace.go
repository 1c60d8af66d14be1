package task

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"github.com/hone-lm/hone/internal/rng"
)

// SudokuStep is a digit in a cell (rows and columns from 1), or a cell that no digit fits (Digit 0).
type SudokuStep struct{ Row, Col, Digit int }

// put makes the step that writes a digit. why is the reason in English.
func put(kind StepKind, cell int, digit int8, why string) Step {
	d := &SudokuStep{cell/4 + 1, cell%4 + 1, int(digit)}
	short := fmt.Sprintf("%d%d=%d", d.Row, d.Col, digit)
	long := fmt.Sprintf("Row %d, column %d is %d: %s.", d.Row, d.Col, digit, why)
	if kind == Assume {
		short += "?"
		long = fmt.Sprintf("Assume row %d, column %d is %d.", d.Row, d.Col, digit)
	}
	return Step{Kind: kind, Text: Words{short, long}, Plan: Words{fmt.Sprintf("%d%d", d.Row, d.Col), fmt.Sprintf("Fill row %d, column %d.", d.Row, d.Col)}, Data: d}
}

// stuck is the contradiction of a cell without candidates; taken names a digit that does not fit where it was put.
func stuck(cell int, taken int8) Step {
	d := &SudokuStep{cell/4 + 1, cell%4 + 1, 0}
	text := fmt.Sprintf("Check: no number fits row %d, column %d: contradiction.", d.Row, d.Col)
	if taken != 0 {
		text = fmt.Sprintf("Check: row %d, column %d cannot be %d, which its row, column or box has already: contradiction.", d.Row, d.Col, taken)
	}
	return Step{Kind: Contradiction, Text: Words{fmt.Sprintf("%d%d!", d.Row, d.Col), text}, Data: d}
}

func sudokuBack(filled int, g Grid) Step {
	return Step{Kind: Back, Text: Words{"^" + strconv.Itoa(filled), "Back to " + g.String() + "."}, Data: &SudokuStep{}}
}

// forced finds a cell that only one digit fits, or, with hidden set, a digit that fits only one cell of a row, column or box.
func (g *Grid) forced(hidden bool) (cell int, digit int8, why string, ok bool) {
	for cell, v := range g {
		if set := g.candidates(cell); v == 0 && bits.OnesCount8(set) == 1 {
			return cell, int8(bits.TrailingZeros8(set)), "no other number fits", true
		}
	}
	for u := 0; hidden && u < len(units); u++ {
		for digit := int8(1); digit <= 4; digit++ {
			fits, at := 0, 0
			for _, cell := range units[u] {
				if g[cell] == digit {
					fits = 9
				} else if g[cell] == 0 && g.candidates(cell)>>digit&1 == 1 {
					fits, at = fits+1, cell
				}
			}
			if fits == 1 {
				return at, digit, "it fits nowhere else in its " + []string{"row", "column", "box"}[u/4], true
			}
		}
	}
	return 0, 0, "", false
}

// units are the rows, columns and boxes.
var units = func() (out [12][4]int) {
	for i := range 4 {
		for j := range 4 {
			out[i][j] = 4*i + j
			out[4+i][j] = 4*j + i
			out[8+i][j] = 8*(i/2) + 2*(i%2) + 4*(j/2) + j%2
		}
	}
	return out
}()

// dead returns an empty cell that no digit fits.
func (g *Grid) dead() (int, bool) {
	for cell, v := range g {
		if v == 0 && g.candidates(cell) == 0 {
			return cell, true
		}
	}
	return 0, false
}

// narrowest is the first of the empty cells with the fewest candidates.
func (g *Grid) narrowest() int {
	best, fewest := -1, 9
	for cell, v := range g {
		if n := bits.OnesCount8(g.candidates(cell)); v == 0 && n < fewest {
			best, fewest = cell, n
		}
	}
	return best
}

// Expert implements Task: forced cells in order; where nothing is forced, the right digit is assumed. A wrong turn assumes a wrong digit and
// fills what then is forced until a cell has no digit left. Search tries digits from 1 where nothing is forced.
func (s *sudoku) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[Sudoku](s, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	t := &Trace{Problem: p, Answer: data.answer()}
	g := data.Puzzle
	var before []Grid
	for g.empty() > 0 {
		before = append(before, g)
		cell, digit, why, ok := g.forced(true)
		kind := Derive
		if !ok {
			kind, cell = Assume, g.narrowest()
			digit = data.Solution[cell]
		}
		g[cell] = digit
		t.Steps = append(t.Steps, put(kind, cell, digit, why))
	}
	t.turns = func(at, limit int, key rng.Key) [][]Step {
		cell := t.Steps[at].Data.(*SudokuStep)
		return data.wrongDigits(before[at], 4*(cell.Row-1)+cell.Col-1, at, limit, key)
	}
	t.search = func() ([]Step, error) {
		var steps []Step
		g := data.Puzzle
		g.descend(&steps, 0)
		return steps, nil
	}
	steps := t.Steps
	t.corrupt = func(key rng.Key) ([]Step, Words, error) {
		if len(steps) == 0 {
			return nil, Words{}, fmt.Errorf("no empty cell to corrupt")
		}
		return data.corrupt(steps, key)
	}
	return t, nil
}

// wrongDigits tries wrong digits in the cell that comes next, then in the other empty cells.
func (s *Sudoku) wrongDigits(g Grid, next, filled, limit int, key rng.Key) [][]Step {
	type choice struct {
		cell  int
		digit int8
	}
	var fitting, others []choice
	for cell, v := range g {
		for digit := int8(1); v == 0 && digit <= 4; digit++ {
			switch fits := g.candidates(cell)>>digit&1 == 1; {
			case digit == s.Solution[cell]:
			case fits:
				fitting = append(fitting, choice{cell, digit})
			case cell == next:
				others = append(others, choice{cell, digit})
			}
		}
	}
	var out [][]Step
	for i, list := range [][]choice{fitting, others} {
		for _, j := range key.With(uint64(i)).Perm(len(list)) {
			if len(out) == limit {
				return out
			}
			out = append(out, s.wrongDigit(g, list[j].cell, list[j].digit, filled))
		}
	}
	return out
}

func (s *Sudoku) wrongDigit(g Grid, cell int, digit int8, filled int) []Step {
	start := g
	steps := []Step{put(Assume, cell, digit, "")}
	if g.candidates(cell)>>digit&1 == 0 {
		steps = append(steps, stuck(cell, digit), sudokuBack(filled, start))
	} else {
		g[cell] = digit
		for { // ends: the puzzle has one solution, and this is not on the way to it
			if at, isDead := g.dead(); isDead {
				steps = append(steps, stuck(at, 0), sudokuBack(filled, start))
				break
			}
			at, d, why, ok := g.forced(false)
			kind := Derive
			if !ok {
				kind, at = Assume, g.narrowest()
				d = int8(bits.TrailingZeros8(g.candidates(at)))
			}
			g[at] = d
			steps = append(steps, put(kind, at, d, why))
		}
	}
	for i := range steps {
		steps[i].Plan = Words{}
	}
	return steps
}

// descend searches in a fixed order and reports whether it came to the solution.
func (g *Grid) descend(steps *[]Step, filled int) bool {
	if g.empty() == 0 {
		return true
	}
	if cell, isDead := g.dead(); isDead {
		*steps = append(*steps, stuck(cell, 0))
		return false
	}
	if cell, digit, why, ok := g.forced(true); ok {
		if g.candidates(cell)>>digit&1 == 0 {
			return false
		}
		h := *g
		h[cell] = digit
		*steps = append(*steps, put(Derive, cell, digit, why))
		return h.descend(steps, filled+1)
	}
	cell := g.narrowest()
	for set := g.candidates(cell); set != 0; set &= set - 1 {
		h, last := *g, set&(set-1) == 0
		h[cell] = int8(bits.TrailingZeros8(set))
		kind := Assume
		if last {
			kind = Derive
		}
		*steps = append(*steps, put(kind, cell, h[cell], "the other numbers failed"))
		if h.descend(steps, filled+1) {
			return true
		}
		if !last {
			*steps = append(*steps, sudokuBack(filled, *g))
		}
	}
	return false
}

// corrupt writes a wrong digit in one step.
func (s *Sudoku) corrupt(right []Step, key rng.Key) ([]Step, Words, error) {
	steps := slices.Clone(right)
	at := key.Intn(0, len(steps))
	d := *steps[at].Data.(*SudokuStep)
	cell := 4*(d.Row-1) + d.Col - 1
	digit := int8(1 + (d.Digit-1+1+key.Intn(1, 3))%4)
	steps[at] = put(steps[at].Kind, cell, digit, "no other number fits")
	steps[at].Wrong = true
	wrong := *s
	wrong.Solution[cell] = digit
	return steps, wrong.answer(), nil
}
