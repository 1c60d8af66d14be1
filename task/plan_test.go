package task

import "testing"

func TestOperatorMatch(t *testing.T) {
	for _, c := range []struct {
		plan, steps      string
		matched, planned int
	}{
		{"a-b;c*e", "7-3=4;12*4=48", 2, 2},
		{"a-b;c*e", "7+3=10;12*4=48", 1, 2},
		{"a-b;c*e;d/f", "7-3=4", 1, 3},
		{"a-b", "-7-3=-10", 1, 1},
		{"ab;;c", "7-3=4", 0, 0},
		{"", "", 0, 0},
	} {
		if m, n := OperatorMatch(c.plan, c.steps); m != c.matched || n != c.planned {
			t.Errorf("%q %q: %d of %d, want %d of %d", c.plan, c.steps, m, n, c.matched, c.planned)
		}
	}
}
