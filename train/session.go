package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/eval"
	"github.com/hone-lm/hone/eval/stats"
	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
)

// Session is one run of a plan: the engine, the run folder, the suites, the screen.
type Session struct {
	Common  Common
	Engine  engine.Engine
	Env     rollout.Env
	Run     *run.Run
	Plan    Plan
	Suites  []*eval.Suite
	Display *progress.Display
	Start   string // what the run's model is, for the cache: its settings and, where it is a file or a run, its contents

	Machine  func() machine.Memory // nil = this machine's
	PollDisk time.Duration         // between looks at a full disk; 0 = a second

	info  engine.Info
	stop  atomic.Bool
	full  bool // the disk; it has been said
	left  int  // steps until an interruption that was asked for; 0 = none
	at    position
	since map[string][]bool // by suite: which answers were right at the last end of a stage
	ends  map[string]int    // by node: the step of the checkpoint that it ended with
	watch run.Watch
}

// position is what the state file says beside the engine's state.
type position struct {
	Node    int               `json:"node"`   // of the plan
	Index   int               `json:"index"`  // steps of it that are done
	Update  int64             `json:"update"` // optimiser updates of the node
	Cursor  int               `json:"cursor"`
	Method  json.RawMessage   `json:"method,omitempty"`
	Steps   []int             `json:"steps"` // of every node of the plan
	Sizes   map[string]int64  `json:"sizes"`
	Correct map[string][]bool `json:"correct,omitempty"`
	Ends    map[string]int    `json:"ends,omitempty"`
}

// StateFile holds everything that a run depends on: a line of JSON with the position, then the engine's state.
const StateFile = "state"

// Interrupt asks the loop to save its state and stop at the next step.
func (s *Session) Interrupt() { s.stop.Store(true) }

// InterruptAfter is Interrupt after so many more steps of the loop.
func (s *Session) InterruptAfter(steps int) { s.left = steps + 1 }

// stopping is asked once a step.
func (s *Session) stopping() bool {
	if s.left > 0 {
		if s.left--; s.left == 0 {
			s.Interrupt()
		}
	}
	return s.stop.Load()
}

// Exec runs the plan from where the state file says, or from the beginning.
func (s *Session) Exec(ctx context.Context) error {
	s.Run.Full, s.info = s.pause, s.Engine.Info()
	f, err := s.Forecast()
	if err == nil {
		err = s.check(f)
	}
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" { // nobody has chosen
		defer debug.SetGCPercent(debug.SetGCPercent(f.garbage()))
	}
	s.since, s.ends = map[string][]bool{}, map[string]int{}
	method, err := s.restore(ctx)
	if err != nil {
		return err
	}
	var keys []string
	if s.Common.Cache != "" {
		if keys, err = s.nodeKeys(); err == nil {
			err = s.noteProgram()
		}
		if err != nil {
			return err
		}
	}
	for ; s.at.Node < len(s.Plan.Nodes); s.at = (position{Node: s.at.Node + 1}) {
		n := &s.Plan.Nodes[s.at.Node]
		if keys == nil {
			err = s.node(ctx, n, method)
		} else {
			err = s.cachedNode(ctx, n, keys[s.at.Node], method)
		}
		if err != nil {
			return err
		}
		method = nil
	}
	return nil
}

// cachedNode takes a node over from the cache, or computes and keeps it. A node that a resume finds half done is computed, not kept: the rows
// of its beginning are not known to be its own.
func (s *Session) cachedNode(ctx context.Context, n *Node, key string, method json.RawMessage) error {
	if s.at.Index > 0 {
		return s.node(ctx, n, method)
	}
	if s.at.Node == 0 {
		if err := s.keepBase(ctx); err != nil {
			return err
		}
	}
	if done, err := s.fromCache(ctx, n, key); done || err != nil {
		return err
	}
	if err := s.Run.Sync(); err != nil {
		return err
	}
	sizes := s.Run.Sizes()
	if err := s.node(ctx, n, method); err != nil {
		return err
	}
	return s.toCache(n, key, sizes)
}

