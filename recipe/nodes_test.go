package recipe

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// signals is a method that gives a signal after some steps.
type signals struct {
	train.Method
	after  int
	signal train.Signal
}

func (m signals) Observe(ctx context.Context, s *train.Step, u engine.Update) (train.Signal, error) {
	if s.Index+1 == m.after {
		return m.signal, nil
	}
	return m.Method.Observe(ctx, s, u)
}

// exec runs a session's plan to its end and returns the folder.
func exec(t *testing.T, s *train.Session) string {
	t.Helper()
	if err := s.Exec(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Run.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Run.Dir
}

func checkpoints(t *testing.T, dir string) []string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(dir, run.CheckpointsDir, "*"))
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func notes(t *testing.T, r *run.Run) (texts []string) {
	t.Helper()
	rows, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Kind == run.KindNote {
			texts = append(texts, row.Text)
		}
	}
	return texts
}

// A node that reverts ends at its best checkpoint by the metric: its weights, its step, nothing later; the next node starts there. Stopped at
// every step and resumed it does the same.
func TestRevert(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	settings := []string{"checkpoint.every=1", "checkpoint.metric=grad_norm", "checkpoint.keep_last=1", "sft.steps=9", "grpo.steps=2"}
	begin := func(root string) *train.Session {
		s := launch(t, "warmup-grpo", root, settings...)
		s.Plan.Nodes[1].Method = signals{s.Plan.Nodes[1].Method, 7, train.Revert}
		return s
	}
	s := begin(t.TempDir())
	kept := t.TempDir() // copies of all checkpoints as they were written
	s.Run.Failpoint = func(name string) {
		for _, c := range checkpoints(t, s.Run.Dir) {
			_ = os.CopyFS(filepath.Join(kept, c), os.DirFS(filepath.Join(s.Run.Dir, run.CheckpointsDir, c))) // files that are there already stay
		}
	}
	dir := exec(t, s)
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	best, top := 0, math.Inf(-1)
	for _, row := range rows {
		if norm, ok := row.Get(run.GradNorm); ok && row.Stage == "sft" && row.Step < 7 && norm > top { // the 7th step reverts before it is saved
			best, top = row.Step, norm
		}
	}
	if best == 0 || best >= 6 {
		t.Fatalf("the best step is %d: this run shows little", best)
	}
	end := filepath.Base(s.Run.CheckpointDir("sft", best))
	var sft []string
	for _, c := range checkpoints(t, dir) {
		if strings.HasPrefix(c, "sft@") {
			sft = append(sft, c)
		}
	}
	if sft[len(sft)-1] != end {
		t.Errorf("kept %v; want the last to be %s", sft, end)
	}
	if n := notes(t, s.Run); len(n) != 1 || !strings.Contains(n[0], "reverted from step 7 to step "+end[len(end)-1:]+", the best by grad_norm") {
		t.Errorf("notes %q", n)
	}
	last := rows[slices.IndexFunc(rows, func(r run.Metrics) bool { return r.Stage == "grpo" })-1]
	if last.Kind != run.KindEval || last.Step != best {
		t.Errorf("the stage's last row is %+v; want its evaluation at step %d", last, best)
	}
	was, now := stateOf(t, filepath.Join(kept, end)), stateOf(t, filepath.Join(dir, run.CheckpointsDir, end))
	if !sameBits(was, now) {
		t.Error("the node's end has not the weights of its best checkpoint")
	}
	if next := stateOf(t, filepath.Join(kept, filepath.Base(s.Run.CheckpointDir("sft", 6)))); sameBits(next, now) {
		t.Error("two steps have the same weights: this shows nothing")
	}
	again := t.TempDir()
	for round := 0; ; round++ {
		s := begin(again)
		s.InterruptAfter(1)
		err := s.Exec(context.Background())
		s.Run.Close()
		if err == nil {
			sameBytes(t, dir, s.Run.Dir)
			break
		}
		if !errors.Is(err, train.ErrInterrupted) || round > 20 {
			t.Fatal(err)
		}
	}
}

// stateOf reads a checkpoint's weights into a nano engine.
func stateOf(t *testing.T, checkpoint string) []float32 {
	t.Helper()
	c := train.DefaultCommon()
	l, err := LoadModel(&c)
	if err != nil {
		t.Fatal(err)
	}
	l.State = filepath.Join(checkpoint, "engine.state")
	e, err := l.Engine(context.Background(), &c)
	if err != nil {
		t.Fatal(err)
	}
	var out []float32
	for _, p := range e.Model().Params() {
		out = append(out, p.Data...)
	}
	return out
}

// Without a checkpoint that has the metric there is nothing to revert to: said with what to set.
func TestRevertWithoutBest(t *testing.T) {
	s := launch(t, "sft", t.TempDir(), "checkpoint.every=0")
	s.Plan.Nodes[1].Method = signals{s.Plan.Nodes[1].Method, 3, train.Revert}
	err := s.Exec(context.Background())
	if err == nil || !strings.Contains(err.Error(), `no checkpoint of sft has the metric "accuracy": set checkpoint.every`) {
		t.Error(err)
	}
}

