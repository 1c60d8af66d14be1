package task

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/arith"
)

// A countdown expression in normal form is a number, a sum of signed terms that are no sums or a product of factors and divisors that are no
// products. So a+b+c, c+(b+a) and a-(0-b-c) are one expression, and a-b*(c-d) is a+b*(d-c): signs of differences move outwards, and each
// form stands for itself and, if it holds a difference, its negative. Over 1 to 6 different numbers that makes 1, 6, 68, 1170, 27142 and
// 793002 expressions (OEIS A140606).
//
// The solver builds them by subset of the numbers, as linked lists of terms: head, then the rest. Values are floats; what comes within a
// millionth of the target is checked exactly.
type solver struct {
	numbers []int
	lists   [1 << maxCountdown][2][]cell // by subset; [0] sums, [1] products
	nodes   [1 << maxCountdown][2][]ref  // complete expressions; [0] no sums (numbers, products), [1] no products (numbers, sums)
}

// cell is one term with the list behind it.
type cell struct {
	v        float64 // of the list from here on
	head     ref
	tail     int32 // cell in the lists of tailMask, -1 at the end
	tailMask uint8
	inverse  bool // subtracted, or divided by
	upright  bool // of products: there is a factor that is no divisor
	flip     bool // the list holds a difference, so its negative can be written too
}

// ref names an expression: the list cell i of kind k over mask, or the number i when atom.
type ref struct {
	v    float64
	i    int32
	mask uint8
	kind uint8 // 0 sum, 1 product, 2 number
	flip bool
}

// complete reports whether a list is an expression: a sum begins with a term that is added, a product has a factor.
func (c *cell) complete(kind uint8) bool { return kind == 0 && !c.inverse || kind == 1 && c.upright }

// newSolver builds the expressions over every subset but, unless all is set, the full one.
func newSolver(numbers []int) *solver {
	s := &solver{numbers: numbers}
	for mask := 1; mask < 1<<len(numbers)-1; mask++ {
		s.build(uint8(mask))
	}
	return s
}

func (s *solver) build(mask uint8) {
	if bits.OnesCount8(mask) == 1 {
		i := bits.TrailingZeros8(mask)
		atom := ref{v: float64(s.numbers[i]), i: int32(i), mask: mask, kind: 2}
		for kind := range uint8(2) {
			s.nodes[mask][kind] = []ref{atom}
		}
	} else {
		for kind := range uint8(2) {
			s.each(mask, kind, func(c cell) {
				s.lists[mask][kind] = append(s.lists[mask][kind], c)
				if c.complete(kind) {
					s.nodes[mask][1-kind] = append(s.nodes[mask][1-kind], ref{c.v, int32(len(s.lists[mask][kind]) - 1), mask, kind, c.flip})
				}
			})
		}
	}
	// Lists of one term, as tails of longer ones.
	for kind := range uint8(2) {
		for _, n := range s.nodes[mask][kind] {
			for _, inverse := range []bool{false, true} {
				if v, ok := signed(kind, n.v, inverse); ok {
					s.lists[mask][kind] = append(s.lists[mask][kind], cell{v, n, -1, 0, inverse, !inverse, n.flip || kind == 0 && inverse})
				}
			}
		}
	}
}

const zero = 1e-12 // smaller values only arise from rounding of an exact 0

func signed(kind uint8, v float64, inverse bool) (float64, bool) {
	switch {
	case !inverse:
		return v, true
	case kind == 0:
		return -v, true
	}
	return 1 / v, math.Abs(v) > zero
}

// each visits the lists of two or more terms over mask.
func (s *solver) each(mask, kind uint8, visit func(cell)) {
	lowest := mask & -mask
	rest := mask ^ lowest
	for part := (rest - 1) & rest; ; part = (part - 1) & rest { // proper parts of the rest go with the lowest number into the head
		head, tail := part|lowest, rest^part
		for _, n := range s.nodes[head][kind] {
			for _, inverse := range []bool{false, true} {
				v, ok := signed(kind, n.v, inverse)
				if !ok {
					continue
				}
				for i := range s.lists[tail][kind] {
					t := &s.lists[tail][kind][i]
					c := cell{v + t.v, n, int32(i), tail, inverse, !inverse || t.upright, n.flip || t.flip || kind == 0 && inverse}
					if kind == 1 {
						c.v = v * t.v
					}
					visit(c)
				}
			}
		}
		if part == 0 {
			return
		}
	}
}

