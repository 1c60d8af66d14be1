//go:build !race

package objective

import (
	"testing"

	"github.com/hone-lm/hone/engine"
)

// A warm evaluation allocates nothing, also where it sorts. (The race detector empties pools.)
func TestPairAllocations(t *testing.T) {
	for _, o := range pairVariants() {
		v := views(o)
		var tally engine.Tally
		if n := testing.AllocsPerRun(20, func() { o.Eval(v, &tally) }); n != 0 {
			t.Errorf("%s: %g allocations", o.Name(), n)
		}
	}
}

// Objectives of tokens and sequences allocate nothing; those of the whole step may.
func TestAllocations(t *testing.T) {
	for _, o := range All() {
		if o.Scope() == engine.ScopeBatch {
			continue
		}
		v, tally := views(o), &engine.Tally{}
		o.Eval(v, tally)
		if n := testing.AllocsPerRun(10, func() { o.Eval(v, tally) }); n != 0 {
			t.Errorf("%s: %g allocations", o.Name(), n)
		}
	}
}
