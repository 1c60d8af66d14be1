// Package task holds problems that can be checked: generators with difficulty levels, readers of question files, experts that solve them
// in structured steps, and the checks that say whether an answer is right.
//
// A problem's identity (ID, Key, SplitKey) depends on what is asked, never on how it is worded. Text comes in two wordings: Compact, a few
// bytes for very small models, and Natural, English sentences. Nothing here knows about tokens or models.
package task

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/hone-lm/hone/internal/rng"
)

// Verdict says what a check found. The zero value means that nobody has checked.
type Verdict uint8

const (
	Ungraded Verdict = iota
	Correct
	Wrong
	Unparsed // no answer could be read from the text
	Timeout  // the check did not finish; says nothing about the answer
	Error    // the check failed; says nothing about the answer
)

var verdicts = [...]string{"ungraded", "correct", "wrong", "unparsed", "timeout", "error"}

func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// MarshalText writes the verdict as a word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, s := range verdicts {
		if s == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a verdict: want one of %q", text, verdicts)
}

// Term is one named part of what a check found, for reward ladders and logs.
type Term struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Result is what Check found. Score is the answer's truth value: 1 for correct and 0 otherwise, but for tasks whose outcome is a
// probability (slippery FrozenLake: the expected success). Partial credit is in Terms, each between 0 and 1, for rewards to use if they want.
type Result struct {
	Verdict Verdict
	Score   float64
	Terms   []Term
	Answer  string // what was read as the answer
	Detail  string // why, in words
}

// Term returns the value of a named term, 0 without it.
func (r Result) Term(name string) float64 {
	for _, t := range r.Terms {
		if t.Name == name {
			return t.Value
		}
	}
	return 0
}

func unparsed(answer, format string, args ...any) Result {
	return Result{Verdict: Unparsed, Answer: answer, Detail: fmt.Sprintf(format, args...)}
}

// judged is a verdict of right or wrong with its terms.
func judged(ok bool, answer, detail string, terms ...Term) Result {
	r := Result{Verdict: Wrong, Terms: terms, Answer: answer, Detail: detail}
	if ok {
		r.Verdict, r.Score = Correct, 1
	}
	return r
}

// failed is a check that could not be made, for a problem that this task did not make.
func failed(err error) Result { return Result{Verdict: Error, Detail: err.Error()} }

// Problem is one question with a reference answer.
type Problem struct {
	ID       string `json:"id"`    // task and hash of what is asked, the same in every wording and on every machine
	Task     string `json:"task"`  // registered name
	Level    int    `json:"level"` // difficulty within the task's Levels; 0 for problems from files
	Question string `json:"question"`
	Answer   string `json:"answer"`         // a reference answer in the wording of Question; others may be right too
	Data     any    `json:"data,omitempty"` // the task's own type, such as *Countdown
	Key      uint64 `json:"-"`              // hash of what is asked: for random keys
	SplitKey uint64 `json:"-"`              // hash that decides the split; problems with the same one are never in two splits

	// What comes with the question for a model that is spoken to in turns; it follows from Data.
	System   string          `json:"-"` // system turn, "" = none
	Tools    json.RawMessage `json:"-"` // list of tools for templates that take them, in OpenAI's form; nil = none
	ToolText string          `json:"-"` // the same for a system turn, with the form of the answer
}

// identify fills ID and the keys from a canonical spelling of what is asked. group is the part of it that must not be shared between
// splits; empty means all of it.
func (p *Problem) identify(canonical, group string) {
	sum := sha256.Sum256([]byte(p.Task + "\n" + canonical))
	p.ID = p.Task + "-" + hex.EncodeToString(sum[:8])
	p.Key = binary.LittleEndian.Uint64(sum[8:])
	p.SplitKey = p.Key
	if group != "" {
		sum = sha256.Sum256([]byte(p.Task + " split\n" + group))
		p.SplitKey = binary.LittleEndian.Uint64(sum[:])
	}
}

// Encode writes the problem as JSON; Decode reads it back with its keys and the task's own type of data.
func (p *Problem) Encode() ([]byte, error) { return json.Marshal(p) }

// Decode reads what Encode wrote.
func Decode(b []byte) (*Problem, error) {
	var raw struct {
		Problem
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("problem: %w", err)
	}
	entry, err := lookup(raw.Task)
	if err != nil {
		return nil, err
	}
	data := entry.data()
	if err := json.Unmarshal(raw.Data, data); err != nil {
		return nil, fmt.Errorf("problem %s: data: %w", raw.ID, err)
	}
	p := raw.Problem
	if err := data.valid(); err != nil {
		return nil, fmt.Errorf("problem %s: %w", raw.ID, err)
	}
	p.hold(data)
	if p.ID != raw.ID {
		return nil, fmt.Errorf("problem %s: its data belong to %s: the row was changed by hand or by another version", raw.ID, p.ID)
	}
	return &p, nil
}

// content is implemented by every task's data.
type content interface {
	canonical() (all, group string) // what is asked, and the part that splits must not share ("" = all)
	valid() error                   // so that data read from a file cannot break a check
}

// offering is content that brings a system turn or tools along.
type offering interface {
	offer(p *Problem) // fills System, Tools and ToolText
}

// hold gives the problem its data and what follows from them.
func (p *Problem) hold(data content) {
	p.Data = data
	p.identify(data.canonical())
	if o, ok := data.(offering); ok {
		o.offer(p)
	}
}

// Task knows one kind of problem.
type Task interface {
	Name() string
	Levels() (lo, hi int)                   // difficulty, both included; 0, 0 for problems from files
	Question(p *Problem, w Wording) string  // p's question in another wording
	Expert(p *Problem) (*Trace, error)      // a worked solution in structured steps
	Check(p *Problem, answer string) Result // answer: a bare answer or a whole response, see Final
}

// Generator is a Task that makes problems. The same key and level give the same problem. Level 0 draws from the levels chosen in the Ref.
type Generator interface {
	Task
	Generate(key rng.Key, level int) (*Problem, error)
}

// Source is a Task whose problems come from a file.
type Source interface {
	Task
	Problems(split Split) ([]*Problem, error) // in the order of the file; All for the whole file
}

// newProblem wraps data that a task has made.
func newProblem(t Task, level int, data content, w Wording, answer string) *Problem {
	p := &Problem{Task: t.Name(), Level: level, Answer: answer}
	p.hold(data)
	p.Question = t.Question(p, w)
	return p
}

// dataOf returns p's data as the task's own type.
func dataOf[T any](t Task, p *Problem) (*T, error) {
	if p == nil {
		return nil, fmt.Errorf("%s: no problem given", t.Name())
	}
	d, ok := p.Data.(*T)
	if !ok || d == nil {
		return nil, fmt.Errorf("problem %s of task %q is not one of %s's: its data are %T", p.ID, p.Task, t.Name(), p.Data)
	}
	return d, nil
}

// draw is a sequence of random numbers from a key.
type draw struct {
	key rng.Key
	n   uint64
}

// intn returns the next number in [0, n).
func (d *draw) intn(n int) int {
	d.n++
	return d.key.Intn(d.n-1, n)
}

// float returns the next number in [0, 1).
func (d *draw) float() float64 {
	d.n++
	return d.key.Float64(d.n - 1)
}

// between returns the next number in [lo, hi].
func (d *draw) between(lo, hi int) int { return lo + d.intn(hi-lo+1) }

// perm returns a random order of 0..n-1.
func (d *draw) perm(n int) []int {
	d.n++
	return d.key.With(d.n - 1).Perm(n)
}
