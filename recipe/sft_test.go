package recipe

import (
	"path/filepath"
	"testing"

	"github.com/hone-lm/hone/run"
)

// A validation split is kept out of training, its loss stands in the metrics, and without progress the stage stops early.
func TestValidation(t *testing.T) {
	dir := whole(t, "sft", "valid=0.3", "valid_every=1", "patience=2", "steps=30", "lr=0.2")
	r, err := run.Open(filepath.Dir(dir), filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, row := range rows {
		if row.Kind == run.KindTrain {
			steps++
			if _, ok := row.Get("valid_loss"); !ok {
				t.Errorf("step %d has no validation loss", row.Step)
			}
		}
	}
	if steps < 3 || steps == 30 {
		t.Errorf("a learning rate that destroys the model ran for %d steps of 30", steps)
	}
}
