// Package train holds the loop: plans of nodes, steps, evaluation points, checkpoints, resume. Run is the training loop; read it first.
package train

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/tensor"
)

// Need is what a method asks of the engine, known before any work.
type Need struct {
	Caps   []engine.Capability
	Frozen []string // frozen models made at the node's start: "start" is the model as the node finds it, "base" the model without its adapter
}

// Method is one way of training. Embed Defaults and write what the paper changes.
type Method interface {
	Need() Need
	// Prepare runs once, before the node's first step and after a resume: read data, build examples.
	Prepare(ctx context.Context, s *Step) error
	// Collect obtains this step's episodes, graded where the method needs grades.
	Collect(ctx context.Context, s *Step) ([]*rollout.Group, error)
	// Streams says what the loss is; called once for each minibatch. It may call Score.
	Streams(ctx context.Context, s *Step, groups []*rollout.Group) ([]engine.Stream, error)
	// Observe sees the result of each update.
	Observe(ctx context.Context, s *Step, u engine.Update) (Signal, error)
	// State returns a pointer to the method's mutable state, or nil. It is written to the state file and read back on resume.
	State() any
}

// Signal is what a method tells the loop after an update.
type Signal int

const (
	Continue Signal = iota
	Stop            // the node ends here
	Revert          // the node ends and its best checkpoint is taken
)

// Defaults are the hooks that most methods leave as they are.
type Defaults struct{}

func (Defaults) Need() Need                           { return Need{} }
func (Defaults) Prepare(context.Context, *Step) error { return nil }
func (Defaults) State() any                           { return nil }
func (Defaults) Observe(context.Context, *Step, engine.Update) (Signal, error) {
	return Continue, nil
}

// NodeKind says what a node does.
type NodeKind string

const (
	Train    NodeKind = "train"
	Eval     NodeKind = "eval"
	Pretrain NodeKind = "pretrain"
	Build    NodeKind = "build" // sample, grade, keep rows
	Learn    NodeKind = "learn" // small networks and outer loops
)

// Node is one stage of a plan. It starts from a named checkpoint with an optimiser of its own.
type Node struct {
	Name        string
	From        string // "" = where the node before it ended; "base" = the model the run began with; else a node's name
	Kind        NodeKind
	Method      Method
	Steps       int
	Passes      int // over each step's episodes; 0 = 1
	Minibatches int // optimiser updates a pass; 0 = 1
	Optim       Optim
	Source      Source        // problems, for methods that draw them
	Grader      task.Task     // checks answers of sampled episodes
	Params      engine.Params // sampling
	Keep        Keep          // build nodes: what becomes rows
}

// Plan is a list of nodes in an order in which each node's From comes before it.
type Plan struct{ Nodes []Node }

// Check refuses a plan that cannot run, before any work.
func (p Plan) Check(info engine.Info) error {
	seen := map[string]bool{"": true, "base": true}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Name == "" || n.Name == "base" && n.Kind != Eval || seen[n.Name] && n.Name != "base" {
			return fmt.Errorf("plan: node %d is named %q: every node needs a name of its own", i, n.Name)
		}
		if !seen[n.From] {
			return fmt.Errorf("plan: node %s starts from %q, which no earlier node makes", n.Name, n.From)
		}
		seen[n.Name] = true
		switch n.Kind {
		case Eval:
			continue
		case Build:
			if n.Keep == nil {
				return fmt.Errorf("plan: node %s builds rows but has no Keep to say which", n.Name)
			}
		case Train, Pretrain:
		default:
			return fmt.Errorf("plan: node %s is of kind %q, which is not built yet: use train, pretrain, build or eval nodes", n.Name, n.Kind)
		}
		if n.Steps < 1 || n.Method == nil {
			return fmt.Errorf("plan: node %s has %d steps: want at least one, and a method", n.Name, n.Steps)
		}
		if n.Kind != Build {
			if err := n.schedule().Check(); err != nil {
				return fmt.Errorf("plan: node %s: %w", n.Name, err)
			}
		}
		if err := info.Check("node "+n.Name, n.Method.Need().Caps); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) passes() int      { return max(1, n.Passes) }
func (n *Node) minibatches() int { return max(1, n.Minibatches) }

func (n *Node) schedule() tensor.Schedule {
	total := n.Steps * n.passes() * n.minibatches()
	o := n.Optim
	return tensor.Schedule{Kind: o.Schedule, LR: o.LR, MinLR: o.MinLR, Warmup: o.Warmup, Total: total, Decay: o.Decay}
}

// Source gives problems by number: a function of the number alone, so that a run can be resumed anywhere.
type Source interface {
	At(i int) (*task.Problem, error)
}