// eachFull visits the complete expressions over all numbers, or over any subset.
func (s *solver) eachFull(subset bool, visit func(r ref, c *cell)) {
	full := uint8(1)<<len(s.numbers) - 1
	if subset {
		for mask := uint8(1); mask < full; mask++ {
			for kind := range s.nodes[mask] {
				for _, n := range s.nodes[mask][kind] {
					if kind == 0 || n.kind != 2 { // a number is in both lists
						visit(n, nil)
					}
				}
			}
		}
	}
	for kind := range uint8(2) {
		s.each(full, kind, func(c cell) {
			if c.complete(kind) {
				visit(ref{v: c.v, mask: full, kind: kind, flip: c.flip}, &c)
			}
		})
	}
}

// expr is an expression as a tree of many-armed sums and products, for writing. It is the form or its negative, whichever is not below 0:
// what holds no difference is positive anyway.
type expr struct {
	kind       uint8
	number     int
	value      *big.Rat
	plus, less []*expr // terms and subtracted ones, or factors and divisors
	text       string
}

// tree builds the exact expression of a ref; negated tells that it is the negative of the form. nil when something is divided by zero.
func (s *solver) tree(r ref, c *cell) (e *expr, negated bool) {
	if r.kind == 2 {
		n := s.numbers[r.i]
		return &expr{kind: 2, number: n, value: new(big.Rat).SetInt64(int64(n)), text: joinInts([]int{n}, "")}, false
	}
	if c == nil {
		c = &s.lists[r.mask][r.kind][r.i]
	}
	e = &expr{kind: r.kind}
	total := new(big.Rat)
	for {
		h, minus := s.tree(c.head, nil)
		if h == nil {
			return nil, false
		}
		inverse := c.inverse
		if r.kind == 1 {
			negated = negated != minus
		} else if inverse = inverse != minus; inverse {
			total.Sub(total, h.value)
		} else {
			total.Add(total, h.value)
		}
		if inverse {
			e.less = append(e.less, h)
		} else {
			e.plus = append(e.plus, h)
		}
		if c.tail < 0 {
			break
		}
		c = &s.lists[c.tailMask][r.kind][c.tail]
	}
	if total.Sign() < 0 || len(e.plus) == 0 {
		e.plus, e.less, negated = e.less, e.plus, true
	}
	return e.finish(), negated
}

// finish sorts the terms by falling value and works out value and text.
func (e *expr) finish() *expr {
	order := func(a, b *expr) int { return cmp.Or(b.value.Cmp(a.value), cmp.Compare(a.text, b.text)) }
	slices.SortFunc(e.plus, order)
	slices.SortFunc(e.less, order)
	ops := [][2]byte{{'+', '-'}, {'*', '/'}}[e.kind]
	e.value = e.plus[0].value
	var b strings.Builder
	for i, list := range [][]*expr{e.plus, e.less} {
		for j, t := range list {
			if i+j > 0 {
				v, err := arith.Apply(ops[i], e.value, t.value)
				if err != nil {
					return nil
				}
				e.value = v
				b.WriteByte(ops[i])
			}
			if t.kind == 0 && (e.kind == 1 || i == 1) {
				b.WriteString("(" + t.text + ")")
			} else {
				b.WriteString(t.text)
			}
		}
	}
	e.text = b.String()
	return e
}

// whole reports whether every intermediate result is a positive whole number.
func (e *expr) whole() bool {
	if e.kind == 2 {
		return true
	}
	v := e.plus[0].value
	for i, list := range [][]*expr{e.plus, e.less} {
		for j, t := range list {
			if !t.whole() {
				return false
			}
			if i+j > 0 {
				v, _ = arith.Apply([][2]byte{{'+', '-'}, {'*', '/'}}[e.kind][i], v, t.value)
			}
			if !v.IsInt() || v.Sign() <= 0 {
				return false
			}
		}
	}
	return true
}

