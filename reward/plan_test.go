package reward

import "testing"

func TestPlanMatch(t *testing.T) {
	near(t, "overlap", WordOverlap("add the two numbers", "add both numbers"), 2.0/3)
	if WordOverlap("", "a") != 0 || WordOverlap("b a", "a b") != 0.5 {
		t.Error("overlap of nothing, or of turned words")
	}
	near(t, "overlap of characters", TextOverlap("a-b;c", "a+b;c"), 0.8)
	if TextOverlap("", "") != 1 || TextOverlap("é", "") != 0 || TextOverlap("éa", "éa") != 1 {
		t.Error("overlap of characters with nothing, or with itself")
	}
	for _, c := range []struct {
		plan, execution string
		matched, titles int
	}{
		{"1. add the two numbers", "1. Add both numbers\n3+4=7", 1, 1},
		{"1. add a and b\n2. square it\n3. halve\n4. report", "1. Add a and b\n7\n2. square it: 49\n3. halve\n24.5", 3, 4},
		{"add them", "1. add them", 0, 0},
		{"1. halve", "", 0, 1},
	} {
		if m, n := PlanMatch(c.plan, c.execution); m != c.matched || n != c.titles {
			t.Errorf("%q: %d of %d, want %d of %d", c.plan, m, n, c.matched, c.titles)
		}
	}
}
