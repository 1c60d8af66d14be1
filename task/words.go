package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"

	"github.com/hone-lm/hone/internal/arith"
	"github.com/hone-lm/hone/internal/rng"
)

// WordProblem is a question from a file with a number for an answer.
type WordProblem struct {
	Text     string `json:"text"`
	Solution string `json:"solution,omitempty"` // worked solution, gsm8k only; calculations in <<...>>
	Equation string `json:"equation,omitempty"`
	Answer   string `json:"answer"` // a decimal number, or a/b where the decimals have no end
}

func (w *WordProblem) canonical() (all, group string) {
	return strings.Join(strings.Fields(w.Text), " "), ""
}

func (w *WordProblem) valid() error {
	if strings.TrimSpace(w.Text) == "" {
		return errors.New("the question is empty")
	}
	if _, err := number(w.Answer); err != nil {
		return err
	}
	return nil
}

// number reads a reference answer: a decimal number, commas allowed, or a fraction.
func number(s string) (*big.Rat, error) {
	t := strings.ReplaceAll(strings.TrimSpace(s), ",", "")
	if len(t) > maxNumber || t == "" || strings.ContainsAny(t, "eExXpP_") {
		return nil, fmt.Errorf("answer %q is not a decimal number", s)
	}
	v, ok := new(big.Rat).SetString(t)
	if !ok {
		return nil, fmt.Errorf("answer %q is not a decimal number", s)
	}
	return v, nil
}

// fraction undoes what a file did to thirds and sixths: a number with 13 or more decimals (0.16666666666666666) becomes the fraction of the
// smallest denominator, up to 100, that is within 1e-12 of it.
func fraction(v *big.Rat) *big.Rat {
	const decimals, largest = 13, 100
	if digits, exact := v.FloatPrec(); !exact || digits < decimals {
		return v
	}
	for d := int64(1); d <= largest; d++ {
		n := floorRat(new(big.Rat).Add(new(big.Rat).Mul(v, big.NewRat(d, 1)), big.NewRat(1, 2)))
		near := new(big.Rat).SetFrac(n, big.NewInt(d))
		if diff := new(big.Rat).Sub(near, v); diff.Abs(diff).Cmp(big.NewRat(1, 1e12)) < 0 {
			return near
		}
	}
	return v
}

func floorRat(v *big.Rat) *big.Int { return new(big.Int).Div(v.Num(), v.Denom()) }

// sameNumber compares exactly; where the reference has endless decimals, an answer with at least two decimals may be it, rounded.
func sameNumber(want, got *big.Rat, text string) bool {
	if want.Cmp(got) == 0 {
		return true
	}
	if _, exact := want.FloatPrec(); exact {
		return false
	}
	_, decimals, _ := strings.Cut(text, ".")
	return len(decimals) >= 2 && want.FloatString(len(decimals)) == got.FloatString(len(decimals))
}

// decimal writes a number without needless zeros; a fraction that has no finite decimals as a/b.
func decimal(v *big.Rat) string {
	if digits, exact := v.FloatPrec(); exact {
		return v.FloatString(digits)
	}
	return v.RatString()
}

// wordTask is a file of word problems. Graders compare exact numbers, see sameNumber.
type wordTask struct {
	name string
	path string
	read func(path string, b []byte) ([]*WordProblem, error)
}

func init() {
	for _, w := range []struct {
		name, about string
		read        func(string, []byte) ([]*WordProblem, error)
	}{
		{"gsm8k", "grade-school word problems with worked solutions, JSONL as published (path=FILE)", readGSM8K},
		{"svamp", "one-step word problems, SVAMP.json as published (path=FILE)", readSVAMP},
		{"mawps", "word problems of MultiArith, AddSub, SingleEq: JSON arrays with sQuestion and lSolutions (path=FILE)", readMAWPS},
	} {
		register(w.name, entry{
			about: w.about,
			open: func(o *options) Task {
				path, ok := o.text("path")
				if !ok || path == "" {
					o.fail("option path is missing: the file to read, as in %s?path=FILE", w.name)
				}
				if o.level != 0 {
					o.fail("level %d: problems from files have no levels", o.level)
				}
				return &wordTask{w.name, path, w.read}
			},
			data: func() content { return &WordProblem{} },
		})
	}
}

