package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hone-lm/hone/train"
)

// With its defaults every recipe comes as far as a dry run does: its plan, what it asks of the memory, and every stage's first batch but of rows
// that a stage before it builds. All read tasks that make their problems, so none wants a file.
func TestDefaults(t *testing.T) {
	if testing.Short() {
		t.Skip("samples for seconds")
	}
	for _, name := range Names() {
		if err := dryRun(name, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if dryRun("sft", true, "data=nothing.jsonl") == nil || dryRun("itool", false, "sft.data=tool_calls?tools=3-6") == nil {
		t.Error("defaults that cannot run would pass")
	}
}

// The rows of other seeds fit, too, with room to spare.
func TestIToolDefaultFits(t *testing.T) {
	for seed := 1; seed <= 3; seed++ {
		if err := dryRun("itool", false, fmt.Sprintf("seed=%d", seed), "context=480"); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// More minibatches than a step has groups would make fewer updates than the settings say, and than other arms make; and a task has as many rows as
// one asks for, so none is no number of rows.
func TestRefusedBeforeWork(t *testing.T) {
	for _, c := range []struct{ name, settings, want string }{
		{"reft", "arm=grpo rl.minibatches=16", "arm=grpo: minibatches=16, but a step has 8 groups"},
		{"reft", "rl.minibatches=65", "rl: minibatches=65, but a step has 64 groups"},
		{"grpo", "minibatches=33", "use at most 32"},
		{"ppo", "minibatches=65", "use at most 64"},
		{"e2c", "rl2.minibatches=17", "rl2: minibatches=17"},
		{"reft", "sft.rows=0", "set rows to at least 1"},
		{"sft", "rows=0", "set rows to at least 1"},
		{"sft", "rows=20 context=18", "set too_long=truncate"},
		{"sft", "rows=20 context=18 too_long=split", "set too_long=truncate"},
		{"sft", "rows=-1", "set rows to at least 1"},
	} {
		if err := dryRun(c.name, false, append(strings.Fields(c.settings), "eval.problems=5")...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.name, c.settings, err)
		}
	}
	for _, good := range []string{"arm=grpo rl.minibatches=8", "rl.minibatches=64"} {
		if err := dryRun("reft", false, strings.Fields(good)...); err != nil {
			t.Errorf("reft %s: %v", good, err)
		}
	}
	if err := dryRun("sft", true, "rows=20", "context=18", "too_long=truncate", "eval.problems=5"); err != nil {
		t.Errorf("demonstrations that are cut: %v", err)
	}
}

// dryRun does what hone run NAME --dry-run does.
func dryRun(name string, batches bool, settings ...string) error {
	_, cfg, err := Parse(name, "", nil, settings)
	if err != nil {
		return err
	}
	s, err := Start(context.Background(), cfg, nil, io.Discard)
	if err != nil {
		return err
	}
	if _, err := s.Forecast(); err != nil {
		return err
	}
	for i := range s.Plan.Nodes {
		n := &s.Plan.Nodes[i]
		if n.Kind != train.Train || !batches {
			continue
		}
		if _, err := s.FirstBatch(context.Background(), n); err != nil && !errors.Is(err, train.ErrNotBuilt) {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}
