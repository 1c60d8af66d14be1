package task

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// Lake is Gymnasium's FrozenLake as text: rows of S (start), F (frozen), H (hole), G (goal). The answer is a sequence of moves L, D, R, U;
// moves after a hole or the goal do not count, and moves into the edge leave one where one is. On slippery ice a move goes the way it says,
// or to either side of it, with one third each.
type Lake struct {
	Map      []string `json:"map"`
	Slippery bool     `json:"slippery,omitempty"`
	Goal     float64  `json:"goal,omitempty"` // slippery: the expected success that counts as correct, the reference answer's own
}

func (l *Lake) canonical() (all, group string) {
	group = strings.Join(l.Map, "/")
	return fmt.Sprintf("%s slippery=%v", group, l.Slippery), group
}

const (
	maxLake  = 8   // side
	maxMoves = 100 // what an answer may hold; Gymnasium's own limit on 4x4
)

func (l *Lake) valid() error {
	n := len(l.Map)
	if n < 2 || n > maxLake {
		return fmt.Errorf("frozenlake of %d rows; want 2 to %d", n, maxLake)
	}
	for _, row := range l.Map {
		if len(row) != n || strings.Trim(row, "SFHG") != "" {
			return fmt.Errorf("frozenlake row %q: want %d of S, F, H, G", row, n)
		}
	}
	all := strings.Join(l.Map, "")
	if all[0] != 'S' || all[len(all)-1] != 'G' || strings.Count(all, "S")+strings.Count(all, "G") != 2 {
		return fmt.Errorf("frozenlake: want S in the first and G in the last cell")
	}
	if l.distances()[0] < 0 {
		return fmt.Errorf("frozenlake: no way from S to G")
	}
	return nil
}

// Moves in the order of Gymnasium's actions 0 to 3.
const moves = "LDRU"

// at returns the letter of a cell.
func (l *Lake) at(cell int) byte { return l.Map[cell/len(l.Map)][cell%len(l.Map)] }

// move returns where an action leads.
func (l *Lake) move(cell, action int) int {
	n := len(l.Map)
	row, col := cell/n, cell%n
	switch action {
	case 0:
		col = max(col-1, 0)
	case 1:
		row = min(row+1, n-1)
	case 2:
		col = min(col+1, n-1)
	case 3:
		row = max(row-1, 0)
	}
	return row*n + col
}

func (l *Lake) ends(cell int) bool { return l.at(cell) == 'H' || l.at(cell) == 'G' }

// distances returns the moves from each cell to the goal over firm ice, -1 where there is no way.
func (l *Lake) distances() []int {
	n := len(l.Map) * len(l.Map)
	dist := slices.Repeat([]int{-1}, n)
	dist[n-1] = 0
	for queue := []int{n - 1}; len(queue) > 0; queue = queue[1:] {
		for a := range 4 { // moves can be reversed
			if from := l.move(queue[0], a); dist[from] < 0 && !l.ends(from) {
				dist[from] = dist[queue[0]] + 1
				queue = append(queue, from)
			}
		}
	}
	return dist
}

// outcomes returns the cells that an action may lead to, each with one third; on firm ice they are the same.
func (l *Lake) outcomes(cell, action int) [3]int {
	to := l.move(cell, action)
	if !l.Slippery {
		return [3]int{to, to, to}
	}
	return [3]int{l.move(cell, (action+3)%4), to, l.move(cell, (action+1)%4)}
}

// success is the probability that the moves end in the goal, exactly to rounding.
func (l *Lake) success(actions []int) float64 {
	p := make([]float64, len(l.Map)*len(l.Map))
	p[0] = 1
	for _, a := range actions {
		p = l.step(p, a)
	}
	return p[len(p)-1]
}

// step moves a distribution over cells.
func (l *Lake) step(p []float64, action int) []float64 {
	q := make([]float64, len(p))
	for cell, w := range p {
		if w == 0 {
			continue
		}
		if l.ends(cell) {
			q[cell] += w
			continue
		}
		for _, to := range l.outcomes(cell, action) {
			q[to] += w / 3
		}
	}
	return q
}

