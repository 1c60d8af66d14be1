package recipe

import (
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// Asked lists the questions that rows answer, each once, and opens their task. The rows were made of the first n problems of the training split
// (Demos), of which some may have been left out since; nil rows stand for all of them.
func (b *Build) Asked(ref string, n int, rows []*engine.Sequence) (task.Task, []*task.Problem, error) {
	t, source, err := b.Problems(ref, task.Train)
	if err != nil {
		return nil, nil, err
	}
	answered, seen := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		answered[r.ID.Problem] = true
	}
	var list []*task.Problem
	for i := range n {
		p, err := source.At(i)
		if err != nil {
			return nil, nil, err
		}
		if !seen[p.ID] && (rows == nil || answered[p.ID]) {
			seen[p.ID] = true
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("task %s: none of its first %d training problems is among the %d rows: give it more", ref, n, len(rows))
	}
	return t, list, nil
}

// epochs is a source that goes through a list in a new random order every epoch.
func (b *Build) epochs(list []*task.Problem) train.Source {
	return &shuffled{list: list, key: engine.NewKey(b.Common.Seed, "problems")}
}

// inOrder is a source that goes through a list as it stands, for nodes that visit each problem once.
type inOrder []*task.Problem

// At implements train.Source.
func (l inOrder) At(i int) (*task.Problem, error) { return l[i%len(l)], nil }