// Name implements Task.
func (t *wordTask) Name() string { return t.name }

// Levels implements Task.
func (t *wordTask) Levels() (lo, hi int) { return 0, 0 }

// Problems implements Source.
func (t *wordTask) Problems(split Split) ([]*Problem, error) {
	b, err := os.ReadFile(t.path)
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", t.name, err)
	}
	rows, err := t.read(t.path, bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, err
	}
	var out []*Problem
	for i, row := range rows {
		if err := row.valid(); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", t.path, i+1, err)
		}
		v, _ := number(row.Answer)
		row.Answer = decimal(fraction(v))
		p := newProblem(t, 0, row, Natural, row.Answer)
		if split == All || SplitOf(p, DefaultSplits) == split {
			out = append(out, p)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no problems", t.path)
	}
	return out, nil
}

func readGSM8K(path string, b []byte) ([]*WordProblem, error) {
	var out []*WordProblem
	for i, line := range bytes.Split(b, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var row struct{ Question, Answer string }
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("%s:%d: %w; want a JSON object a line with question and answer", path, i+1, err)
		}
		solution, answer, found := strings.Cut(row.Answer, "####")
		if !found {
			return nil, fmt.Errorf("%s:%d: the answer has no \"#### \" with the final number", path, i+1)
		}
		out = append(out, &WordProblem{Text: row.Question, Solution: strings.TrimSpace(solution), Answer: strings.TrimSpace(answer)})
	}
	return out, nil
}

// readArray reads a JSON array whose numbers are kept as written.
func readArray(path string, b []byte, rows any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(rows); err != nil {
		return fmt.Errorf("%s: %w; want a JSON array of problems", path, err)
	}
	return nil
}

func readSVAMP(path string, b []byte) ([]*WordProblem, error) {
	var rows []struct {
		Body, Question, Equation string
		Answer                   json.Number
	}
	if err := readArray(path, b, &rows); err != nil {
		return nil, err
	}
	var out []*WordProblem
	for _, r := range rows {
		body := strings.TrimSpace(r.Body)
		if body != "" && !strings.ContainsAny(body[len(body)-1:], ".!?,;") {
			body += "."
		}
		out = append(out, &WordProblem{Text: strings.TrimSpace(body + " " + strings.TrimSpace(r.Question)), Equation: r.Equation, Answer: r.Answer.String()})
	}
	return out, nil
}

func readMAWPS(path string, b []byte) ([]*WordProblem, error) {
	var rows []struct {
		Question  string            `json:"sQuestion"`
		Equations []string          `json:"lEquations"`
		Solutions []json.RawMessage `json:"lSolutions"` // numbers, or numbers as text
	}
	if err := readArray(path, b, &rows); err != nil {
		return nil, err
	}
	var out []*WordProblem
	for i, r := range rows {
		if len(r.Solutions) != 1 {
			return nil, fmt.Errorf("%s: row %d: %d solutions; want one", path, i+1, len(r.Solutions))
		}
		w := &WordProblem{Text: strings.TrimSpace(r.Question), Answer: strings.Trim(string(r.Solutions[0]), `" `)}
		if len(r.Equations) == 1 {
			w.Equation = r.Equations[0]
		}
		out = append(out, w)
	}
	return out, nil
}

// Question implements Task: there is one wording.
func (t *wordTask) Question(p *Problem, _ Wording) string {
	if data, err := dataOf[WordProblem](t, p); err == nil {
		return data.Text
	}
	return p.Question
}

// Check implements Task: the number that the text ends in (see FinalNumber) against the reference.
func (t *wordTask) Check(p *Problem, answer string) Result {
	data, err := dataOf[WordProblem](t, p)
	if err != nil {
		return failed(err)
	}
	want, err := number(data.Answer)
	if err != nil {
		return failed(err)
	}
	value, text, ok := FinalNumber(answer)
	if !ok {
		return unparsed("", "no number")
	}
	return judged(sameNumber(want, value, text), text, "want "+data.Answer)
}

// Calculation is one piece of arithmetic in a worked solution, Expression = Result.
type Calculation struct{ Expression, Result string }