// reference returns the expert's moves: a shortest way, right and down first. On slippery ice it is the better of that way and of cautious,
// which is good but need not be the best there is.
func (l *Lake) reference() []int {
	var way []int
	dist := l.distances()
	for cell := 0; dist[cell] > 0; {
		a := l.onward(cell, dist)[0]
		way, cell = append(way, a), l.move(cell, a)
	}
	if l.Slippery {
		if c := l.cautious(); l.success(c) > l.success(way) {
			return c
		}
	}
	return way
}

// cautious takes at each move the action that is best on average over where one may be, by the values of the policy that sees where it is
// (QMDP). It is cut where more moves no longer help.
func (l *Lake) cautious() []int {
	values := l.values()
	p := make([]float64, len(values))
	p[0] = 1
	var out []int
	best := 0
	for range maxMoves {
		bestValue, action := -1.0, 0
		for a := range 4 {
			v := 0.0
			for cell, q := range l.step(p, a) {
				v += float64(q * values[cell]) // the conversion forbids a fused multiply-add, which would differ between machines
			}
			if v > bestValue+1e-12 {
				bestValue, action = v, a
			}
		}
		gained := p[len(p)-1]
		p = l.step(p, action)
		out = append(out, action)
		if p[len(p)-1] > 1.001*gained+1e-12 {
			best = len(out)
		}
	}
	return out[:best]
}

// onward lists the moves that come nearer to the goal, in the order right, down, up, left.
func (l *Lake) onward(cell int, dist []int) []int {
	var out []int
	for _, a := range []int{2, 1, 3, 0} {
		if to := l.move(cell, a); dist[to] >= 0 && dist[to] < dist[cell] {
			out = append(out, a)
		}
	}
	return out
}

// values is the chance of success from each cell under the policy that sees where it is, by value iteration with a slight discount.
func (l *Lake) values() []float64 {
	const discount, rounds = 0.98, 200
	v := make([]float64, len(l.Map)*len(l.Map))
	v[len(v)-1] = 1
	for range rounds {
		next := slices.Clone(v)
		for cell := range v {
			if l.ends(cell) {
				continue
			}
			next[cell] = 0
			for a := range 4 {
				sum := 0.0
				for _, to := range l.outcomes(cell, a) {
					sum += v[to] / 3
				}
				next[cell] = math.Max(next[cell], discount*sum)
			}
		}
		v = next
	}
	return v
}

func spell(actions []int) string {
	b := make([]byte, len(actions))
	for i, a := range actions {
		b[i] = moves[a]
	}
	return string(b)
}

type lake struct {
	common
	slippery bool
	holes    float64
}

func init() {
	register("frozenlake", entry{
		about: "cross a frozen lake by a sequence of moves (level = side of the map, 3 to 8)",
		open: func(o *options) Task {
			l := &lake{common: o.common(3, maxLake, 4, 4)}
			l.slippery = o.bool("slippery")
			l.holes = o.float("holes", 0.2, 0, 0.6)
			return l
		},
		data: func() content { return &Lake{} },
	})
}

// Generate implements Generator.
func (l *lake) Generate(key rng.Key, level int) (*Problem, error) {
	p, err := l.draft(key, level)
	if err != nil {
		return nil, err
	}
	return p, l.finish(p)
}

// finish implements drafter: the reference answer takes a while on slippery ice.
func (l *lake) finish(p *Problem) error {
	data := p.Data.(*Lake)
	way := data.reference()
	if data.Slippery {
		if data.Goal = data.success(way); data.Goal == 0 {
			return fmt.Errorf("problem %s: no way found over %s", p.ID, l.Question(p, Compact))
		}
	}
	p.Answer = l.answer(way).In(l.wording)
	return nil
}

