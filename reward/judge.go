package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/task"
)

// Case is one answer that a judge is asked about.
type Case struct {
	Problem   *task.Problem // may be nil
	Prompt    string        // what was asked; "" = the problem's question
	Reference string        // a right answer for the judge to compare with; "" = none
	Answer    string
	Fragment  bool   // the answer may go on: what is not written yet is not wrong
	Ask       uint64 // which asking this is, for judges that are asked more than once about one answer
}

// prompt is what was asked.
func (c *Case) prompt() string {
	if c.Prompt == "" && c.Problem != nil {
		return c.Problem.Question
	}
	return c.Prompt
}

// Opinion is what a judge says of one case.
type Opinion struct {
	Score   float64
	Verdict task.Verdict // correct, wrong; timeout or error where the judge gave no grade, which says nothing about the answer
	Option  string       // the grade that was given
	Probs   []float64    // [option] probabilities, for judges that know them
	Detail  string
}

// Judge gives one opinion for each case, in their order. Trouble with single cases is in their opinions; an error means that judging had to
// end (the context was cancelled, or the judge cannot work as it is set up).
type Judge interface {
	Name() string
	Judge(ctx context.Context, cases []Case) ([]Opinion, error)
}

// Option is one grade that a judge may give.
type Option struct {
	Name    string  // what the judge writes: "A", "yes"
	Value   float64 // the score
	Correct bool    // the verdict
	Meaning string  // told to the judge
}

// Scale are the grades of a judge.
type Scale []Option

// YesNo scores 1 for a right answer and 0 for a wrong one.
var YesNo = Scale{{"yes", 1, true, "the answer is right"}, {"no", 0, false, "the answer is wrong"}}

// Check refuses scales that cannot be told apart.
func (s Scale) Check() error {
	if len(s) < 2 {
		return fmt.Errorf("a judge's scale has %d options; give at least 2", len(s))
	}
	for i, o := range s {
		if o.Name == "" || strings.ContainsFunc(o.Name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return fmt.Errorf("option %q of a judge's scale: a name is one word of letters and digits", o.Name)
		}
		if math.IsNaN(o.Value) || math.IsInf(o.Value, 0) {
			return fmt.Errorf("option %s of a judge's scale is worth %g: give a finite number", o.Name, o.Value)
		}
		if slices.ContainsFunc(s[:i], func(other Option) bool { return strings.EqualFold(other.Name, o.Name) }) {
			return fmt.Errorf("option %q of a judge's scale is given twice", o.Name)
		}
	}
	return nil
}

