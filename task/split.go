package task

import (
	"errors"
	"fmt"

	"github.com/hone-lm/hone/internal/rng"
)

// Split names a part of a task's problems.
type Split string

const (
	All   Split = "" // no restriction
	Train Split = "train"
	Valid Split = "valid"
	Test  Split = "test"
)

// Splits are the shares of the three parts; what is left of 1 goes to Test.
type Splits struct{ Train, Valid, Test float64 }

// DefaultSplits is what Stream and Source use.
var DefaultSplits = Splits{Train: .9, Valid: .05, Test: .05}

// SplitOf says which part a problem belongs to: a function of its SplitKey alone, so of what is asked and not of seeds or order. Problems
// that share a SplitKey (countdown: the same multiset of numbers, whatever the target; the sudokus with one solution; the word problems
// with the same text) are in the same part.
func SplitOf(p *Problem, s Splits) Split {
	u := rng.Key(p.SplitKey).Sub("split").Float64(0)
	switch {
	case u < s.Train:
		return Train
	case u < s.Train+s.Valid:
		return Valid
	}
	return Test
}

// drafter is a Generator that can tell what is asked before it does the work for the reference answer, so that problems of other splits
// are passed over cheaply.
type drafter interface {
	draft(key rng.Key, level int) (*Problem, error)
	finish(p *Problem) error
}

// Stream is the endless sequence of a generator's problems that belong to one split. The i-th problem is a function of task, seed, split,
// level and i alone, so it can be had in any order and from many goroutines.
type Stream struct {
	Task   Generator
	Seed   uint64
	Split  Split
	Level  int // 0 = the levels of the task's Ref
	Splits Splits
}

// NewStream returns a stream with DefaultSplits.
func NewStream(t Generator, seed uint64, split Split, level int) *Stream {
	return &Stream{Task: t, Seed: seed, Split: split, Level: level, Splits: DefaultSplits}
}

// maxDraws bounds the draws for one problem. The chance that a part with 1 % of the problems is missed so often is e^-200.
const maxDraws = 20000

// At returns problem i: the first of the draws for i that is in the split. Two indices may give the same problem; see Distinct.
func (s *Stream) At(i int) (*Problem, error) {
	key := rng.New(s.Seed, "problem", uint64(i)).Sub(s.Task.Name())
	generate, finish := s.Task.Generate, func(*Problem) error { return nil }
	if d, ok := s.Task.(drafter); ok {
		generate, finish = d.draft, d.finish
	}
	for try := range uint64(maxDraws) {
		p, err := generate(key.With(try), s.Level)
		if err != nil {
			return nil, err
		}
		if s.Split == All || SplitOf(p, s.Splits) == s.Split {
			return p, finish(p)
		}
	}
	return nil, fmt.Errorf("task %s, level %d: no problem of split %q in %d draws: the task has too few different problems; widen its options or change the splits",
		s.Task.Name(), s.Level, s.Split, maxDraws)
}

// ErrExhausted is wrapped by the error of Distinct when a task has too few problems.
var ErrExhausted = errors.New("too few different problems")

// Distinct returns the first n different problems of the stream, in its order. When the task does not seem to have n, it returns those that
// it found with an error that wraps ErrExhausted.
func (s *Stream) Distinct(n int) ([]*Problem, error) {
	seen := make(map[string]bool, n)
	out := make([]*Problem, 0, n)
	repeats := 0 // since the last new problem
	for i := 0; len(out) < n; i++ {
		p, err := s.At(i)
		if err != nil {
			return out, err
		}
		if seen[p.ID] {
			if repeats++; repeats > 1000+20*len(out) {
				return out, fmt.Errorf("task %s, level %d, split %q: only %d of %d problems found: %w; widen its options, or ask for fewer",
					s.Task.Name(), s.Level, s.Split, len(out), n, ErrExhausted)
			}
			continue
		}
		repeats, seen[p.ID] = 0, true
		out = append(out, p)
	}
	return out, nil
}