// node runs one node of the plan, or the rest of it; method is the state that a resume brought.
func (s *Session) node(ctx context.Context, n *Node, method json.RawMessage) error {
	if s.at.Index == 0 {
		if err := s.begin(ctx, s.at.Node); err != nil {
			return err
		}
	}
	if n.Kind == Eval {
		return s.evaluate(ctx, n.Name, 0, true)
	}
	st := &Step{Env: &s.Env, Node: n, Seed: s.Common.Seed, Index: s.at.Index, Update: s.at.Update, cursor: s.at.Cursor, s: s}
	if err := s.prepare(ctx, st, method); err != nil {
		return err
	}
	if n.Kind == Build {
		if err := build(ctx, st, n.Method); err != nil {
			return err
		}
		return s.next(ctx)
	}
	if err := s.fit(ctx, st); err != nil {
		return err
	}
	if err := Run(ctx, st, n.Method); err != nil {
		return err
	}
	if err := s.evaluate(ctx, n.Name, st.Index, true); err != nil {
		return err
	}
	return s.endOfNode(ctx, st)
}

// prepare makes the node's environment: grader, sampling, frozen models, the method's data and its state from a resume.
func (s *Session) prepare(ctx context.Context, st *Step, method json.RawMessage) error {
	n := st.Node
	s.Env.Engine, s.Env.Params = s.Engine, n.Params
	s.Env.Grader = nil
	if n.Grader != nil {
		s.Env.Grader = rollout.TaskGrader{Task: n.Grader}
	}
	if st.Index == 0 || s.Env.Frozen == nil {
		s.Env.Frozen = map[string]engine.Frozen{}
		for _, name := range n.Method.Need().Frozen {
			f, err := s.frozen(ctx, name, st.Index > 0)
			if err != nil {
				return err
			}
			s.Env.Frozen[name] = f
		}
	}
	if err := n.Method.Prepare(ctx, st); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if state := n.Method.State(); method != nil && state != nil {
		if err := json.Unmarshal(method, state); err != nil {
			return fmt.Errorf("state of %s: %w", n.Name, err)
		}
	}
	return nil
}

// frozen makes a frozen copy, or finds the one that the state file brought.
func (s *Session) frozen(ctx context.Context, name string, resumed bool) (engine.Frozen, error) {
	if resumed {
		if k, ok := s.Engine.(interface {
			Kept(name string) (engine.Frozen, bool)
		}); ok {
			if f, ok := k.Kept(name); ok {
				return f, nil
			}
		}
		return nil, fmt.Errorf("the state file has no frozen model %q: it was written by another version of this recipe", name)
	}
	return s.Engine.Freeze(ctx, name)
}

func (s *Session) writeEngine(ctx context.Context, dir string) error {
	return run.WriteAtomic(filepath.Join(dir, "engine.state"), func(w io.Writer) error { return s.Engine.Save(ctx, w) })
}

// checkpoint saves weights under the step's name, the state, and drops what retention says.
func (s *Session) checkpoint(ctx context.Context, st *Step, m Method) error {
	if err := s.Run.SaveCheckpoint(st.Node.Name, st.Index, func(dir string) error { return s.writeEngine(ctx, dir) }); err != nil {
		return err
	}
	if err := s.saveState(ctx, st, m); err != nil {
		return err
	}
	if c := s.Common.Checkpoint; c.KeepLast > 0 { // of each stage: the end of an earlier one stays
		_, err := s.Run.Retain(c.KeepLast, c.KeepBest, c.Metric)
		return err
	}
	return nil
}

func (s *Session) saveState(ctx context.Context, st *Step, m Method) error {
	s.at.Index, s.at.Update, s.at.Cursor = st.Index, st.Update, st.cursor
	s.at.Method = nil
	if state := m.State(); state != nil {
		b, err := json.Marshal(state)
		if err != nil {
			return err
		}
		s.at.Method = b
	}
	return s.writeState(ctx)
}

func (s *Session) writeState(ctx context.Context) error {
	if err := s.Run.Sync(); err != nil {
		return err
	}
	s.at.Sizes, s.at.Correct, s.at.Ends = s.Run.Sizes(), s.since, s.ends
	s.at.Steps = nil
	for i := range s.Plan.Nodes {
		s.at.Steps = append(s.at.Steps, s.Plan.Nodes[i].Steps)
	}
	line, err := json.Marshal(s.at)
	if err != nil {
		return err
	}
	return s.Run.WriteAtomic(StateFile, func(w io.Writer) error {
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		return s.Engine.Save(ctx, w)
	})
}

