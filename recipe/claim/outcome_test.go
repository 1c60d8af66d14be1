package claim

import (
	"errors"
	"testing"

	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
)

// Tasks that are evaluated together are one point of the curve, and all of them are in the final values.
func TestOutcomeOfSeveralTasks(t *testing.T) {
	r, err := run.Create(t.TempDir(), "r", []byte("recipe: sft\n"))
	if err != nil {
		t.Fatal(err)
	}
	eval := func(stage string, step int, name string, v float64) {
		err = errors.Join(err, r.Metrics(run.Metrics{Stage: stage, Step: step, Kind: run.KindEval, Values: []run.Value{{Name: name, V: v}}}))
	}
	eval("base", 0, "all/accuracy", .1)
	eval("base", 0, "hard/accuracy", .01)
	eval("sft", 5, "all/accuracy", .4)
	eval("sft", 5, "hard/accuracy", .2)
	eval("pairs", 5, "all/accuracy", .5)
	eval("pairs", 5, "hard/accuracy", .3)
	if err = errors.Join(err, r.Sync()); err != nil {
		t.Fatal(err)
	}
	o := &recipe.Outcome{}
	if err := read(r, o); err != nil {
		t.Fatal(err)
	}
	if len(o.Curve) != 3 || len(o.Final) != 2 || o.Final["all/accuracy"] != .5 || o.Final["hard/accuracy"] != .3 || o.Before["hard/accuracy"] != .2 {
		t.Errorf("%d points, final %v, before %v", len(o.Curve), o.Final, o.Before)
	}
}
