package task

import (
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

func TestFunctions(t *testing.T) {
	tools := open1(t, Ref{Name: "tool_calls", Options: map[string]any{"tools": "5"}})
	p, err := tools.Generate(rng.New(1, "test"), 2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Functions(p)
	if err != nil || len(got) != len(p.Data.(*ToolCalls).Tools) {
		t.Errorf("%d functions, %v", len(got), err)
	}
	got, err = Functions(&Problem{Data: &BFCL{Functions: `[{"name": "f"}, {"name": "g"}]`}})
	if err != nil || len(got) != 2 {
		t.Errorf("%d functions, %v", len(got), err)
	}
	if _, err := Functions(&Problem{ID: "x", Task: "countdown", Data: &Countdown{}}); err == nil {
		t.Error("countdown has functions")
	}
}
