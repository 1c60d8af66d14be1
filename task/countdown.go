package task

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/arith"
	"github.com/hone-lm/hone/internal/rng"
)

// Countdown asks for an arithmetic expression over given numbers that equals a target. Each number is used at most once, and all of them
// unless Subset is set.
type Countdown struct {
	Numbers []int `json:"numbers"` // in the order of the question
	Target  int   `json:"target"`
	Subset  bool  `json:"subset,omitempty"`
}

// The split is decided by the multiset of numbers, whatever the target: no set of numbers is met in two splits.
func (c *Countdown) canonical() (all, group string) {
	sorted := slices.Sorted(slices.Values(c.Numbers))
	group = joinInts(sorted, " ")
	return fmt.Sprintf("%s = %d subset=%v", joinInts(c.Numbers, " "), c.Target, c.Subset), group
}

func (c *Countdown) valid() error {
	if len(c.Numbers) < 2 || len(c.Numbers) > maxCountdown {
		return fmt.Errorf("countdown with %d numbers; want 2 to %d", len(c.Numbers), maxCountdown)
	}
	if c.Target < 0 {
		return fmt.Errorf("countdown target %d is below 0", c.Target)
	}
	for _, n := range c.Numbers {
		if n < 1 || n > maxCountdownValue {
			return fmt.Errorf("countdown number %d is outside 1 to %d", n, maxCountdownValue)
		}
	}
	return nil
}

func joinInts(numbers []int, sep string) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, sep)
}

const (
	maxCountdown      = 6
	maxCountdownValue = 1000
)

type countdown struct {
	common
	min, max           int // of the numbers
	minTarget, maxGoal int
	subset             bool
	operators          string
}

func init() {
	register("countdown", entry{
		about: "reach a target with + - * / over 3 to 6 numbers (level = how many)",
		open:  func(o *options) Task { return openCountdown(o) },
		data:  func() content { return &Countdown{} },
	})
}

func openCountdown(o *options) *countdown {
	c := &countdown{}
	// numbers is the level under the name that a reader of a settings file expects.
	if n := o.int("numbers", 0, 3, maxCountdown); n != 0 {
		if o.level != 0 && o.level != n {
			o.fail("level %d and numbers %d say different things; keep one", o.level, n)
		}
		o.level = n
	}
	c.common = o.common(3, maxCountdown, 3, 3)
	c.min = o.int("min", 1, 1, maxCountdownValue)
	c.max = o.int("max", 20, 1, maxCountdownValue)
	c.minTarget = o.int("min_target", 1, 0, 1_000_000)
	c.maxGoal = o.int("max_target", 99, 0, 1_000_000)
	c.subset = o.choice("rule", "all", "subset") == "subset"
	c.operators = "+-*/"
	if s, ok := o.text("operators"); ok {
		c.operators = s
		if s == "" || strings.Trim(s, "+-*/") != "" {
			o.fail("operators is %q; want some of +-*/", s)
			c.operators = "+"
		}
	}
	if c.min > c.max || c.minTarget > c.maxGoal {
		o.fail("the ranges %d to %d of numbers and %d to %d of targets must not be empty", c.min, c.max, c.minTarget, c.maxGoal)
	}
	return c
}

// Generate implements Generator.
func (c *countdown) Generate(key rng.Key, level int) (*Problem, error) {
	p, err := c.draft(key, level)
	if err != nil {
		return nil, err
	}
	return p, c.finish(p)
}

// draft draws numbers uniformly and joins them by random operations that keep every intermediate result a positive whole number, until
// one of the ways gives a target in range: so each problem has at least one solution with such intermediates.
func (c *countdown) draft(key rng.Key, level int) (*Problem, error) {
	d := &draw{key: key}
	n, err := c.level(d, level)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, n)
	for range 2000 {
		for i := range numbers {
			numbers[i] = d.between(c.min, c.max)
		}
		for range 5 {
			if target, ok := c.combine(d, numbers); ok && target >= c.minTarget && target <= c.maxGoal {
				return newProblem(c, n, &Countdown{Numbers: numbers, Target: target, Subset: c.subset}, c.wording, ""), nil
			}
		}
	}
	return nil, fmt.Errorf("task countdown: no problem with %d numbers from %d to %d, operators %s and a target from %d to %d in 10000 draws; widen the ranges",
		n, c.min, c.max, c.operators, c.minTarget, c.maxGoal)
}