// Read finds the grade in a judge's reply: a word after the last "grade", "verdict" or "[[", else the only option that the reply names. Thoughts
// before </think> are passed over. One letter is compared with case, since "a" is a word.
func (s Scale) Read(reply string) (option int, ok bool) {
	if i := strings.LastIndex(reply, "</think>"); i >= 0 {
		reply = reply[i+len("</think>"):]
	}
	lower := strings.ToLower(reply)
	for _, mark := range []string{"grade", "verdict", "[["} {
		if i := strings.LastIndex(lower, mark); i >= 0 && len(lower) == len(reply) {
			for n, word := range words(reply[i+len(mark):]) {
				if k := s.index(word); k >= 0 && n < 3 { // "grade: A", "grade is A"
					return k, true
				}
			}
		}
	}
	found := -1
	for _, word := range words(reply) {
		if k := s.index(word); k >= 0 && k != found {
			if found >= 0 {
				return 0, false
			}
			found = k
		}
	}
	return max(found, 0), found >= 0
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func (s Scale) index(word string) int {
	return slices.IndexFunc(s, func(o Option) bool {
		return o.Name == word || len(o.Name) > 1 && strings.EqualFold(o.Name, word)
	})
}

// opinion is the judgement of one option.
func (s Scale) opinion(option int, detail string) Opinion {
	o := Opinion{Score: s[option].Value, Verdict: task.Wrong, Option: s[option].Name, Detail: detail}
	if s[option].Correct {
		o.Verdict = task.Correct
	}
	return o
}

// Weigh is the opinion of probabilities over the options: the score is their mean value, the verdict that of the most probable.
func (s Scale) Weigh(probs []float64) Opinion {
	best, mean := 0, 0.0
	for i, p := range probs {
		mean += p * s[i].Value
		if p > probs[best] {
			best = i
		}
	}
	o := s.opinion(best, "")
	o.Score, o.Probs = mean, probs
	return o
}

// trouble is the opinion of a judge that gave no grade.
func trouble(err error) Opinion {
	o := Opinion{Verdict: task.Error, Detail: err.Error()}
	if errors.Is(err, context.DeadlineExceeded) {
		o.Verdict = task.Timeout
	}
	return o
}

// Question writes what a judge that reads text is asked.
func (s Scale) Question(c *Case) string {
	var b strings.Builder
	b.WriteString("Judge the answer to a question.\n\nQuestion:\n" + c.prompt() + "\n\n")
	if c.Reference != "" {
		b.WriteString("A right answer:\n" + c.Reference + "\n\n")
	}
	b.WriteString("Answer to judge:\n" + c.Answer + "\n\nReply with one of these words and nothing else:\n")
	for _, o := range s {
		b.WriteString(o.Name + ": " + o.Meaning + "\n")
	}
	return b.String()
}

// Oracle knows the truth and errs at a given rate: a judge for experiments about judges.
type Oracle struct {
	Scale     Scale
	Truth     func(c *Case) (option int, err error)
	ErrorRate float64    // share of cases where another option is given, drawn evenly from the others
	Key       engine.Key // seeds the errors
}

// CheckTruth is the truth of a task's own check, on the scale YesNo.
func CheckTruth(t task.Task) func(*Case) (int, error) {
	return func(c *Case) (int, error) {
		r := t.Check(c.Problem, c.Answer)
		switch r.Verdict {
		case task.Correct:
			return 0, nil
		case task.Wrong, task.Unparsed:
			return 1, nil
		case task.Timeout:
			return 0, fmt.Errorf("%s: %w", r.Detail, context.DeadlineExceeded)
		}
		return 0, errors.New(r.Detail)
	}
}

// Name implements Judge.
func (o *Oracle) Name() string { return fmt.Sprintf("oracle, %g wrong", o.ErrorRate) }

// Judge implements Judge. Whether it errs is a function of Key and the case's problem, texts and Ask alone, never of the order of cases.
func (o *Oracle) Judge(ctx context.Context, cases []Case) ([]Opinion, error) {
	if err := o.Scale.Check(); err != nil {
		return nil, err
	}
	if !(o.ErrorRate >= 0 && o.ErrorRate <= 1) {
		return nil, fmt.Errorf("an oracle with error rate %g: give a share from 0 to 1", o.ErrorRate)
	}
	out := make([]Opinion, len(cases))
	for i := range cases {
		c := &cases[i]
		option, err := o.Truth(c)
		if err == nil && (option < 0 || option >= len(o.Scale)) {
			err = fmt.Errorf("the truth is option %d of %d", option, len(o.Scale))
		}
		if err != nil {
			out[i] = trouble(err)
			continue
		}
		key := o.Key.Sub("judge").With(c.Ask)
		if c.Problem != nil {
			key = key.With(c.Problem.Key)
		}
		if key = key.Sub(c.prompt()).Sub(c.Answer); key.Float64(0) < o.ErrorRate {
			option = (option + 1 + key.Intn(1, len(o.Scale)-1)) % len(o.Scale)
		}
		out[i] = o.Scale.opinion(option, "")
	}
	return out, ctx.Err()
}

// JudgeGrader grades episodes by a judge.
type JudgeGrader struct {
	Judge     Judge
	Reference bool // show the judge the problem's reference answer; never at evaluation
}

// Name implements Grader.
func (g JudgeGrader) Name() string { return g.Judge.Name() }

// Grade implements Grader. Cases without a grade keep the verdict timeout or error, so that they stay out of the gradient.
func (g JudgeGrader) Grade(ctx context.Context, groups []*Group) error {
	var cases []Case
	var episodes []*Episode
	for _, group := range groups {
		for _, e := range group.Episodes {
			c := Case{Problem: e.Problem, Answer: e.Text}
			if g.Reference && e.Problem != nil {
				c.Reference = e.Problem.Answer
			}
			cases, episodes = append(cases, c), append(episodes, e)
		}
	}
	opinions, err := g.Judge.Judge(ctx, cases)
	if err != nil {
		return fmt.Errorf("judge %s: %w", g.Name(), err)
	}
	if len(opinions) != len(cases) {
		return fmt.Errorf("judge %s gave %d opinions on %d answers", g.Name(), len(opinions), len(cases))
	}
	for i, o := range opinions {
		if math.IsNaN(o.Score) || math.IsInf(o.Score, 0) || o.Verdict == task.Ungraded {
			o = Opinion{Verdict: task.Error, Detail: fmt.Sprintf("the judge's score is %g, its verdict %s", o.Score, o.Verdict)}
		}
		e := episodes[i]
		e.Grade = Grade{Score: o.Score, Verdict: o.Verdict, Answer: e.Text, Detail: o.Detail}
		if e.Grade.Valid() {
			e.Grade.Terms = []Term{{Name: "judge", Value: o.Score, Turn: -1}}
		}
	}
	return nil
}
