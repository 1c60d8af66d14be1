package nano

import (
	"fmt"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/token"
)

// RowTokens is the length of a packed row of the corpus.
const RowTokens = 256

// Row returns row i of the corpus: lines of generated text, each ended by the end token, packed to RowTokens tokens. Row i is a function of
// the seed and of i alone. The text holds arithmetic statements, comparisons, worked sums, lists with their sums and templated English; no
// evaluation item, and no set of numbers that countdown holds out (see heldOut).
func Row(seed uint64, i int) *engine.Sequence {
	tok := token.Bytes()
	d := &draw{key: rng.New(seed, "corpus", uint64(i))}
	ids := []int32{tok.BOS()}
	for len(ids) < RowTokens {
		if d.intn(8) == 0 { // a question and its answer in the chat shape
			q, a := d.sum()
			ids = append(ids, tok.Encode("<|user|>"+q+"<|assistant|>"+a, token.EncodeOptions{Special: true})...)
		} else {
			ids = append(ids, tok.Encode(d.line(), token.EncodeOptions{})...)
		}
		ids = append(ids, tok.EOS())
	}
	ids = ids[:RowTokens]
	s := &engine.Sequence{ID: engine.ItemID{Problem: fmt.Sprintf("corpus %d", i)}, Tokens: ids, Kind: make([]engine.Kind, RowTokens)}
	for t := 1; t < RowTokens; t++ {
		s.Kind[t] = engine.KindDemo
	}
	return s
}

type draw struct {
	key rng.Key
	n   uint64
}

func (d *draw) intn(n int) int {
	d.n++
	return d.key.Intn(d.n-1, n)
}

// number is small more often than large.
func (d *draw) number() int {
	return 1 + d.intn([]int{10, 20, 20, 50, 100}[d.intn(5)])
}

func pick(d *draw, words ...string) string { return words[d.intn(len(words))] }

// line is one line of text.
func (d *draw) line() string {
	switch d.intn(16) {
	case 0, 1, 2, 3, 4:
		q, a := d.sum()
		return q + a
	case 5:
		return d.comparison()
	case 6, 7, 8, 9:
		return d.worked()
	case 10, 11:
		return d.steps()
	case 12:
		return d.chain()
	case 13:
		return d.list()
	}
	return d.sentence()
}

// sum is a statement of one operation: "7*8=" and "56".
func (d *draw) sum() (question, answer string) {
	a, b := d.number(), d.number()
	switch d.intn(4) {
	case 0:
		return fmt.Sprintf("%d+%d=", a, b), fmt.Sprint(a + b)
	case 1:
		a, b = max(a, b), min(a, b)
		return fmt.Sprintf("%d-%d=", a, b), fmt.Sprint(a - b)
	case 2:
		a, b = 1+d.intn(20), 1+d.intn(20)
		return fmt.Sprintf("%d*%d=", a, b), fmt.Sprint(a * b)
	}
	a, b = 1+d.intn(20), 1+d.intn(20)
	return fmt.Sprintf("%d/%d=", a*b, b), fmt.Sprint(a)
}

func (d *draw) comparison() string {
	a, b := d.number(), d.number()
	sign := "="
	if a < b {
		sign = "<"
	} else if a > b {
		sign = ">"
	}
	return fmt.Sprintf("%d%s%d", a, sign, b)
}

// worked is an expression of three numbers, brought down to its value: "(3+4)*5=7*5=35".
func (d *draw) worked() string {
	for {
		text, numbers := d.expression()
		if !heldOut(numbers[:]) {
			return text
		}
	}
}