// combine joins all numbers by random operations; ok is false when a draw has no positive whole result.
func (c *countdown) combine(d *draw, numbers []int) (int, bool) {
	var buf [maxCountdown]int
	left := append(buf[:0], numbers...)
	for len(left) > 1 {
		i := d.intn(len(left))
		a := left[i]
		left = slices.Delete(left, i, i+1)
		j := d.intn(len(left))
		v, ok := wholeResult(c.operators[d.intn(len(c.operators))], a, left[j])
		if !ok {
			return 0, false
		}
		left[j] = v
	}
	return left[0], true
}

// wholeResult is a op b where that is a positive whole number of moderate size.
func wholeResult(op byte, a, b int) (int, bool) {
	const large = 1 << 40
	switch op {
	case '+':
		return a + b, a+b < large
	case '-':
		return a - b, a > b
	case '*':
		return a * b, a < large/b
	}
	return a / b, a%b == 0
}

// finish implements drafter: the expert's solution is the reference answer.
func (c *countdown) finish(p *Problem) error {
	data := p.Data.(*Countdown)
	best := data.best()
	if best == nil {
		return fmt.Errorf("task countdown: %s has no solution", c.Question(p, Compact))
	}
	p.Answer = best.String()
	return nil
}

// Question implements Task. The compact form is "3 7 12 = 48".
func (c *countdown) Question(p *Problem, w Wording) string {
	data, err := dataOf[Countdown](c, p)
	if err != nil {
		return p.Question
	}
	if w != Natural {
		return joinInts(data.Numbers, " ") + " = " + strconv.Itoa(data.Target)
	}
	use := "Use all of the numbers"
	if data.Subset {
		use = "Use some or all of the numbers"
	}
	return fmt.Sprintf("%s %s to write an arithmetic expression that equals %d. Each number may be used only once; the operations are +, -, * and /. Answer with the expression alone.",
		use, joinInts(data.Numbers, ", "), data.Target)
}

// Check implements Task. Terms: parsed, numbers (the right ones are used), value (it equals the target). "12*(7-3) = 48" is accepted as
// 12*(7-3) where the right side is the target.
func (c *countdown) Check(p *Problem, answer string) Result {
	data, err := dataOf[Countdown](c, p)
	if err != nil {
		return failed(err)
	}
	text := strings.TrimRight(oneLine(answer), ". ")
	if left, right, found := strings.Cut(text, "="); found {
		if strings.TrimSpace(right) != strconv.Itoa(data.Target) {
			return unparsed(text, "%q is not the target %d", strings.TrimSpace(right), data.Target)
		}
		text = strings.TrimSpace(left)
	}
	e, err := arith.Parse(text)
	if err != nil {
		return unparsed(text, "no expression: %v", err)
	}
	used, whole := e.Ints()
	numbers := whole && usesNumbers(used, data)
	value, err := e.Eval()
	terms := []Term{{"parsed", 1}, {"numbers", truth(numbers)}, {"value", 0}}
	if err != nil {
		return judged(false, text, err.Error(), terms...)
	}
	hit := value.IsInt() && value.Num().IsInt64() && value.Num().Int64() == int64(data.Target)
	terms[2].Value = truth(hit)
	detail := fmt.Sprintf("= %s", value.RatString())
	if !numbers {
		detail += fmt.Sprintf(", with %v where the numbers are %v", used, data.Numbers)
	}
	return judged(hit && numbers, text, detail, terms...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// usesNumbers compares multisets.
func usesNumbers(used []int64, data *Countdown) bool {
	if len(used) > len(data.Numbers) || !data.Subset && len(used) != len(data.Numbers) {
		return false
	}
	left := slices.Clone(data.Numbers)
	for _, u := range used {
		i := slices.Index(left, int(u))
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}
