package task

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// Sudoku is a 4x4 grid, row by row; 0 is an empty cell. Rows, columns and 2x2 boxes hold each of 1 to 4 once.
type Sudoku struct {
	Puzzle   Grid `json:"puzzle"`
	Solution Grid `json:"solution"`
}

// Grid is 4 rows of 4 cells.
type Grid [16]int8

// peers of each cell: the cells of its row, column and box, itself not.
var peers = func() (out [16][]int) {
	for a := range 16 {
		for b := range 16 {
			if a != b && (a/4 == b/4 || a%4 == b%4 || a/8 == b/8 && a%4/2 == b%4/2) {
				out[a] = append(out[a], b)
			}
		}
	}
	return out
}()

// candidates returns the digits that no peer holds, bit d for digit d.
func (g *Grid) candidates(cell int) uint8 {
	set := uint8(0b11110)
	for _, p := range peers[cell] {
		set &^= 1 << g[p]
	}
	return set
}

// solve counts solutions up to limit; the first is left in out.
func (g *Grid) solve(limit int, out *Grid) int {
	best, fewest := -1, 9
	for cell, v := range g {
		if v == 0 {
			if n := bits.OnesCount8(g.candidates(cell)); n < fewest {
				best, fewest = cell, n
			}
		}
	}
	if best < 0 {
		*out = *g
		return 1
	}
	found := 0
	for set := g.candidates(best); set != 0 && found < limit; set &= set - 1 {
		g[best] = int8(bits.TrailingZeros8(set))
		var first Grid
		if n := g.solve(limit-found, &first); n > 0 {
			if found == 0 {
				*out = first
			}
			found += n
		}
	}
	g[best] = 0
	return found
}

// legal reports whether no two peers hold the same digit.
func (g *Grid) legal() bool {
	for cell, v := range g {
		if v < 0 || v > 4 || v != 0 && g.candidates(cell)>>v&1 == 0 {
			return false
		}
	}
	return true
}

func (g *Grid) empty() int {
	n := 0
	for _, v := range g {
		if v == 0 {
			n++
		}
	}
	return n
}

// rows writes the grid with separators between rows and between cells.
func (g *Grid) rows(row, cell string) string {
	var b strings.Builder
	for i, v := range g {
		switch {
		case i == 0:
		case i%4 == 0:
			b.WriteString(row)
		default:
			b.WriteString(cell)
		}
		b.WriteByte("_1234"[v])
	}
	return b.String()
}

// Puzzles with the same solution are in the same split.
func (s *Sudoku) canonical() (all, group string) {
	return s.Puzzle.rows("", ""), s.Solution.rows("", "")
}

func (s *Sudoku) valid() error {
	var out Grid
	g := s.Puzzle
	if !g.legal() || g.solve(2, &out) != 1 || out != s.Solution {
		return fmt.Errorf("mini_sudoku: the puzzle %s does not have %s as its only solution", s.Puzzle.String(), s.Solution.String())
	}
	return nil
}

// String is the compact form: rows with spaces between.
func (g Grid) String() string {
	for _, v := range g {
		if v < 0 || v > 4 {
			return fmt.Sprint([16]int8(g))
		}
	}
	return g.rows(" ", "")
}

type sudoku struct{ common }

func init() {
	register("mini_sudoku", entry{
		about: "4x4 sudoku with one solution (level = empty cells, 1 to 12)",
		open:  func(o *options) Task { return &sudoku{o.common(1, 12, 4, 8)} },
		data:  func() content { return &Sudoku{} },
	})
}

// Generate implements Generator: a random solved grid, emptied cell by cell in random order while the solution stays the only one.
func (s *sudoku) Generate(key rng.Key, level int) (*Problem, error) {
	d := &draw{key: key}
	n, err := s.level(d, level)
	if err != nil {
		return nil, err
	}
	for range 2000 {
		data := &Sudoku{Solution: solved(d)}
		data.Puzzle = data.Solution
		left := n
		for _, cell := range d.perm(16) {
			if left == 0 {
				break
			}
			v := data.Puzzle[cell]
			data.Puzzle[cell] = 0
			var out Grid
			if g := data.Puzzle; g.solve(2, &out) != 1 {
				data.Puzzle[cell] = v
			} else {
				left--
			}
		}
		if left == 0 {
			return newProblem(s, n, data, s.wording, data.answer().In(s.wording)), nil
		}
	}
	return nil, fmt.Errorf("task mini_sudoku: no puzzle with %d empty cells in 2000 draws", n)
}

