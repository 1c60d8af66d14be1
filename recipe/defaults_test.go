package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
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
