package task

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
)

// Wording chooses between few bytes and English.
type Wording string

const (
	Compact Wording = "compact"
	Natural Wording = "natural"
)

// Words is one piece of text in both wordings.
type Words struct{ Compact, Natural string }

// In returns the text in one wording; Compact where none is named.
func (w Words) In(wording Wording) string {
	if wording == Natural {
		return w.Natural
	}
	return w.Compact
}

// StepKind says what a step does.
type StepKind string

const (
	Compute       StepKind = "compute"       // works out a value
	Assume        StepKind = "assume"        // tries something that may turn out wrong
	Derive        StepKind = "derive"        // follows from what stands
	Verify        StepKind = "check"         // tests what stands, and it holds
	Contradiction StepKind = "contradiction" // tests what stands, and it fails
	Back          StepKind = "back"          // gives up the last wrong turn; exactly one for each
	Move          StepKind = "move"          // acts in a world
	Explain       StepKind = "explain"       // a line of somebody's worked solution
)

// Step is one step of a worked solution.
type Step struct {
	Kind  StepKind
	Text  Words
	Plan  Words // the same step before anything is worked out; empty when it is no part of the plan
	Data  any   // the task's own structure: *CountdownStep, *KnightsStep, *SudokuStep, *ChainStep, *LakeStep, *Calculation
	Turn  int   // number of the wrong turn that the step belongs to, from 1; 0 on the straight way
	Wrong bool  // the step is false: corrupted on purpose
}

// Trace is a worked solution in pieces. Detours, Search, Checked and Corrupted return changed copies; Render makes text of any of them, so
// nobody needs to read a solution back from text.
type Trace struct {
	Problem *Problem
	Steps   []Step
	Answer  Words
	Corrupt bool // the answer is graded wrong, on purpose

	turns   func(at, limit int, key rng.Key) [][]Step // wrong turns that can be taken before step at, each ending in a Back
	search  func() ([]Step, error)                    // steps of a systematic search, dead ends included
	checks  []Step                                    // redundant checks: check i may stand anywhere after step i
	corrupt func(key rng.Key) ([]Step, Words, error)
}

// Backs counts the wrong turns in the trace.
func (t *Trace) Backs() int {
	n := 0
	for _, s := range t.Steps {
		if s.Kind == Back {
			n++
		}
	}
	return n
}

// with returns a copy with other steps.
func (t *Trace) with(steps []Step) *Trace {
	c := *t
	c.Steps, c.turns, c.search, c.checks, c.corrupt = steps, nil, nil, nil, nil
	return &c
}

