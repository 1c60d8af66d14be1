package train

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
)

// needs is a method that asks for capabilities and does nothing.
type needs struct {
	Defaults
	caps []engine.Capability
}

func (n needs) Need() Need { return Need{Caps: n.caps} }
func (needs) Collect(context.Context, *Step) ([]*rollout.Group, error) {
	return nil, nil
}
func (needs) Streams(context.Context, *Step, []*rollout.Group) ([]engine.Stream, error) {
	return nil, nil
}

func TestPlanCheck(t *testing.T) {
	info := engine.Info{Engine: "local", Caps: engine.Capabilities{engine.CapSample: true}}
	node := func(change func(*Node)) Node {
		n := Node{Name: "sft", Kind: Train, Method: needs{}, Steps: 40, Optim: DefaultOptim(1e-3)}
		change(&n)
		return n
	}
	for name, c := range map[string]struct {
		change func(*Node)
		want   string // part of the error, "" = accepted
	}{
		"plain":              {func(n *Node) {}, ""},
		"from base":          {func(n *Node) { n.From = "base" }, ""},
		"from an evaluation": {func(n *Node) { n.From = "later" }, `starts from "later"`},
		"no name":            {func(n *Node) { n.Name = "" }, "needs a name"},
		"named base":         {func(n *Node) { n.Name = "base" }, "needs a name of its own"},
		"no steps":           {func(n *Node) { n.Steps = 0 }, "has 0 steps"},
		"no method":          {func(n *Node) { n.Method = nil }, "and a method"},
		"not built":          {func(n *Node) { n.Kind = Learn }, "not built yet"},
		"schedule":           {func(n *Node) { n.Optim.Schedule = "cosin" }, "cosin"},
		"capability":         {func(n *Node) { n.Method = needs{caps: []engine.Capability{engine.CapSample, engine.CapValue}} }, "value"},
	} {
		err := Plan{Nodes: []Node{{Name: "base", Kind: Eval}, node(c.change)}}.Check(info)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := Plan{Nodes: []Node{node(func(*Node) {}), node(func(*Node) {})}}
	if err := twice.Check(info); err == nil {
		t.Error("two nodes of one name are accepted")
	}
}

// Every group is in exactly one minibatch, sizes differ by one at most, another key deals otherwise.
func TestMinibatches(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {5, 1}, {7, 3}, {8, 4}, {32, 5}, {2, 3}} {
		groups := make([]*rollout.Group, c[0])
		for i := range groups {
			groups[i] = &rollout.Group{Key: fmt.Sprint(i)}
		}
		parts := minibatches(groups, c[1], engine.NewKey(1, "minibatch", 3))
		if len(parts) != c[1] {
			t.Errorf("%v: %d parts", c, len(parts))
		}
		var all []*rollout.Group
		for _, p := range parts {
			if len(p) < c[0]/c[1] || len(p) > (c[0]+c[1]-1)/c[1] {
				t.Errorf("%v: a part of %d groups", c, len(p))
			}
			all = append(all, p...)
		}
		for _, g := range groups {
			if !slices.Contains(all, g) {
				t.Errorf("%v: group %s is missing", c, g.Key)
			}
		}
		if len(all) != len(groups) {
			t.Errorf("%v: %d groups in all", c, len(all))
		}
		other := minibatches(groups, c[1], engine.NewKey(1, "minibatch", 4))
		if c[0] == 32 && slices.EqualFunc(parts, other, slices.Equal) {
			t.Error("two steps deal alike")
		}
	}
}

// A step's row holds means over its updates, and nothing of the step before.
func TestRecorder(t *testing.T) {
	var r recorder
	for range 2 {
		r.begin()
		for _, x := range []float64{1, 3} {
			st := engine.Stats{Tokens: 5, Trained: 4, Streams: []engine.StreamStats{{Name: "rl", Loss: x}}}
			st.Streams[0].Tally.Add("ratio", x, x)
			r.update(st, engine.Update{Norm: 2 * x, LR: x / 10})
		}
		got := map[string]float64{}
		for _, v := range r.values() {
			got[v.Name] = v.V
		}
		for name, want := range map[string]float64{"loss": 2, "grad_norm": 4, "lr": 0.3, "trained": 8, "rl_ratio": 2.5} {
			if got[name] != want {
				t.Errorf("%s is %g, want %g (%v)", name, got[name], want, got)
			}
		}
	}
}
