package task

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// ChainSum asks for the value of a chain of additions and subtractions, as reasoning-gym's chain_sum does.
type ChainSum struct {
	Terms []int  `json:"terms"`
	Ops   string `json:"ops"` // one + or - between each two terms
}

func (c *ChainSum) canonical() (all, group string) { return c.text(""), "" }

func (c *ChainSum) valid() error {
	if len(c.Terms) < 2 || len(c.Ops) != len(c.Terms)-1 || strings.Trim(c.Ops, "+-") != "" {
		return fmt.Errorf("chain_sum with %d terms and operators %q", len(c.Terms), c.Ops)
	}
	for _, n := range c.Terms {
		if n < 0 || n > 1e12 {
			return fmt.Errorf("chain_sum term %d is outside 0 to 1e12", n)
		}
	}
	return nil
}

// text writes the chain with a space, or nothing, around operators.
func (c *ChainSum) text(space string) string {
	var b strings.Builder
	for i, n := range c.Terms {
		if i > 0 {
			b.WriteString(space + c.Ops[i-1:i] + space)
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// partial returns the sums of the first 1, 2 ... terms.
func (c *ChainSum) partial() []int {
	out := []int{c.Terms[0]}
	for i, n := range c.Terms[1:] {
		out = append(out, addOp(c.Ops[i], out[i], n))
	}
	return out
}

func addOp(op byte, a, b int) int {
	if op == '-' {
		return a - b
	}
	return a + b
}

type chainSum struct {
	common
	fromDigits, toDigits int
}

func init() {
	register("chain_sum", entry{
		about: "add and subtract 2 to 6 numbers of 1 to 4 digits (level = how many terms)",
		open: func(o *options) Task {
			c := &chainSum{common: o.common(2, 6, 2, 6)}
			c.fromDigits, c.toDigits = o.span("digits", 1, 2, 1, 4)
			return c
		},
		data: func() content { return &ChainSum{} },
	})
}

// Generate implements Generator: one number of digits for all terms, as in reasoning-gym, no leading zeros, one-digit terms from 0.
func (c *chainSum) Generate(key rng.Key, level int) (*Problem, error) {
	d := &draw{key: key}
	n, err := c.level(d, level)
	if err != nil {
		return nil, err
	}
	lo, hi := 0, 9
	for range d.between(c.fromDigits, c.toDigits) - 1 {
		lo, hi = max(lo, 1)*10, hi*10+9
	}
	data := &ChainSum{}
	for i := range n {
		data.Terms = append(data.Terms, d.between(lo, hi))
		if i > 0 {
			data.Ops += "+-"[d.intn(2):][:1]
		}
	}
	sums := data.partial()
	return newProblem(c, n, data, c.wording, strconv.Itoa(sums[len(sums)-1])), nil
}

// Question implements Task. The compact form is "12+35-7=".
func (c *chainSum) Question(p *Problem, w Wording) string {
	data, err := dataOf[ChainSum](c, p)
	switch {
	case err != nil:
		return p.Question
	case w == Natural:
		return "State the final answer to the following arithmetic problem: " + data.text(" ") + " ="
	}
	return data.text("") + "="
}

// Check implements Task: the number that the text ends in.
func (c *chainSum) Check(p *Problem, answer string) Result {
	data, err := dataOf[ChainSum](c, p)
	if err != nil {
		return failed(err)
	}
	value, text, ok := FinalNumber(answer)
	if !ok {
		return unparsed("", "no number")
	}
	sums := data.partial()
	want := sums[len(sums)-1]
	right := value.IsInt() && value.Num().IsInt64() && value.Num().Int64() == int64(want)
	return judged(right, text, fmt.Sprintf("want %d", want))
}

// ChainStep is one addition or subtraction, X Op Y = Result. The result of a wrong turn or a corrupted step is false.
type ChainStep struct {
	Op           string
	X, Y, Result int
}

func chainStep(op byte, x, y, result int, plan Words) Step {
	d := &ChainStep{string(op), x, y, result}
	left := strconv.Itoa(x)
	if x < 0 {
		left = "(" + left + ")"
	}
	return Step{
		Kind: Compute,
		Text: Words{fmt.Sprintf("%d%c%d=%d", x, op, y, result), fmt.Sprintf("%s %c %d = %d", left, op, y, result)},
		Plan: plan,
		Data: d,
	}
}

// Expert implements Task: the partial sums from the left. A wrong turn is a false partial sum that a check by the inverse operation finds.
func (c *chainSum) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[ChainSum](c, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	sums := data.partial()
	t := &Trace{Problem: p}
	for i, y := range data.Terms[1:] {
		letter := "a"
		if i > 0 {
			letter = "s" + strconv.Itoa(i)
		}
		term := string(rune('b' + i))
		plan := Words{letter + data.Ops[i:i+1] + term, fmt.Sprintf("s%d = %s %c %s", i+1, letter, data.Ops[i], term)}
		if i >= 24 {
			plan = Words{}
		}
		t.Steps = append(t.Steps, chainStep(data.Ops[i], sums[i], y, sums[i+1], plan))
		back := inverse(data.Ops[i])
		check := chainStep(back, sums[i+1], y, sums[i], Words{})
		check.Kind = Verify
		check.Text.Natural = "Check: " + check.Text.Natural
		t.checks = append(t.checks, check)
	}
	final := strconv.Itoa(sums[len(sums)-1])
	t.Answer = Words{final, final}
	t.turns = func(at, limit int, key rng.Key) [][]Step { return data.wrongSums(sums, at, limit, key) }
	t.corrupt = func(key rng.Key) ([]Step, Words, error) { return data.corrupt(t, key) }
	return t, nil
}

func inverse(op byte) byte {
	if op == '+' {
		return '-'
	}
	return '+'
}

// slips are the mistakes that people make in a sum: a unit, a carry, a digit.
var slips = []int{1, -1, 10, -10, 2, -2, 9, -9, 3, -3, 5, -5, 4, -4, 20, -20, 100, -100}

func (c *ChainSum) wrongSums(sums []int, at, limit int, key rng.Key) [][]Step {
	op, x, y := c.Ops[at], sums[at], c.Terms[at+1]
	var out [][]Step
	for _, i := range key.Perm(len(slips)) {
		if len(out) == limit {
			break
		}
		wrong := sums[at+1] + slips[i]
		first := chainStep(op, x, y, wrong, Words{})
		first.Wrong = true
		check := chainStep(inverse(op), wrong, y, addOp(inverse(op), wrong, y), Words{})
		check.Kind = Contradiction
		check.Text.Natural = fmt.Sprintf("Check: %s, not %d: contradiction.", check.Text.Natural, x)
		back := Step{Kind: Back, Text: Words{"^" + strconv.Itoa(at), fmt.Sprintf("Back to %d %c %d.", x, op, y)}, Data: &ChainStep{Op: string(op), X: x, Y: y}}
		out = append(out, []Step{first, check, back})
	}
	return out
}

// corrupt gives one partial sum a slip and carries it on.
func (c *ChainSum) corrupt(t *Trace, key rng.Key) ([]Step, Words, error) {
	at := key.Intn(0, len(c.Ops))
	slip := slips[key.Intn(1, len(slips))]
	steps := make([]Step, len(t.Steps))
	sum := c.Terms[0]
	for i, y := range c.Terms[1:] {
		next := addOp(c.Ops[i], sum, y)
		if i == at {
			next += slip
		}
		steps[i] = chainStep(c.Ops[i], sum, y, next, t.Steps[i].Plan)
		steps[i].Wrong = i >= at
		sum = next
	}
	final := strconv.Itoa(sum)
	return steps, Words{final, final}, nil
}