// Detours returns the trace with exactly k wrong turns, each given up by a Back, at places and of kinds that key draws. It is an error when
// the problem does not have k different ones; k = 0 returns the straight way.
func (t *Trace) Detours(k int, key rng.Key) (*Trace, error) {
	if k < 0 || t.turns == nil && k > 0 {
		return nil, fmt.Errorf("%s: this trace has no %d wrong turns to take", t.Problem.ID, k)
	}
	type turn struct {
		at    int
		steps []Step
	}
	var all []turn
	for at := 0; at < len(t.Steps) && k > 0; at++ {
		for _, steps := range t.turns(at, k, key.Sub("turn").With(uint64(at))) {
			all = append(all, turn{at, steps})
		}
	}
	if len(all) < k {
		return nil, fmt.Errorf("%s: only %d different wrong turns of %d; ask for fewer or take a harder problem", t.Problem.ID, len(all), k)
	}
	var chosen []turn
	for _, i := range key.Sub("choose").Perm(len(all))[:k] {
		chosen = append(chosen, all[i])
	}
	slices.SortStableFunc(chosen, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	var out []Step
	for at, s := range t.Steps {
		for i, c := range chosen {
			if c.at == at {
				for _, step := range c.steps {
					step.Turn = i + 1
					out = append(out, step)
				}
			}
		}
		out = append(out, s)
	}
	return t.with(out), nil
}

// Search returns the steps of a systematic search in a fixed order, with as many wrong turns as it happens to take. An error for tasks that
// have none.
func (t *Trace) Search() (*Trace, error) {
	if t.search == nil {
		return nil, fmt.Errorf("%s: task %s has no search trace; use Detours", t.Problem.ID, t.Problem.Task)
	}
	steps, err := t.search()
	if err != nil {
		return nil, err
	}
	return t.with(steps), nil
}

// Checked returns the trace with n redundant checks that change nothing, at places that key draws; one check may stand several times.
func (t *Trace) Checked(n int, key rng.Key) (*Trace, error) {
	if n > 0 && len(t.checks) == 0 || n < 0 {
		return nil, fmt.Errorf("%s: task %s has no redundant checks", t.Problem.ID, t.Problem.Task)
	}
	after := make([][]Step, len(t.Steps))
	for i := range n {
		c := key.Intn(uint64(2*i), len(t.checks))
		at := c + key.Intn(uint64(2*i+1), len(t.Steps)-c)
		after[at] = append(after[at], t.checks[c])
	}
	var out []Step
	for i, s := range t.Steps {
		out = append(append(out, s), after[i]...)
	}
	c := t.with(out)
	c.corrupt = t.corrupt
	return c, nil
}

// Corrupted returns a trace of the same shape with a false step, labelled Wrong as is what rests on it, and an answer that is graded wrong.
func (t *Trace) Corrupted(key rng.Key) (*Trace, error) {
	if t.corrupt == nil {
		return nil, fmt.Errorf("%s: this trace cannot be corrupted", t.Problem.ID)
	}
	steps, answer, err := t.corrupt(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Problem.ID, err)
	}
	c := t.with(steps)
	c.Answer, c.Corrupt = answer, true
	return c, nil
}

// Form says what a rendering shows.
type Form string

const (
	Short   Form = "short"   // the answer only
	Verbose Form = "verbose" // the steps, then the answer
	Planned Form = "planned" // a plan, its execution, then the answer
)

// Names of spans in renderings.
const (
	SpanThink   = "think"
	SpanPlan    = "plan"
	SpanExecute = "execute"
	SpanAnswer  = "answer"
)

// Part is a piece of rendered text. Whoever writes it for a model marks the spans with tags or with Join.
type Part struct{ Span, Text string }

// Render writes the trace. The last part is always the answer.
func (t *Trace) Render(f Form, w Wording) ([]Part, error) {
	answer := Part{SpanAnswer, t.Answer.In(w)}
	steps := t.text(w, func(s Step) string { return s.Text.In(w) })
	switch f {
	case Short:
		return []Part{answer}, nil
	case Verbose:
		return []Part{{SpanThink, steps}, answer}, nil
	case Padded:
		return t.padded(w)
	case Planned:
		plan := t.text(w, func(s Step) string { return s.Plan.In(w) })
		if plan == "" {
			return nil, fmt.Errorf("%s: task %s has no plans; use short or verbose", t.Problem.ID, t.Problem.Task)
		}
		return []Part{{SpanPlan, plan}, {SpanExecute, steps}, answer}, nil
	}
	return nil, fmt.Errorf("unknown form %q: want short, verbose, padded or planned", f)
}

func (t *Trace) text(w Wording, of func(Step) string) string {
	var lines []string
	for _, s := range t.Steps {
		if line := of(s); line != "" {
			lines = append(lines, line)
		}
	}
	if w == Natural {
		return strings.Join(lines, "\n")
	}
	return strings.Join(lines, ";")
}

// Join writes parts as plain text that Final reads back: "7-3=4;12*4=48|12*(7-3)" or, in English, lines and then "#### answer".
func Join(parts []Part, w Wording) string {
	var b strings.Builder
	for i, p := range parts {
		switch {
		case i == 0:
		case w != Natural:
			b.WriteByte('|')
		case p.Span == SpanAnswer:
			b.WriteString("\n#### ")
		default:
			b.WriteByte('\n')
		}
		b.WriteString(p.Text)
	}
	return b.String()
}
