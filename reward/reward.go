// Package reward holds what was tried (Episode, Group), what it was worth (Grade) and who says so (Grader, Judge). A grade is a number AND a
// verdict; errors and timeouts never become a silent zero.
package reward

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/task"
)

// Grade is the result of grading one episode.
type Grade struct {
	Score   float64      // the reward that the gradient sees
	Verdict task.Verdict // correct, wrong, unparsed, timeout, error
	Terms   []Term       // what Score is made of, for logs
	Answer  string       // the answer that was read from the text
	Detail  string       // why, for transcripts
}

// Term is one named part of a reward. Turn is the turn it belongs to, or -1 for the whole episode.
type Term struct {
	Name  string
	Value float64
	Turn  int
}

// Valid reports whether the grade may enter gradients, means and deviations. Timeouts and errors may not: they are counted and left out.
func (g Grade) Valid() bool { return g.Verdict != task.Timeout && g.Verdict != task.Error }

// Correct is 1 for a correct verdict, else 0.
func (g Grade) Correct() float64 {
	if g.Verdict == task.Correct {
		return 1
	}
	return 0
}

// Cost counts what an episode spent, in tokens.
type Cost struct{ Prompt, Sampled, Forced, Observed int }

// Add sums costs.
func (c *Cost) Add(o Cost) {
	c.Prompt += o.Prompt
	c.Sampled += o.Sampled
	c.Forced += o.Forced
	c.Observed += o.Observed
}

// Episode is one attempt at a problem. It has several segments when the context was rewritten between turns.
type Episode struct {
	Problem *task.Problem
	Segs    []*engine.Sequence
	Text    string // the response as text, decoded once for graders and logs; never encoded again
	Grade   Grade
	Cost    Cost
}

// Group holds the episodes that are compared with each other; Key is usually the problem's id.
type Group struct {
	Key      string
	Episodes []*Episode
}

// Valid returns the episodes whose grade may enter gradients.
func (g *Group) Valid() []*Episode {
	out := make([]*Episode, 0, len(g.Episodes))
	for _, e := range g.Episodes {
		if e.Grade.Valid() {
			out = append(out, e)
		}
	}
	return out
}

// Grader writes the grades of whole groups, so that a term may compare a group's members.
type Grader interface {
	Name() string
	Grade(ctx context.Context, groups []*Group) error
}