// firstRows are the 12 solved grids whose first row is 1 2 3 4; renaming the digits makes all 288 of them.
var firstRows = func() (out []Grid) {
	var fill func(g Grid, cell int)
	fill = func(g Grid, cell int) {
		if cell == 16 {
			out = append(out, g)
			return
		}
		for set := g.candidates(cell); set != 0; set &= set - 1 {
			g[cell] = int8(bits.TrailingZeros8(set))
			fill(g, cell+1)
			g[cell] = 0
		}
	}
	fill(Grid{1, 2, 3, 4}, 4)
	return out
}()

// solved draws one of the 288 solved grids, each as likely as any other.
func solved(d *draw) Grid {
	g, names := firstRows[d.intn(len(firstRows))], d.perm(4)
	for i, v := range g {
		g[i] = int8(names[v-1] + 1)
	}
	return g
}

func (s *Sudoku) answer() Words {
	return Words{s.Solution.rows(" ", ""), s.Solution.rows("\n", " ")}
}

// Question implements Task. The compact form is "4___ _3__ _13_ ____".
func (s *sudoku) Question(p *Problem, w Wording) string {
	data, err := dataOf[Sudoku](s, p)
	switch {
	case err != nil:
		return p.Question
	case w == Natural:
		return "Solve this 4x4 sudoku. Each row, each column and each 2x2 box must hold each of the numbers 1 to 4 exactly once.\n" + data.Puzzle.rows("\n", " ") +
			"\nAnswer with the whole grid in the same format: four rows of four numbers with spaces between."
	}
	return data.Puzzle.rows(" ", "")
}

// Check implements Task: the answer's digits are the grid, whatever stands between them. Terms: cells, the share of empty cells filled
// rightly; clues, 1 when the given digits are kept.
func (s *sudoku) Check(p *Problem, answer string) Result {
	data, err := dataOf[Sudoku](s, p)
	if err != nil {
		return failed(err)
	}
	text, marked := Final(answer)
	g, ok := readGrid(text, marked)
	if !ok {
		return unparsed(text, "no four rows of four digits")
	}
	right, clues := 0, true
	for i, v := range g {
		if data.Puzzle[i] != 0 {
			clues = clues && v == data.Puzzle[i]
		} else if v == data.Solution[i] {
			right++
		}
	}
	share := 1.0
	if n := data.Puzzle.empty(); n > 0 {
		share = float64(right) / float64(n)
	}
	return judged(g == data.Solution, g.String(), fmt.Sprintf("%d of %d empty cells right", right, data.Puzzle.empty()), Term{"cells", share}, Term{"clues", truth(clues)})
}

// readGrid reads 16 digits out of rows of four. Words and other lines are passed over; without a mark the last such block counts.
func readGrid(text string, marked bool) (g Grid, ok bool) {
	var rows [][4]int8
	add := func(word string) {
		if len(word) == 4 {
			var row [4]int8
			for i := range 4 {
				if word[i] < '1' || word[i] > '4' {
					return
				}
				row[i] = int8(word[i] - '0')
			}
			rows = append(rows, row)
		}
	}
	for line := range strings.Lines(text) {
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;|/[]", r) })
		joined := strings.Join(fields, "")
		switch {
		case len(joined) == 4:
			fields = []string{joined} // a row with spaces
		case len(joined) == 16 && (len(fields) == 1 || len(fields) == 16):
			fields = []string{joined[:4], joined[4:8], joined[8:12], joined[12:]} // a grid in one line
		}
		for _, f := range fields {
			add(f)
		}
	}
	if len(rows) < 4 || marked && len(rows) != 4 {
		return g, false
	}
	for i, row := range rows[len(rows)-4:] {
		copy(g[4*i:], row[:])
	}
	return g, true
}
