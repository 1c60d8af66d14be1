package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
)

// Extent is how large a step of a method can get; 0 = the method does not know.
type Extent struct {
	Longest int // tokens of the longest sequence that it trains on; of a pair that stays together, of both
	Rows    int // sequences a step: rows of data, or sampled answers
}

// Sized is implemented by methods that know their extent before the first step.
type Sized interface{ Extent() Extent }

// promptsLooked is how many of a node's problems are turned into prompts to know how long they get.
const promptsLooked = 256

// work says what a node asks of the memory: its own work, and the evaluations beside it.
func (s *Session) work(node int) (engine.Work, error) {
	w, err := s.own(node)
	for _, suite := range s.Suites {
		if err != nil {
			return w, err
		}
		var long int
		long, err = s.longest(suite.Problems, suite.Params.MaxTokens)
		w.Sample, w.Answers = max(w.Sample, long), max(w.Answers, len(suite.Problems))
	}
	return w, err
}

// own says what a node asks for without evaluations: what its method knows, else the longest prompt of its first problems with the longest
// answer, else the context.
func (s *Session) own(node int) (engine.Work, error) {
	n := &s.Plan.Nodes[node]
	context := s.Engine.Info().Context
	w := engine.Work{Frozen: s.frozenBy(node)}
	if m, ok := n.Method.(Sized); ok {
		e := m.Extent()
		w.Longest, w.Rows = e.Longest, e.Rows // a minibatch may hold any of them
		if n.samples() {
			w.Answers = e.Rows
		}
	}
	sampled := 0
	if n.Source != nil {
		problems := make([]*task.Problem, promptsLooked)
		for i := range problems {
			var err error
			if problems[i], err = n.Source.At(i); err != nil {
				return w, err
			}
		}
		var err error
		if sampled, err = s.longest(problems, n.Params.MaxTokens); err != nil {
			return w, err
		}
	}
	if w.Longest = max(w.Longest, sampled); w.Longest == 0 {
		w.Longest = context
	}
	if n.samples() {
		if w.Sample = sampled; w.Sample == 0 {
			w.Sample = context
		}
	}
	return w, nil
}

// longest is the longest prompt of the problems with an answer of so many tokens (0: until the context is full).
func (s *Session) longest(problems []*task.Problem, answer int) (int, error) {
	context := s.Engine.Info().Context
	if answer <= 0 || s.Env.Format == nil {
		return context, nil
	}
	most := 0
	for _, p := range problems {
		seq, err := s.Env.Format.Prompt(p)
		if err != nil {
			return 0, err
		}
		most = max(most, len(seq.Tokens))
	}
	return min(most+answer, context), nil
}

func (n *Node) samples() bool { return slices.Contains(n.Method.Need().Caps, engine.CapSample) }

// frozenBy counts the frozen copies that there are in a node.
func (s *Session) frozenBy(node int) int {
	if m := s.Plan.Nodes[node].Method; m != nil {
		return len(m.Need().Frozen)
	}
	return 0
}

// Forecast is what a run takes at most, in bytes.
type Forecast struct {
	Node        string // the node with the largest plan
	Memory      engine.Memory
	Planned     bool // the engine plans its memory
	Checkpoints int64
	Rollouts    int64 // and the other rows
}

// Forecast plans memory and disk before any work.
func (s *Session) Forecast() (Forecast, error) {
	var f Forecast
	if err := s.Plan.Check(s.Engine.Info()); err != nil {
		return f, err
	}
	var state int64 // the largest engine state
	fitter, plans := s.Engine.(engine.Fitter)
	c, trained := &s.Common.Checkpoint, s.Engine.Info().Trainable
	for i := range s.Plan.Nodes {
		n := &s.Plan.Nodes[i]
		if n.Kind == Eval {
			continue
		}
		own, err := s.own(i)
		if err != nil {
			return f, fmt.Errorf("node %s: %w", n.Name, err)
		}
		w, err := s.work(i)
		if err != nil {
			return f, fmt.Errorf("node %s: %w", n.Name, err)
		}
		if plans {
			m, err := fitter.Memory(w)
			if err != nil {
				return f, fmt.Errorf("node %s: %w", n.Name, err)
			}
			if !f.Planned || m.Total() > f.Memory.Total() {
				f.Node, f.Memory, f.Planned = n.Name, m, true
			}
		}
		size := 4 * trained * int64(3+w.Frozen) // weights, two moments, copies
		kept := 1                               // its end
		if c.Every > 0 {
			made := (n.Steps - 1) / c.Every
			if c.KeepLast > 0 {
				made = min(made, c.KeepLast+max(c.KeepBest, 0))
			}
			kept += made
		}
		f.Checkpoints += int64(kept) * size
		state = max(state, size)
		f.Rollouts += int64(n.Steps) * rowBytes
		if n.samples() {
			f.Rollouts += int64(n.Steps) * int64(own.Answers) * int64(rowBytes+own.Sample*tokenBytes)
		}
	}
	f.Checkpoints += 3 * state // the state, the one that replaces it, and a checkpoint that retention is about to remove
	if s.branches() {
		f.Checkpoints += 4 * trained
	}
	return f, nil
}

// What a row of JSON takes at most, roughly: its names and texts, and a token's id, text, log-prob, advantage and weights.
const (
	rowBytes   = 512
	tokenBytes = 40
)