// Expert implements Task: the lines of the worked solution (Data: []Calculation, from its <<...>>), or the operations of the equation. There
// are no wrong turns; a corrupted trace ends in another number.
func (t *wordTask) Expert(p *Problem) (*Trace, error) {
	data, err := dataOf[WordProblem](t, p)
	if err != nil {
		return nil, err
	}
	if err := data.valid(); err != nil {
		return nil, err
	}
	tr := &Trace{Problem: p, Answer: Words{data.Answer, data.Answer}}
	switch {
	case data.Solution != "":
		for line := range strings.Lines(data.Solution) {
			if text, calculations := annotations(strings.TrimSpace(line)); text != "" {
				tr.Steps = append(tr.Steps, Step{Kind: Explain, Text: Words{text, text}, Data: calculations})
			}
		}
	case data.Equation != "":
		tr.Steps = equationSteps(data.Equation)
	}
	steps := tr.Steps
	tr.corrupt = func(key rng.Key) ([]Step, Words, error) { return data.corrupt(steps, key) }
	return tr, nil
}

// annotations takes gsm8k's <<48/2=24>> out of a line.
func annotations(line string) (text string, found []Calculation) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(line, "<<")
		inside, after, closed := strings.Cut(rest, ">>")
		if !ok || !closed {
			b.WriteString(line)
			return b.String(), found
		}
		b.WriteString(before)
		expression, result, _ := strings.Cut(inside, "=")
		found = append(found, Calculation{expression, result})
		line = after
	}
}

// equationSteps does the operations of "X=((32.0+42.0)-35.0)"; an equation of another form is told as it stands.
func equationSteps(equation string) []Step {
	text := strings.TrimSpace(equation)
	if left, right, ok := strings.Cut(text, "="); ok && strings.TrimSpace(left) == "X" {
		text = right
	}
	told := []Step{{Kind: Explain, Text: Words{equation, equation}}}
	e, err := arith.Parse(text)
	if err != nil || e.Op == 0 {
		return told
	}
	var steps []Step
	var do func(e *arith.Expr) (*big.Rat, error)
	do = func(e *arith.Expr) (*big.Rat, error) {
		if e.Op == 0 || e.Op == '~' {
			v, err := e.Eval()
			if err != nil {
				return nil, err
			}
			return fraction(v), nil
		}
		x, err1 := do(e.X)
		y, err2 := do(e.Y)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		v, err := arith.Apply(e.Op, x, y)
		if err != nil {
			return nil, err
		}
		op := string(e.Op)
		steps = append(steps, Step{
			Kind: Compute,
			Text: Words{decimal(x) + op + decimal(y) + "=" + decimal(v), decimal(x) + " " + op + " " + decimal(y) + " = " + decimal(v)},
			Data: []Calculation{{decimal(x) + op + decimal(y), decimal(v)}},
		})
		return v, nil
	}
	if _, err := do(e); err != nil {
		return told
	}
	return steps
}

// corrupt adds a slip to the final number, also where the last step tells it.
func (w *WordProblem) corrupt(right []Step, key rng.Key) ([]Step, Words, error) {
	v, err := number(w.Answer)
	if err != nil {
		return nil, Words{}, err
	}
	slip := new(big.Rat).SetInt64(int64(slips[key.Intn(0, len(slips))]))
	wrong := decimal(slip.Add(slip, v))
	steps := make([]Step, len(right))
	copy(steps, right)
	if n := len(steps); n > 0 {
		s := &steps[n-1]
		s.Wrong = true
		s.Text = Words{replaceLast(s.Text.Compact, w.Answer, wrong), replaceLast(s.Text.Natural, w.Answer, wrong)}
	}
	return steps, Words{wrong, wrong}, nil
}

// replaceLast replaces the last whole number of that spelling.
func replaceLast(text, old, with string) string {
	for end := len(text); ; {
		i := strings.LastIndex(text[:end], old)
		if i < 0 {
			return text
		}
		if (i == 0 || !isDigit(text[i-1])) && (i+len(old) == len(text) || !isDigit(text[i+len(old)])) {
			return text[:i] + with + text[i+len(old):]
		}
		end = i + len(old) - 1
	}
}
