package recipe

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// Every sampled answer is recorded once, in the order in which it was sampled, with one entry a token for every stream that trains on it; also
// when answers are used several times, in parts, or the method stops after the first part.
func TestRolloutsAreWhole(t *testing.T) {
	const steps, answers = 3, 12
	for _, stop := range []bool{false, true} {
		s := launch(t, "grpo", t.TempDir(), "steps=3", "kl=0.1", "passes=2", "minibatches=3")
		if n := &s.Plan.Nodes[1]; stop {
			n.Method = signals{n.Method, steps, train.Stop}
		}
		dir := exec(t, s)
		r, err := run.Open(filepath.Dir(dir), filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := r.Rollouts("grpo", func(int) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != steps*answers {
			t.Fatalf("%d rows; want %d", len(rows), steps*answers)
		}
		untrained := 0
		for i, row := range rows {
			n := len(row.Tokens) - row.Prompt
			if row.Step != i/answers+1 || row.Sample != i%4 || n < 1 || len(row.LogProb) != n || len(row.Advantage) != n || row.Kinds != "" || len(row.Pieces) != len(row.Tokens) {
				t.Errorf("row %d: %+v", i, row)
			}
			if text := strings.Join(row.Pieces[row.Prompt:], ""); !strings.HasPrefix(text, row.Text) {
				t.Errorf("row %d: %q is not the text %q", i, text, row.Text)
			}
			if len(row.Weights) == 0 {
				untrained++
				continue
			}
			for _, stream := range []string{"rl", "kl"} {
				w := row.Weights[stream]
				if len(w) != n || w.At(0) != 1 || w.At(n-1) != 1 || !(row.Scale[stream] > 0) {
					t.Errorf("row %d: weights %v, scale %g in stream %s", i, w, row.Scale[stream], stream)
				}
			}
		}
		if want := map[bool]int{false: 0, true: 8}[stop]; untrained != want {
			t.Errorf("%d rows that no part of a step trained on; want %d", untrained, want)
		}
	}
}