func (d *draw) expression() (string, [3]int) {
	a, b, c := 1+d.intn(20), 1+d.intn(20), 1+d.intn(20)
	high, low := max(a, b), min(a, b)
	three := [3]int{a, b, c}
	switch d.intn(8) {
	case 0:
		return fmt.Sprintf("(%d+%d)*%d=%d*%d=%d", a, b, c, a+b, c, (a+b)*c), three
	case 1:
		return fmt.Sprintf("%d*%d+%d=%d+%d=%d", a, b, c, a*b, c, a*b+c), three
	case 2:
		return fmt.Sprintf("%d+%d+%d=%d+%d=%d", a, b, c, a+b, c, a+b+c), three
	case 3:
		return fmt.Sprintf("%d-%d+%d=%d+%d=%d", high, low, c, high-low, c, high-low+c), three
	case 4:
		return fmt.Sprintf("(%d-%d)*%d=%d*%d=%d", high, low, c, high-low, c, (high-low)*c), three
	case 5:
		c = min(c, a*b)
		return fmt.Sprintf("%d*%d-%d=%d-%d=%d", a, b, c, a*b, c, a*b-c), [3]int{a, b, c}
	case 6:
		return fmt.Sprintf("%d/%d+%d=%d+%d=%d", a*b, b, c, a, c, a+c), [3]int{a * b, b, c}
	}
	return fmt.Sprintf("%d*(%d+%d)=%d*%d=%d", a, b, c, a, b+c, a*(b+c)), three
}

// numbers returns n numbers that countdown does not hold out.
func (d *draw) numbers(n int) []int {
	list := make([]int, n)
	for {
		for i := range list {
			list[i] = d.number()
		}
		if !heldOut(list) {
			return list
		}
	}
}

// chain is a row of additions and subtractions worked from the left, never below 0: "12+7-5: 12+7=19. 19-5=14. 14".
func (d *draw) chain() string {
	list := d.numbers(3 + d.intn(3))
	value := list[0]
	question, work := fmt.Sprint(value), ""
	for _, n := range list[1:] {
		sign, next := "+", value+n
		if n <= value && d.intn(2) == 0 {
			sign, next = "-", value-n
		}
		question += fmt.Sprint(sign, n)
		work += fmt.Sprintf(" %d%s%d=%d.", value, sign, n, next)
		value = next
	}
	return fmt.Sprintf("%s:%s %d", question, work, value)
}

// list is a list of numbers with its sum and its largest member.
func (d *draw) list() string {
	list := d.numbers(3 + d.intn(3))
	words, sum, most := make([]string, len(list)), 0, 0
	for i, n := range list {
		words[i], sum, most = fmt.Sprint(n), sum+n, max(most, n)
	}
	return fmt.Sprintf("list %s: sum %d, most %d", strings.Join(words, ", "), sum, most)
}

// steps is an addition by digits, as at school.
func (d *draw) steps() string {
	a, b := 10+d.intn(90), 10+d.intn(90)
	ones := a%10 + b%10
	tens := a/10 + b/10
	return fmt.Sprintf("%d+%d: %d+%d=%d, %d+%d=%d, %d+%d=%d", a, b, a%10, b%10, ones, a/10*10, b/10*10, tens*10, tens*10, ones, tens*10+ones)
}

func (d *draw) sentence() string {
	who := pick(d, "Ann", "Ben", "Cara", "Dan", "Eva", "Finn")
	what := pick(d, "apples", "books", "coins", "cards", "shells")
	a, b := 1+d.intn(20), 1+d.intn(20)
	switch d.intn(4) {
	case 0:
		return fmt.Sprintf("%s has %d %s and finds %d more. Now %s has %d %s.", who, a, what, b, who, a+b, what)
	case 1:
		a, b = max(a, b), min(a, b)
		return fmt.Sprintf("%s has %d %s and gives away %d. %d %s are left.", who, a, what, b, a-b, what)
	case 2:
		return fmt.Sprintf("There are %d bags with %d %s each, so there are %d %s.", a, b, what, a*b, what)
	}
	return pick(d, "An old dog sleeps", "A red bird sings", "A small fish swims", "A grey cat waits") + pick(d, " in the garden.", " by the door.", " all day.")
}
