package train

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hone-lm/hone/run"
)

// baseFile holds the weights that the run began with, where a later node goes back to them.
const baseFile = "base.state"

// begin puts the engine at the checkpoint that a node starts from, with a fresh optimiser and without the frozen models of nodes before it: one
// that was taken from the cache has left none.
func (s *Session) begin(ctx context.Context, node int) error {
	n := &s.Plan.Nodes[node]
	if node == 0 {
		if err := s.keepBase(ctx); err != nil {
			return err
		}
	}
	if d, ok := s.Engine.(interface{ Drop() }); ok {
		d.Drop()
	}
	if n.Kind == Eval && n.From == "" || !s.moved(node) {
		return nil // the engine is there
	}
	file := s.Run.Path(baseFile)
	if from := s.origin(node); from >= 0 {
		file = s.endState(from)
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("node %s cannot start: %w", n.Name, err)
	}
	defer f.Close()
	return s.Engine.LoadWeights(ctx, f)
}

// keepBase writes the model that the run began with, where a later node goes back to it.
func (s *Session) keepBase(ctx context.Context) error {
	if !s.branches() {
		return nil
	}
	return s.Run.WriteAtomic(baseFile, func(w io.Writer) error { return s.Engine.Save(ctx, w) })
}

// trains reports whether a node changes the model; evaluations and builds end where they began.
func (n *Node) trains() bool { return n.Kind != Eval && n.Kind != Build }

// origin returns the training node whose end a node starts from, -1 for the model that the run began with.
func (s *Session) origin(node int) int {
	n := &s.Plan.Nodes[node]
	if n.From == "base" {
		return -1
	}
	before := node - 1
	for i := range s.Plan.Nodes[:node] {
		if n.From != "" && s.Plan.Nodes[i].Name == n.From {
			before = i
		}
	}
	if before >= 0 && !s.Plan.Nodes[before].trains() {
		return s.origin(before)
	}
	return before
}

// moved reports whether a node before this one took the engine away from the model that the run began with.
func (s *Session) moved(node int) bool {
	for i := range s.Plan.Nodes[:node] {
		if s.Plan.Nodes[i].trains() {
			return true
		}
	}
	return false
}

// branches reports whether a later node goes back to the model that the run began with.
func (s *Session) branches() bool {
	for i := range s.Plan.Nodes {
		if s.origin(i) < 0 && s.moved(i) {
			return true
		}
	}
	return false
}

// endState is the engine state that a training node ended with.
func (s *Session) endState(node int) string {
	n := &s.Plan.Nodes[node]
	step, ok := s.ends[n.Name]
	if !ok {
		step = n.Steps // a state file from before ends were noted
	}
	return filepath.Join(s.Run.CheckpointDir(n.Name, step), "engine.state")
}

// ended closes a node's steps: it says so when they are fewer than planned, and goes back to the best checkpoint when the method asks for it.
func (s *Session) ended(ctx context.Context, st *Step, signal Signal) error {
	n := st.Node
	switch {
	case signal == Revert:
		return s.revert(ctx, st)
	case st.Index < n.Steps:
		return s.note(n.Name, st.Index, fmt.Sprintf("stopped by the method after %d of %d steps", st.Index, n.Steps))
	}
	return nil
}

// revert ends a node at its best checkpoint. Checkpoints after that one are of a way that was given up, so they go: the node's last is its end.
func (s *Session) revert(ctx context.Context, st *Step) error {
	n, metric, tried := st.Node, s.Common.Checkpoint.Metric, st.Index
	best, value, ok, err := s.Run.Best(n.Name, metric)
	if err != nil {
		return err
	}
	if !ok {
		return st.fail("revert", fmt.Errorf("no checkpoint of %s has the metric %q: set checkpoint.every to eval.every, and checkpoint.metric to a column of metrics.jsonl", n.Name, metric))
	}
	f, err := os.Open(filepath.Join(best.Dir, "engine.state"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.Engine.LoadWeights(ctx, f); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	st.Index = best.Step
	if err := s.note(n.Name, tried, fmt.Sprintf("reverted from step %d to step %d, the best by %s (%.4g)", tried, best.Step, metric, value)); err != nil {
		return err
	}
	return s.Run.RemoveAfter(best)
}

// note writes a decision of the loop to the metrics and shows it.
func (s *Session) note(node string, step int, text string) error {
	s.Display.Line(fmt.Sprintf("%-8s step %d: %s", node, step, text))
	return s.Run.Metrics(run.Metrics{Stage: node, Step: step, Kind: run.KindNote, Text: text})
}

// endOfNode writes the node's checkpoint and the state that begins the next node.
func (s *Session) endOfNode(ctx context.Context, st *Step) error {
	n := st.Node
	err := s.Run.SaveCheckpoint(n.Name, st.Index, func(dir string) error { return s.writeEngine(ctx, dir) })
	if err != nil {
		return err
	}
	s.ends[n.Name] = st.Index
	return s.next(ctx)
}

// next writes the state with which the next node begins.
func (s *Session) next(ctx context.Context) error {
	s.at = position{Node: s.at.Node + 1}
	err := s.writeState(ctx)
	s.at.Node--
	return err
}
