package task

import (
	"testing"
)

// Inequivalent expressions over n different numbers: OEIS A140606.
func TestCountdownCountsExpressions(t *testing.T) {
	for n, want := range []int{0, 0, 6, 68, 1170, 27142} {
		if n < 2 {
			continue
		}
		got := 0
		newSolver([]int{101, 211, 431, 877, 997}[:n]).eachFull(false, func(r ref, _ *cell) { got += 1 + int(truth(r.flip)) })
		if got != want {
			t.Errorf("%d numbers: %d expressions, want %d", n, got, want)
		}
	}
}
