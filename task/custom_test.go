package task

import (
	"strings"
	"testing"
)

type mirror struct{ Task }

func (mirror) Name() string { return "mirror" }

func TestRegister(t *testing.T) {
	open := func(r Ref) (Task, error) { return mirror{}, nil }
	if err := Register("mirror", "a test", open); err != nil {
		t.Fatal(err)
	}
	defer delete(registry, "mirror")
	if err := Register("mirror", "again", open); err == nil || !strings.Contains(err.Error(), "mirror") {
		t.Errorf("a taken name: %v", err)
	}
	if err := Register("countdown", "not mine", open); err == nil {
		t.Error("a task of hone was replaced")
	}
	if got, err := Open(Ref{Name: "mirror"}); err != nil || got.Name() != "mirror" {
		t.Errorf("opened %v, %v", got, err)
	}
	a, err := NewProblem("mirror", 1, Given{Text: "write  ab backwards", Answer: "ba", Facts: map[string]any{"letters": 2.0}})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := NewProblem("mirror", 2, Given{Text: "write ab backwards", Answer: "ba"})
	c, _ := NewProblem("mirror", 1, Given{Text: "write abc backwards", Answer: "cba"})
	if a.ID != b.ID || a.Key != b.Key || a.ID == c.ID {
		t.Errorf("identities %s, %s, %s: want the same for the same question and another for another", a.ID, b.ID, c.ID)
	}
	bytes, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(bytes)
	if err != nil || again.Key != a.Key || again.Answer != "ba" || again.Data.(*Given).Facts["letters"] != 2.0 {
		t.Errorf("read back as %+v, %v", again, err)
	}
	if _, err := NewProblem("mirror", 1, Given{Text: " "}); err == nil {
		t.Error("an empty question was taken")
	}
}
