package task

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/arith"
	"github.com/hone-lm/hone/internal/rng"
)

// CountdownStep is one operation: X Op Y = Result, values written as whole numbers or fractions; Left are the values after it. A step of
// kind Back has only Left, the values it goes back to.
type CountdownStep struct {
	Op           string   `json:"op,omitempty"`
	X, Y, Result string   `json:",omitempty"`
	Left         []string `json:"left"`
}

// slot is a value that is still to be used: a number of the question or a result. Its letter names it in plans.
type slot struct {
	letter byte
	value  *big.Rat
}

// Expert implements Task: see Countdown.best for which solution it takes. Wrong turns lead to a single wrong number; where possible they
// begin with an operation after which the target is out of reach.
func (c *countdown) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[Countdown](c, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	best := data.best()
	if best == nil {
		return nil, fmt.Errorf("problem %s: %s has no solution", p.ID, c.Question(p, Compact))
	}
	return c.trace(p, data, best)
}

func (c *countdown) trace(p *Problem, data *Countdown, solution *arith.Expr) (*Trace, error) {
	start := make([]slot, len(data.Numbers))
	for i, n := range data.Numbers {
		start[i] = slot{'a' + byte(i), new(big.Rat).SetInt64(int64(n))}
	}
	w := &walk{slots: start, next: 'a' + byte(len(start))}
	if _, err := w.do(solution); err != nil {
		return nil, fmt.Errorf("problem %s: %w", p.ID, err)
	}
	t := &Trace{Problem: p, Steps: w.steps, Answer: Words{solution.String(), solution.String()}}
	t.turns = func(at, limit int, key rng.Key) [][]Step { return wrongPaths(data, w.before[at], at, limit, key) }
	t.corrupt = func(key rng.Key) ([]Step, Words, error) { return c.corrupt(p, data, w, solution, key) }
	return t, nil
}

// walk does the operations of an expression in order.
type walk struct {
	slots  []slot
	taken  [maxCountdown]bool // numbers of the question that the expression has met
	next   byte               // letter of the next result
	steps  []Step
	before [][]slot      // the values before each step
	ops    []*arith.Expr // the operation of each step
}

func (w *walk) do(e *arith.Expr) (slot, error) {
	if e.Op == 0 {
		for i, s := range w.slots {
			if n := int(s.letter - 'a'); n < maxCountdown && !w.taken[n] && s.value.Cmp(e.Value) == 0 && n < int(w.next-'a') {
				w.taken[n] = true
				return w.slots[i], nil
			}
		}
		return slot{}, fmt.Errorf("the solution uses %s, which is not there", e)
	}
	x, err := w.do(e.X)
	if err != nil {
		return slot{}, err
	}
	y, err := w.do(e.Y)
	if err != nil {
		return slot{}, err
	}
	v, err := arith.Apply(e.Op, x.value, y.value)
	if err != nil {
		return slot{}, err
	}
	w.before = append(w.before, w.slots)
	w.ops = append(w.ops, e)
	out := slot{w.next, v}
	w.next++
	w.slots = replace(w.slots, x, y, out)
	w.steps = append(w.steps, opStep(e.Op, x, y, out, w.slots))
	return out, nil
}

// replace takes two values out and puts one in.
func replace(slots []slot, x, y, out slot) []slot {
	left := make([]slot, 0, len(slots))
	for _, s := range slots {
		if s.letter != x.letter && s.letter != y.letter {
			left = append(left, s)
		}
	}
	return append(left, out)
}

// operand writes a value so that it can stand beside an operator.
func operand(v *big.Rat) string {
	if s := v.RatString(); v.IsInt() && v.Sign() >= 0 {
		return s
	} else {
		return "(" + s + ")"
	}
}

func valuesOf(slots []slot) []string {
	out := make([]string, len(slots))
	for i, s := range slots {
		out[i] = operand(s.value)
	}
	return out
}

func opStep(op byte, x, y, out slot, left []slot) Step {
	d := &CountdownStep{string(op), operand(x.value), operand(y.value), operand(out.value), valuesOf(left)}
	plan := fmt.Sprintf("%c%c%c", x.letter, op, y.letter)
	natural := fmt.Sprintf("%s %s %s = %s", d.X, d.Op, d.Y, d.Result)
	if len(left) > 1 {
		natural += ", left: " + strings.Join(d.Left, ", ")
	}
	return Step{
		Kind: Compute,
		Text: Words{d.X + d.Op + d.Y + "=" + d.Result, natural},
		Plan: Words{plan, fmt.Sprintf("%c %c %c = %c", x.letter, op, y.letter, out.letter)},
		Data: d,
	}
}