// A node that its method stops ends at the step that was reached, not at the one that was planned, and whatever keep_last says, its end stays
// for a later node and for model=runs/ID@NODE.
func TestEndsStay(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	final := map[string]string{}
	for _, keep := range []string{"0", "1"} {
		s := launch(t, "warmup-grpo", t.TempDir(), "checkpoint.every=1", "checkpoint.keep_best=0", "checkpoint.keep_last="+keep, "sft.steps=9")
		s.Plan.Nodes[1].Method = signals{s.Plan.Nodes[1].Method, 5, train.Stop}
		again := s.Plan.Nodes[2]
		again.Name, again.From = "again", "sft"
		s.Plan.Nodes = append(s.Plan.Nodes, again)
		dir := exec(t, s)
		if got := checkpoints(t, dir); keep == "1" && !slices.Equal(got, []string{"again@000003", "again@000004", "grpo@000004", "sft@000005"}) {
			t.Errorf("kept %v", got)
		}
		if n := notes(t, s.Run); len(n) != 1 || n[0] != "stopped by the method after 5 of 9 steps" {
			t.Errorf("notes %q", n)
		}
		c, err := s.Run.CheckpointAt("sft")
		if err != nil || c.Step != 5 {
			t.Errorf("sft ends at %+v, %v", c, err)
		}
		final[keep] = read(t, dir, run.CheckpointsDir, "again@000004", "engine.state")
		if read(t, dir, run.CheckpointsDir, "grpo@000004", "engine.state") != final[keep] {
			t.Error("two nodes from one end, with the same settings, differ")
		}
	}
	if final["0"] != final["1"] {
		t.Error("retention changed a later node")
	}
}

// Where nodes start: at the end of the node before, which an evaluation does not change, at a named node, or at the model that the run began
// with. Each has an optimiser of its own.
func TestNodeOrigins(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	end := func(name string, plan func(sft, eval train.Node) []train.Node) string {
		t.Helper()
		s := launch(t, "sft", t.TempDir(), "steps=4", "checkpoint.every=0")
		s.Plan.Nodes = plan(s.Plan.Nodes[1], s.Plan.Nodes[0])
		return read(t, exec(t, s), run.CheckpointsDir, name+"@000004", "engine.state")
	}
	as := func(n train.Node, name, from string) train.Node {
		n.Name, n.From = name, from
		return n
	}
	first := end("sft", func(sft, eval train.Node) []train.Node { return []train.Node{sft} })
	second := end("more", func(sft, eval train.Node) []train.Node { return []train.Node{eval, sft, as(sft, "more", "")} })
	if first == second {
		t.Fatal("a second node changes nothing: this shows nothing")
	}
	for name, c := range map[string]struct {
		want string
		plan func(sft, eval train.Node) []train.Node
	}{
		"base": {first, func(sft, eval train.Node) []train.Node { return []train.Node{eval, sft, as(sft, "more", "base")} }},
		"after an evaluation": {second, func(sft, eval train.Node) []train.Node {
			return []train.Node{sft, as(eval, "look", ""), as(sft, "more", "")}
		}},
		"from an evaluation": {second, func(sft, eval train.Node) []train.Node {
			return []train.Node{sft, as(eval, "look", ""), as(sft, "more", "look")}
		}},
		"after looking at the base": {first, func(sft, eval train.Node) []train.Node {
			return []train.Node{sft, as(eval, "look", "base"), as(sft, "more", "")}
		}},
		"named, over another": {second, func(sft, eval train.Node) []train.Node {
			return []train.Node{sft, as(sft, "other", "base"), as(sft, "third", ""), as(sft, "more", "sft")}
		}},
	} {
		if got := end("more", c.plan); got != c.want {
			t.Errorf("%s: the node starts elsewhere", name)
		}
	}
}

// merges is a method that makes its gradient itself: in a buffer, which it merges.
type merges struct {
	train.Method
	silent bool // about the gradient
}

func (m merges) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := m.Method.Streams(ctx, s, groups)
	if err != nil {
		return nil, err
	}
	for i := range streams {
		streams[i].Into = "mine"
	}
	b, err := engine.Normalise(streams)
	if err != nil {
		return nil, err
	}
	g, err := s.Engine.Gradients()
	if err != nil {
		return nil, err
	}
	if err := g.Clear("mine"); err != nil {
		return nil, err
	}
	if _, err := s.Engine.Backward(ctx, b); err != nil {
		return nil, err
	}
	if !m.silent {
		s.GradientMerged()
	}
	return nil, g.Merge("mine", 1)
}

// A method that puts the gradient together itself has the trajectory of one that returns the same streams, and takes no step unless it says so.
func TestGradientMerged(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	var ends []string
	for _, method := range []func(train.Method) train.Method{
		func(m train.Method) train.Method { return m },
		func(m train.Method) train.Method { return merges{m, false} },
		func(m train.Method) train.Method { return merges{m, true} },
	} {
		s := launch(t, "sft", t.TempDir())
		s.Plan.Nodes[1].Method = method(s.Plan.Nodes[1].Method) // after the evaluation of the base
		dir := exec(t, s)
		found := checkpoints(t, dir)
		ends = append(ends, filepath.Join(dir, run.CheckpointsDir, found[len(found)-1]))
	}
	plain, merged, silent := stateOf(t, ends[0]), stateOf(t, ends[1]), stateOf(t, ends[2])
	if !sameBits(plain, merged) {
		t.Error("merged gradients give other weights than streams do")
	}
	if sameBits(plain, silent) {
		t.Error("steps were taken without the method saying so: this shows nothing")
	}
}
