package reward

import (
	"context"
	"math"
	"testing"

	"github.com/hone-lm/hone/task"
)

// What probabilities of the four grades are worth.
func TestCallScale(t *testing.T) {
	if err := CallScale.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		probs []float64
		want  float64
	}{{[]float64{1, 0, 0, 0}, 0.25}, {[]float64{0, 0, 0, 1}, -0.5}, {[]float64{.25, .25, .25, .25}, -0.11875}} {
		if got := CallScale.Weigh(c.probs).Score; math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %g, want %g", c.probs, got, c.want)
		}
	}
}

// The program's grades of whole answers and fragments, and of requests that nothing can meet.
func TestCallTruth(t *testing.T) {
	calls := &task.Problem{Answer: "[book(city='rome',day=3),rent(kind='bike')]"}
	none := &task.Problem{Answer: "none"}
	oracle := &Oracle{Scale: CallScale, Truth: CallTruth}
	for _, c := range []struct {
		p    *task.Problem
		text string
		want float64
	}{
		{calls, calls.Answer, 0.25}, {calls, "[book(city='oslo',day=3),rent(kind='bike')]", 0.025},
		{calls, "[book(town='rome',day=3),rent(kind='bike')]", -0.25}, {calls, "[fly(", -0.5}, {calls, "none", -0.5}, {none, "none", 0.25}, {none, "[book(", -0.5},
	} {
		got, err := oracle.Judge(context.Background(), []Case{{Problem: c.p, Answer: c.text}})
		if err != nil || got[0].Score != c.want {
			t.Errorf("%s: %+v %v, want %g", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "[book(city='rome',", "[book(city='rome',day=3),rent(kind='bike'"} { // right as far as it goes, wrong as an answer
		for fragment, want := range map[bool]float64{true: 0.25, false: -0.5} {
			if got, err := oracle.Judge(context.Background(), []Case{{Problem: calls, Answer: text, Fragment: fragment}}); err != nil || got[0].Score != want {
				t.Errorf("%q, a fragment: %v: %+v %v, want %g", text, fragment, got, err, want)
			}
		}
	}
	if got, err := oracle.Judge(context.Background(), []Case{{Problem: none}}); err != nil || got[0].Score != -0.5 {
		t.Errorf("an empty answer: %+v %v", got, err)
	}
	if got, err := oracle.Judge(context.Background(), []Case{{Problem: &task.Problem{}, Answer: "[f("}}); err != nil || got[0].Verdict != task.Error {
		t.Errorf("without a reference: %+v %v", got, err)
	}
}