// binary turns the expression into operations on two operands, from the left.
func (e *expr) binary() *arith.Expr {
	if e.kind == 2 {
		return arith.Number(int64(e.number))
	}
	out := e.plus[0].binary()
	for i, list := range [][]*expr{e.plus[1:], e.less} {
		for _, t := range list {
			out = &arith.Expr{Op: [][2]byte{{'+', '-'}, {'*', '/'}}[e.kind][i], X: out, Y: t.binary()}
		}
	}
	return out
}

// solve returns the solutions, best first: those whose intermediate results are positive whole numbers, then by length, then by text.
func solve(data *Countdown) []*expr {
	s := newSolver(data.Numbers)
	target, exact := float64(data.Target), new(big.Rat).SetInt64(int64(data.Target))
	near := 1e-6 * max(1, math.Abs(target))
	var out []*expr
	s.eachFull(data.Subset, func(r ref, c *cell) {
		if math.Abs(math.Abs(r.v)-target) > near {
			return
		}
		if e, _ := s.tree(r, c); e != nil && e.value.Cmp(exact) == 0 {
			out = append(out, e)
		}
	})
	slices.SortFunc(out, func(a, b *expr) int {
		if w := cmp.Compare(truth(b.whole()), truth(a.whole())); w != 0 {
			return w
		}
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), cmp.Compare(a.text, b.text))
	})
	return slices.CompactFunc(out, func(a, b *expr) bool { return a.text == b.text }) // equal numbers change places
}

// Solutions returns every solution in normal form, written with few parentheses, the expert's first where there are at most 4 numbers. The
// list for six numbers takes a good part of a second.
func (c *Countdown) Solutions() ([]string, error) {
	if err := c.valid(); err != nil {
		return nil, err
	}
	found := solve(c)
	out := make([]string, len(found))
	for i, e := range found {
		out[i] = e.text
	}
	return out, nil
}

// best is the expert's solution: the first of all solutions for up to 4 numbers; for more, the first that a search over positive whole
// intermediate results meets, or of all solutions when there is none. nil when the target cannot be reached.
func (c *Countdown) best() *arith.Expr {
	if len(c.Numbers) > 4 {
		items := make([]*arith.Expr, len(c.Numbers))
		values := slices.Sorted(slices.Values(c.Numbers))
		slices.Reverse(values)
		for i, n := range values {
			items[i] = arith.Number(int64(n))
		}
		if e, found := firstFound(values, items, c); found {
			return e
		}
	}
	if all := solve(c); len(all) > 0 {
		return all[0].binary()
	}
	return nil
}

// firstFound joins two of the values by each operation in turn and goes on with what is left. values and items run in parallel.
func firstFound(values []int, items []*arith.Expr, c *Countdown) (*arith.Expr, bool) {
	for i, v := range values {
		if v == c.Target && (c.Subset || len(values) == 1) {
			return items[i], true
		}
	}
	for i := range values {
		for j := i + 1; j < len(values); j++ {
			a, b := i, j
			if values[a] < values[b] {
				a, b = b, a
			}
			for _, op := range []byte("*+-/") {
				v, ok := wholeResult(op, values[a], values[b])
				if !ok || op == '/' && values[b] == 1 {
					continue // x/1 is x*1
				}
				restV, restE := without(values, i, j), without(items, i, j)
				joined := &arith.Expr{Op: op, X: items[a], Y: items[b]}
				if e, found := firstFound(append(restV, v), append(restE, joined), c); found {
					return e, true
				}
			}
		}
	}
	return nil, false
}

// without copies a slice less two of its elements, i before j.
func without[T any](s []T, i, j int) []T {
	out := make([]T, 0, len(s)-1)
	out = append(append(append(out, s[:i]...), s[i+1:j]...), s[j+1:]...)
	return out
}

// reachable reports whether the values lead to the target through positive whole results.
func reachable(values []int, c *Countdown) bool {
	_, found := firstFound(values, make([]*arith.Expr, len(values)), c)
	return found
}