// draft makes cells holes with the probability of option holes, and redraws until there is a way.
func (l *lake) draft(key rng.Key, level int) (*Problem, error) {
	d := &draw{key: key}
	n, err := l.level(d, level)
	if err != nil {
		return nil, err
	}
	for range 5000 {
		data := &Lake{Slippery: l.slippery}
		for row := range n {
			cells := make([]byte, n)
			for col := range cells {
				cells[col] = 'F'
				if d.float() < l.holes {
					cells[col] = 'H'
				}
			}
			if row == 0 {
				cells[0] = 'S'
			}
			if row == n-1 {
				cells[n-1] = 'G'
			}
			data.Map = append(data.Map, string(cells))
		}
		if data.distances()[0] >= 0 {
			return newProblem(l, n, data, l.wording, ""), nil
		}
	}
	return nil, fmt.Errorf("task frozenlake: no map of side %d with a way in 5000 draws; lower holes=%g", n, l.holes)
}

func (l *lake) answer(way []int) Words { return Words{spell(way), spell(way)} }

// Question implements Task. The compact form is "SFFF/FHFH/FFFH/HFFG", with ~ before it on slippery ice.
func (l *lake) Question(p *Problem, w Wording) string {
	data, err := dataOf[Lake](l, p)
	if err != nil {
		return p.Question
	}
	if w != Natural {
		return map[bool]string{true: "~"}[data.Slippery] + strings.Join(data.Map, "/")
	}
	ice := "Each move goes one cell in the direction you choose."
	if data.Slippery {
		ice = "The ice is slippery: a move goes in the direction you choose or to either side of it, each with probability 1/3. Choose moves that are likely to arrive."
	}
	return "Cross the frozen lake from S to G. F is safe ice, H is a hole. " + ice + " Moves into the edge do nothing.\n" + strings.Join(data.Map, "\n") +
		"\nAnswer with the moves as one word of the letters L (left), D (down), R (right), U (up)."
}

// Check implements Task. Firm ice: correct when the moves reach the goal. Slippery ice: Score is the probability that they do, correct when
// it is not below the reference answer's. Terms: success, that probability; progress, the share of the way that a move sequence over firm
// ice has come nearer to the goal (0 in a hole).
func (l *lake) Check(p *Problem, answer string) Result {
	data, err := dataOf[Lake](l, p)
	if err != nil {
		return failed(err)
	}
	text := strings.TrimRight(oneLine(answer), ".")
	actions, err := readMoves(text)
	if err != nil {
		return unparsed(text, "%v", err)
	}
	if data.Slippery {
		chance := data.success(actions)
		r := judged(chance > 0 && chance >= data.Goal-1e-9, text, fmt.Sprintf("arrives with probability %.3f, the reference with %.3f", chance, data.Goal), Term{"success", chance})
		r.Score = chance
		return r
	}
	cell := 0
	for _, a := range actions {
		if data.ends(cell) {
			break
		}
		cell = data.move(cell, a)
	}
	dist := data.distances()
	progress := 0.0
	if dist[cell] >= 0 {
		progress = max(0, 1-float64(dist[cell])/float64(dist[0]))
	}
	arrived := data.at(cell) == 'G'
	n := len(data.Map)
	return judged(arrived, text, fmt.Sprintf("ends on %c in row %d, column %d", data.at(cell), cell/n+1, cell%n+1), Term{"success", truth(arrived)}, Term{"progress", progress})
}

// readMoves reads letters, with spaces, commas or arrows between, or the words left, down, right, up.
func readMoves(text string) ([]int, error) {
	var out []int
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;->\t[]\"'", r) }) {
		if a := slices.Index([]string{"left", "down", "right", "up"}, strings.ToLower(word)); a >= 0 {
			out = append(out, a)
			continue
		}
		for i := range len(word) {
			a := strings.IndexByte(moves, word[i])
			if a < 0 {
				return nil, fmt.Errorf("%q is no move; want letters L, D, R, U", word)
			}
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no moves")
	}
	if len(out) > maxMoves {
		return nil, fmt.Errorf("%d moves; at most %d count", len(out), maxMoves)
	}
	return out, nil
}