// wrongPaths draws up to limit different ways from the given values to a single wrong one.
func wrongPaths(data *Countdown, slots []slot, at, limit int, key rng.Key) [][]Step {
	values := make([]int, len(slots))
	for i, s := range slots {
		if !s.value.IsInt() || s.value.Sign() <= 0 || !s.value.Num().IsInt64() {
			return nil
		}
		values[i] = int(s.value.Num().Int64())
	}
	d := &draw{key: key}
	seen := map[string]bool{}
	var dead, alive [][]Step
	for try := 0; try < 60+40*limit && len(dead) < limit; try++ {
		steps, hopeless := wrongPath(data, slots, values, at, d)
		if steps == nil {
			continue
		}
		var text strings.Builder
		for _, s := range steps {
			text.WriteString(s.Text.Compact + ";")
		}
		if seen[text.String()] {
			continue
		}
		seen[text.String()] = true
		if hopeless {
			dead = append(dead, steps)
		} else {
			alive = append(alive, steps)
		}
	}
	all := append(dead, alive...)
	return all[:min(limit, len(all))]
}

// wrongPath draws one way; nil when an operation has no positive whole result or the target comes out. hopeless tells that the target was
// out of reach after the first operation (with positive whole results; told for up to 4 values only, where it is quick).
func wrongPath(data *Countdown, slots []slot, values []int, at int, d *draw) (steps []Step, hopeless bool) {
	left, nums := slots, slices.Clone(values)
	for len(nums) > 1 {
		order := d.perm(len(nums))
		i, j := order[0], order[1]
		op := "+-*/"[d.intn(4)]
		v, ok := wholeResult(op, nums[i], nums[j])
		if !ok || v == data.Target && (data.Subset || len(nums) == 2) {
			return nil, false
		}
		x, y := left[i], left[j]
		out := slot{0, new(big.Rat).SetInt64(int64(v))}
		left = replace(left, x, y, out)
		nums = append(without(nums, min(i, j), max(i, j)), v)
		if len(steps) == 0 && len(nums) < 4 {
			hopeless = !reachable(nums, data)
		}
		left[len(left)-1].letter = '0' + byte(len(nums)) // any letter that no other value has
		step := opStep(op, x, y, out, left)
		step.Plan = Words{}
		steps = append(steps, step)
	}
	first := valuesOf(slots)
	steps = append(steps, Step{
		Kind: Back,
		Text: Words{"^" + strconv.Itoa(at), fmt.Sprintf("That is %d, not %d. Back to %s.", nums[0], data.Target, strings.Join(first, ", "))},
		Data: &CountdownStep{Left: first},
	})
	return steps, hopeless
}

// corrupt replaces the operator of one step and leaves its old result standing: a false equation on the way to an expression that misses
// the target.
func (c *countdown) corrupt(p *Problem, data *Countdown, w *walk, solution *arith.Expr, key rng.Key) ([]Step, Words, error) {
	d := &draw{key: key}
	for _, choice := range d.perm(4 * len(w.ops)) {
		at, op := choice/4, "+-*/"[choice%4]
		if op == w.ops[at].Op {
			continue
		}
		wrong := swapOp(solution, w.ops[at], op).String()
		if c.Check(p, wrong).Verdict != Wrong {
			continue
		}
		steps := slices.Clone(w.steps)
		s := *steps[at].Data.(*CountdownStep)
		old := s.Op
		s.Op = string(op)
		steps[at].Data, steps[at].Wrong = &s, true
		steps[at].Text = Words{s.X + s.Op + s.Y + "=" + s.Result, strings.Replace(steps[at].Text.Natural, s.X+" "+old+" ", s.X+" "+s.Op+" ", 1)}
		steps[at].Plan = Words{strings.Replace(steps[at].Plan.Compact, old, s.Op, 1), strings.Replace(steps[at].Plan.Natural, old, s.Op, 1)}
		return steps, Words{wrong, wrong}, nil
	}
	return nil, Words{}, fmt.Errorf("every other operator reaches the target too")
}

// swapOp copies a tree with another operator at one node.
func swapOp(e, node *arith.Expr, op byte) *arith.Expr {
	if e == nil {
		return nil
	}
	c := *e
	c.X, c.Y = swapOp(e.X, node, op), swapOp(e.Y, node, op)
	if e == node {
		c.Op = op
	}
	return &c
}