// restore takes up the state file; without one the run begins anew. It returns the method's state.
func (s *Session) restore(ctx context.Context) (json.RawMessage, error) {
	f, at, err := s.openState()
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, s.Run.Truncate(nil)
	}
	defer f.Close()
	if err := at.fits(s.Plan); err != nil {
		return nil, err
	}
	if err := s.Engine.Load(ctx, f); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	s.at = at
	if at.Correct != nil {
		s.since = at.Correct
	}
	if at.Ends != nil {
		s.ends = at.Ends
	}
	if err := s.Run.Truncate(at.Sizes); err != nil {
		return nil, err
	}
	return at.Method, s.rewatch()
}

// CheckState reports whether the plan can go on from the run's state file: stages that have ended keep their steps, others may only get
// more. Without a state file every plan can.
func (s *Session) CheckState() error {
	f, at, err := s.openState()
	if f != nil {
		f.Close()
	}
	return errors.Join(err, at.fits(s.Plan))
}

// openState reads the state file's first line; the file is left at the engine's state. Without a state file it is nil.
func (s *Session) openState() (*os.File, position, error) {
	var at position
	f, err := os.Open(s.Run.Path(StateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, at, nil
	}
	if err != nil {
		return nil, at, err
	}
	var line []byte
	for one := make([]byte, 1); one[0] != '\n'; line = append(line, one[0]) {
		if _, err = io.ReadFull(f, one); err != nil {
			break
		}
	}
	if err == nil {
		err = json.Unmarshal(line, &at)
	}
	if err != nil {
		f.Close()
		return nil, at, fmt.Errorf("%s is not a whole state file: %w: move it away to begin the run anew", f.Name(), err)
	}
	return f, at, nil
}

func (at *position) fits(p Plan) error {
	if at.Steps == nil {
		return nil
	}
	if len(at.Steps) != len(p.Nodes) || at.Node > len(p.Nodes) {
		return fmt.Errorf("the state file is of a plan with %d stages, this one has %d: it was written by other settings", len(at.Steps), len(p.Nodes))
	}
	for i, was := range at.Steps {
		switch n := &p.Nodes[i]; {
		case i < at.Node && n.Steps != was:
			return fmt.Errorf("stage %s has ended after %d steps: its number of steps can no longer change", n.Name, was)
		case n.Steps < was:
			return fmt.Errorf("stage %s has %d steps: a run that goes on can only be given more, not %d", n.Name, was, n.Steps)
		}
	}
	return nil
}

// evaluate runs every suite and writes its row; at the end of a stage it is compared with the stage before on the same problems.
func (s *Session) evaluate(ctx context.Context, stage string, step int, end bool) error {
	for _, suite := range s.Suites {
		s.Env.Engine = s.Engine
		r, err := s.answer(ctx, suite, suite.Name)
		if err != nil {
			return err
		}
		v := []run.Value{{Name: run.Accuracy, V: r.Accuracy.Mean}, {Name: run.AccuracyLow, V: r.Accuracy.Low}, {Name: run.AccuracyHigh, V: r.Accuracy.High},
			{Name: run.Problems, V: float64(r.Accuracy.N)}, {Name: run.Length, V: r.Length}}
		for _, b := range r.AtBudget {
			name := run.AccuracyAt(b.Tokens)
			v = append(v, run.Value{Name: name, V: b.Accuracy.Mean}, run.Value{Name: name + "_low", V: b.Accuracy.Low}, run.Value{Name: name + "_high", V: b.Accuracy.High})
		}
		if r.Ungraded > 0 {
			v = append(v, run.Value{Name: "ungraded", V: float64(r.Ungraded)})
		}
		for _, name := range strings.FieldsFunc(s.Common.Eval.Terms, func(r rune) bool { return r == ',' || r == ' ' }) {
			v = append(v, run.Value{Name: name, V: r.Term(name)})
		}
		if end {
			if before := s.since[suite.Name]; before != nil {
				c, err := stats.PairedProportions(before, r.Correct)
				if err != nil {
					return err
				}
				v = append(v, run.Value{Name: run.Gain, V: c.Mean}, run.Value{Name: run.GainLow, V: c.Low}, run.Value{Name: run.GainHigh, V: c.High})
			}
			s.since[suite.Name] = r.Correct
			if k := s.Common.Eval.PassAt; k > 1 {
				p, err := s.passAt(ctx, suite, k)
				if err != nil {
					return err
				}
				v = append(v, run.Value{Name: fmt.Sprintf("pass_at_%d", k), V: p.PassAt.Mean}, run.Value{Name: run.Entropy, V: p.Entropy})
			}
			if s.Plan.Nodes[s.at.Node].Kind != Eval {
				found, err := s.search(ctx, suite)
				if err != nil {
					return err
				}
				v = append(v, found...)
			}
		}
		if len(s.Suites) > 1 {
			for i := range v {
				v[i].Name = suite.Name + "/" + v[i].Name
			}
		}
		if err := s.metrics(run.Metrics{Stage: stage, Step: step, Kind: run.KindEval, Values: v}); err != nil {
			return err
		}
		if err := s.keepTexts(stage, step, r); err != nil {
			return err
		}
		s.Display.Line(fmt.Sprintf("%-8s %s %d problems  %5.1f %%  [%.1f, %.1f]", stage, suite.Name, r.Accuracy.N, 100*r.Accuracy.Mean, 100*r.Accuracy.Low, 100*r.Accuracy.High))
	}
	return nil
}

// passAt samples k answers at temperature 1: the chance that one of them is right, and the policy's entropy.
func (s *Session) passAt(ctx context.Context, suite *eval.Suite, k int) (*eval.Result, error) {
	sampled := *suite
	sampled.Samples, sampled.Budgets = k, nil
	if n := s.Common.Eval.PassProblems; n > 0 && n < len(sampled.Problems) {
		sampled.Problems = sampled.Problems[:n]
	}
	sampled.Params.Greedy, sampled.Params.Temperature = false, 1
	return s.answer(ctx, &sampled, fmt.Sprintf("%s pass@%d", suite.Name, k))
}

// search answers a suite in every way of eval.searches: accuracy_vote_8 and length_vote_8, the tokens that an answer then costs.
func (s *Session) search(ctx context.Context, suite *eval.Suite) (v []run.Value, err error) {
	c := &s.Common.Eval
	searches, err := eval.ParseSearches(c.Searches, float32(c.SearchTemperature))
	if err != nil {
		return nil, err
	}
	for _, by := range searches {
		r, err := s.answer(ctx, suite.Searched(by, c.SearchProblems), suite.Name+" "+by.Name)
		if err != nil {
			return nil, err
		}
		name := run.Accuracy + "_" + by.Name
		v = append(v, run.Value{Name: name, V: r.Accuracy.Mean}, run.Value{Name: name + "_low", V: r.Accuracy.Low}, run.Value{Name: name + "_high", V: r.Accuracy.High},
			run.Value{Name: run.Length + "_" + by.Name, V: r.Length})
	}
	return v, nil
}

// answer runs a suite and shows how far it has come.
func (s *Session) answer(ctx context.Context, suite *eval.Suite, name string) (*eval.Result, error) {
	shown := *suite
	bar := s.Display.Aside(name, len(shown.Problems))
	defer bar.Gone()
	shown.Told = func(done int) { bar.Set(done) }
	return shown.Run(ctx, s.Env)
}

func (s *Session) keepTexts(stage string, step int, r *eval.Result) error {
	for i, g := range r.Groups {
		if i == s.Common.Eval.Texts {
			break
		}
		e := g.Episodes[0]
		err := s.Run.Sample(run.Sample{Stage: stage, Step: step, Problem: e.Problem.ID, Prompt: e.Problem.Question, Completion: e.Text, Verdict: e.Grade.Verdict.String(), Reward: run.Float(e.Grade.Score)})
		if err != nil {
			return err
		}
	}
	return nil
}

// FirstBatch collects a node's first step without training, for --dry-run.
func (s *Session) FirstBatch(ctx context.Context, n *Node) ([]engine.Stream, error) {
	st := &Step{Env: &s.Env, Node: n, Seed: s.Common.Seed, s: s}
	if err := s.prepare(ctx, st, nil); err != nil {
		return nil, err
	}
	s.Env.Key = engine.NewKey(s.Common.Seed, "sample", 0)
	groups, err := n.Method.Collect(ctx, st)
	if err != nil {
		return nil, err
	}
	return n.Method.Streams(ctx, st, groups)
}
