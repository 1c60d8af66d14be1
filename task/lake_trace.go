package task

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/hone-lm/hone/internal/rng"
)

// LakeStep is a move and the cell it leads to, rows and columns from 1; on slippery ice, where that is not known, Row and Col are 0.
type LakeStep struct {
	Move     string
	Row, Col int
	On       string // S, F, H or G
}

var directions = [...]string{"left", "down", "right", "up"}

func (l *Lake) stepTo(action, cell int) Step {
	n := len(l.Map)
	d := &LakeStep{moves[action : action+1], cell/n + 1, cell%n + 1, string(l.at(cell))}
	text := fmt.Sprintf("Go %s to row %d, column %d", directions[action], d.Row, d.Col)
	switch d.On {
	case "H":
		text += ", a hole"
	case "G":
		text += ", the goal"
	}
	return Step{
		Kind: Move,
		Text: Words{fmt.Sprintf("%s%d%d%s", d.Move, d.Row, d.Col, d.On), text + "."},
		Plan: Words{d.Move, "Go " + directions[action] + "."},
		Data: d,
	}
}

// Expert implements Task: a shortest way. A wrong turn walks into a hole, into the edge, or to a cell that is not nearer to the goal, and
// comes back. On slippery ice the steps are the moves of the reference answer and there are no wrong turns to take.
func (l *lake) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[Lake](l, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	way := data.reference()
	t := &Trace{Problem: p, Answer: l.answer(way)}
	cell, cells := 0, []int{0}
	for _, a := range way {
		if data.Slippery {
			move := moves[a : a+1]
			t.Steps = append(t.Steps, Step{Kind: Move, Text: Words{move, "Try to go " + directions[a] + "."}, Data: &LakeStep{Move: move}})
			continue
		}
		cell = data.move(cell, a)
		cells = append(cells, cell)
		t.Steps = append(t.Steps, data.stepTo(a, cell))
	}
	if !data.Slippery {
		dist := data.distances()
		t.turns = func(at, limit int, key rng.Key) [][]Step { return data.wrongMoves(cells[at], dist, at, limit, key) }
	}
	steps := t.Steps
	t.corrupt = func(key rng.Key) ([]Step, Words, error) { return l.corrupt(p, data, way, steps, key) }
	return t, nil
}

func (l *Lake) wrongMoves(cell int, dist []int, at, limit int, key rng.Key) [][]Step {
	n := len(l.Map)
	good := l.onward(cell, dist)
	var out [][]Step
	for _, a := range key.Perm(4) {
		if slices.Contains(good, a) || len(out) == limit {
			continue
		}
		to := l.move(cell, a)
		first := l.stepTo(a, to)
		first.Plan = Words{}
		why := "That is not nearer."
		switch {
		case to == cell:
			why = "That is the edge."
		case l.at(to) == 'H':
			why = "That is a hole."
		}
		back := Step{
			Kind: Back,
			Text: Words{"^" + strconv.Itoa(at), fmt.Sprintf("%s Back to row %d, column %d.", why, cell/n+1, cell%n+1)},
			Data: &LakeStep{Row: cell/n + 1, Col: cell%n + 1, On: string(l.at(cell))},
		}
		out = append(out, []Step{first, back})
	}
	return out
}

// corrupt replaces one move and tells the same places as if it led there.
func (l *lake) corrupt(p *Problem, data *Lake, way []int, right []Step, key rng.Key) ([]Step, Words, error) {
	for _, choice := range key.Perm(4 * len(way)) {
		at, a := choice/4, choice%4
		wrong := slices.Clone(way)
		if wrong[at] = a; a == way[at] || l.Check(p, spell(wrong)).Verdict != Wrong {
			continue
		}
		steps := slices.Clone(right)
		d := *steps[at].Data.(*LakeStep)
		if data.Slippery {
			d.Move = moves[a : a+1]
			steps[at] = Step{Kind: Move, Text: Words{d.Move, "Try to go " + directions[a] + "."}, Data: &d}
		} else {
			steps[at] = data.stepTo(a, (d.Row-1)*len(data.Map)+d.Col-1)
		}
		steps[at].Wrong = true
		return steps, l.answer(wrong), nil
	}
	return nil, Words{}, fmt.Errorf("every other single move arrives too")
}
