package task

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Given is the data of a problem of a task outside this package: what is asked, and what its check needs to know.
type Given struct {
	Text   string         `json:"text"`
	Answer string         `json:"answer"`
	Facts  map[string]any `json:"facts,omitempty"` // strings, numbers and booleans
}

func (g *Given) canonical() (all, group string) { return strings.Join(strings.Fields(g.Text), " "), "" }

func (g *Given) valid() error {
	if strings.TrimSpace(g.Text) == "" {
		return errors.New("the question is empty")
	}
	return nil
}

// NewProblem makes a problem of a task that Register entered. Its identity, and so its split, is a function of the question's text alone.
func NewProblem(name string, level int, g Given) (*Problem, error) {
	if err := g.valid(); err != nil {
		return nil, fmt.Errorf("task %s: %w", name, err)
	}
	p := &Problem{Task: name, Level: level, Question: g.Text, Answer: g.Answer}
	p.hold(&g)
	return p, nil
}

// Register enters a task of a program that uses hone as a library; its problems come from NewProblem. open gets the reference with its
// options and reports those that it does not know. Call it from init or main, before runs start; a name that is taken is an error.
func Register(name, about string, open func(r Ref) (Task, error)) error {
	if _, taken := registry[name]; taken || name == "" {
		return fmt.Errorf("task %q is there already: the tasks are %s; give yours a name of its own", name, strings.Join(Names(), ", "))
	}
	register(name, entry{about: about, data: func() content { return &Given{} }, open: func(o *options) Task {
		for k := range o.given {
			o.known = append(o.known, k)
		}
		slices.Sort(o.known)
		t, err := open(Ref{Name: name, Level: o.level, Options: o.given})
		if err != nil {
			o.fail("%v", err)
		}
		return t
	}})
	return nil
}

// NewTrace returns the expert's work on a problem from outside this package: lines that explain, then the answer.
func NewTrace(p *Problem, answer string, lines ...string) *Trace {
	t := &Trace{Problem: p, Answer: Words{answer, answer}}
	for _, l := range lines {
		t.Steps = append(t.Steps, Step{Kind: Explain, Text: Words{l, l}})
	}
	return t
}
