package recipe

import (
	"context"
	"strings"
	"testing"

	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/train"
)

// A machine without bf16 says so; a machine that has it, and a run that does not ask, say nothing.
func TestPrecisionNote(t *testing.T) {
	note := func(precision, level string) string {
		t.Helper()
		if restore, ok := tensor.ForceKernelLevel(level); ok {
			defer restore()
		}
		c := train.DefaultCommon()
		c.Model, c.Precision = "new?layers=1&hidden=32", precision
		l, err := LoadModel(&c)
		if err != nil {
			t.Fatal(err)
		}
		e, err := l.Engine(context.Background(), &c)
		if err != nil {
			t.Fatal(err)
		}
		return PrecisionNote(&c, e)
	}
	if got := note("bf16", "go"); !strings.Contains(got, "AVX512_BF16") || !strings.Contains(got, "f32") {
		t.Errorf("without the instruction: %q", got)
	}
	if got := note("f32", "go"); got != "" {
		t.Errorf("nobody asked: %q", got)
	}
	if got := note("bf16", tensor.KernelLevel()); tensor.HasBF16() && got != "" {
		t.Errorf("the machine has it: %q", got)
	}
}