// leastGarbage is what the garbage collector may let lie in any run, in bytes.
const leastGarbage = 64 << 20

// garbage is the percentage of the memory in use that may be garbage before it is collected: a tenth of the plan, or 64 MiB. With Go's 100 a run
// may take twice its plan. Arrays of numbers hold no pointers, so that to collect often costs little, however large they are.
func (f Forecast) garbage() int {
	if !f.Planned || f.Memory.Total() == 0 {
		return 100
	}
	return int(min(100, max(10, 100*leastGarbage/f.Memory.Total())))
}

// String is the line that is printed before the run; Details says what its figures are made of.
func (f Forecast) String() string {
	text := fmt.Sprintf("at most %s of disk", size(f.Checkpoints+f.Rollouts))
	if f.Planned {
		text = fmt.Sprintf("plan %s of memory, %s", size(f.Memory.Total()), text)
	}
	return text
}

// Details is the forecast in two lines.
func (f Forecast) Details() string {
	text := fmt.Sprintf("disk: at most %s (checkpoints %s, rollouts %s)", size(f.Checkpoints+f.Rollouts), size(f.Checkpoints), size(f.Rollouts))
	if f.Planned {
		text = fmt.Sprintf("memory plan: %s (%s)\n%s", size(f.Memory.Total()), memoryParts(f.Memory), text)
	}
	return text
}

func memoryParts(m engine.Memory) string {
	var parts []string
	for _, p := range []struct {
		name  string
		bytes int64
	}{{"weights", m.Weights}, {"gradients and moments", m.Optimiser}, {"frozen copies", m.Frozen}, {"activations", m.Activations}, {"sampling cache", m.Cache}} {
		if p.bytes > 0 {
			parts = append(parts, p.name+" "+size(p.bytes))
		}
	}
	return strings.Join(parts, ", ")
}

// size writes bytes in binary units.
func size(n int64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// Fits returns an error when the machine has not the memory for the run: for a look before there is a run folder. Exec looks again.
func (s *Session) Fits() error {
	f, err := s.Forecast()
	if err == nil {
		_, err = s.compare(f)
	}
	return err
}

// compare compares a forecast with this machine's memory.
func (s *Session) compare(f Forecast) (warning string, err error) {
	read := s.Machine
	if read == nil {
		read = machine.ReadMemory
	}
	runtime.GC() // what nobody uses any more is not held
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	return f.fits(read(), int64(heap.HeapAlloc), s.Common)
}

// check compares a forecast with what this machine has. What does not fit is an error; what only fits by swapping is a warning.
func (s *Session) check(f Forecast) error {
	s.Display.Line(f.String())
	warning, err := s.compare(f)
	if err != nil {
		return err
	}
	if warning != "" {
		s.Display.Line("warning: " + warning)
		if err := s.Run.Log("warning: %s", warning); err != nil {
			return err
		}
	}
	have, err := folderSize(s.Run.Dir)
	if err != nil {
		return err
	}
	return run.CheckSpace(s.Run.Dir, f.Checkpoints+f.Rollouts-have)
}

// fits compares the plan, of which held bytes are taken already, with the machine.
func (f Forecast) fits(m machine.Memory, held int64, c Common) (warning string, err error) {
	more := f.Memory.Total() - held
	free := m.Free
	if free == 0 { // unknown: what the machine has is the best there is to compare with
		free, more = m.Total, f.Memory.Total()
	}
	if !f.Planned || free == 0 || more <= free {
		return "", nil
	}
	text := fmt.Sprintf("node %s needs %s of memory (%s), %s more than this process holds, and %s are free", f.Node, size(f.Memory.Total()), memoryParts(f.Memory), size(more), size(free))
	todo := []string{fmt.Sprintf("lower micro_tokens (now %d)", c.MicroTokens)}
	if !c.Recompute {
		todo = append(todo, "set recompute=true")
	}
	todo = append(todo, "shorten context or max_tokens", fmt.Sprintf("lower slots (now %d)", c.Slots))
	if c.LoRA.Rank == 0 && c.Adapter == "" {
		todo = append(todo, "train an adapter (lora.rank=16)")
	}
	text += ": " + strings.Join(todo, ", or ")
	if more > free+m.Swap {
		return "", fmt.Errorf("%s", text)
	}
	return text + "; it will swap and be slow", nil
}

// folderSize adds up the files of a folder.
func folderSize(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// fit runs the longest batch that a node can meet forward and backward before the node's first step, so that a run that does not fit fails at
// once. When the system kills the process there, the log's last line says why.
func (s *Session) fit(ctx context.Context, st *Step) error {
	fitter, ok := s.Engine.(engine.Fitter)
	if !ok || st.Index > 0 {
		return nil
	}
	w, err := s.work(s.at.Node)
	if err != nil {
		return err
	}
	c := &s.Common
	err = s.Run.Log("%s: trying the longest batch; if nothing follows, memory ran out: lower micro_tokens (%d), set recompute=true or shorten context", st.Node.Name, c.MicroTokens)
	if err != nil && !errors.Is(err, run.ErrDiskFull) {
		return err
	}
	if err := fitter.Fit(ctx, w); err != nil {
		return st.fail("before the first one", st.blame(err, nil))
	}
	return nil
}
