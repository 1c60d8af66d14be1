package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
)

// Step is what a method sees: the rollout environment and where the loop stands.
type Step struct {
	*rollout.Env
	Node   *Node
	Seed   uint64
	Index  int   // of the step in its node, from 0
	Update int64 // optimiser updates of the node so far

	s      *Session
	cursor int  // problems taken from the node's source
	merged bool // the method has made the gradient of this update
	log    recorder
}

// Problems takes the next n problems of the node's source.
func (s *Step) Problems(n int) ([]*task.Problem, error) {
	if s.Node.Source == nil {
		return nil, fmt.Errorf("node %s has no source of problems: name a task", s.Node.Name)
	}
	out := make([]*task.Problem, n)
	for i := range out {
		p, err := s.Node.Source.At(s.cursor)
		if err != nil {
			return nil, err
		}
		out[i] = p
		s.cursor++
	}
	return out, nil
}

// GradientMerged says that Streams has itself put this update's gradient together (engine.Gradients.Merge): the loop steps even when there is no row left to
// forward. Tokens that the method forwarded are not in the metrics.
func (s *Step) GradientMerged() { s.merged = true }

// Note counts something of this step under a name; it becomes a column of metrics.jsonl.
func (s *Step) Note(name string, value float64) { s.log.note(name, value) }

// Frozen returns a frozen model that the method's Need named.
func (s *Step) FrozenModel(name string) (engine.Frozen, error) {
	f, ok := s.Env.Frozen[name]
	if !ok {
		return nil, fmt.Errorf("node %s: frozen model %q was not asked for in Need", s.Node.Name, name)
	}
	return f, nil
}

// ErrInterrupted is returned when the run was asked to stop; its state is saved.
var ErrInterrupted = errors.New("interrupted: the state is saved")

// Run is the training loop of one node: collect episodes, fill streams, backward, step, observe, log, maybe evaluate and save.
func Run(ctx context.Context, s *Step, m Method) error {
	n, ses := s.Node, s.s
	schedule := n.schedule()
	bar := ses.Display.Stage(n.Name, n.Steps)
	signal := Continue
	for ; s.Index < n.Steps && signal == Continue; s.Index++ {
		if ses.stopping() {
			if err := ses.saveState(ctx, s, m); err != nil {
				return err
			}
			return ErrInterrupted
		}
		start := time.Now()
		s.log.begin()
		s.Env.Key = engine.NewKey(s.Seed, "sample", uint64(s.Index))
		s.Env.Policy = s.Update
		groups, err := m.Collect(ctx, s)
		if err != nil {
			return s.fail("collect", s.blame(err, nil))
		}
		s.log.episodes(groups)
		skipped := 0 // updates
		for pass := 0; pass < n.passes() && signal == Continue; pass++ {
			for _, mini := range minibatches(groups, n.minibatches(), engine.NewKey(s.Seed, "minibatch", uint64(s.Index), uint64(pass))) {
				s.merged = false
				streams, err := m.Streams(ctx, s, mini)
				if err != nil {
					return s.fail("streams", s.blame(err, nil))
				}
				batch, err := engine.Normalise(streams)
				if err != nil {
					return s.fail("normalise", err)
				}
				if pass == 0 {
					s.log.weigh(batch)
				}
				if batch.Empty() && !s.merged {
					skipped++
					continue
				}
				stats, err := s.Engine.Backward(ctx, batch) // of nothing, when all is merged
				if err != nil {
					return s.fail("backward", s.blame(err, batch))
				}
				update, err := s.Engine.Step(ctx, n.Optim.At(schedule.At(int(s.Update))))
				if err != nil {
					return s.fail("update", s.blame(err, batch))
				}
				s.Update++
				s.log.update(stats, update)
				if signal, err = m.Observe(ctx, s, update); err != nil {
					return s.fail("observe", err)
				}
				if signal != Continue {
					break
				}
			}
			if pass == 0 {
				if err := ses.logRollouts(s, groups); err != nil {
					return err
				}
			}
		}
		if skipped > 0 {
			s.Note("skipped", float64(skipped))
		}
		if err := ses.logStep(s, bar, time.Since(start)); err != nil {
			return err
		}
		last := s.Index+1 == n.Steps || signal != Continue
		if every := ses.Common.Eval.Every; every > 0 && (s.Index+1)%every == 0 && !last {
			if err := ses.evaluate(ctx, n.Name, s.Index+1, false); err != nil {
				return err
			}
		}
		if every := ses.Common.Checkpoint.Every; every > 0 && (s.Index+1)%every == 0 && !last {
			s.Index++
			err := ses.checkpoint(ctx, s, m)
			s.Index--
			if err != nil {
				return err
			}
		}
	}
	bar.Done(s.log.summary())
	return ses.ended(ctx, s, signal)
}

func (s *Step) fail(what string, err error) error {
	return fmt.Errorf("%s step %d: %s: %w", s.Node.Name, s.Index, what, err)
}

// minibatches deals the groups of a step into n parts in a random order, the same on every pass of the same key.
func minibatches(groups []*rollout.Group, n int, key engine.Key) [][]*rollout.Group {
	if n <= 1 {
		return [][]*rollout.Group{groups}
	}
	out := make([][]*rollout.Group, n)
	for i, at := range key.Perm(len(groups)) {
		out[i*n/len(groups)] = append(out[i*n/len(groups)], groups[at])
	}
	return out
}
