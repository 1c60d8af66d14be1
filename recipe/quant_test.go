package recipe

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quantisedModel is a tiny model of Q8_0 weights.
func quantisedModel(t *testing.T) string {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "models", "gguf", "llama-q8_0.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Skip("../shared absent: no GGUF files to read")
	}
	return "model=" + path
}

// A run over weights that stay quantised leaves the state of a run over the dequantised ones, and either goes on from the other's.
func TestKeepQuantised(t *testing.T) {
	m := quantisedModel(t)
	state := func(settings ...string) (dir string, data []byte) {
		t.Helper()
		dir = whole(t, "sft", append([]string{"steps=3", "rows=50", "context=96", "eval.problems=0", "lora.rank=2"}, settings...)...)
		data, err := os.ReadFile(filepath.Join(dir, "checkpoints", "sft@000003", "engine.state"))
		if err != nil {
			t.Fatal(err)
		}
		return dir, data
	}
	kept, a := state(m, "keep_quantised=true")
	wide, b := state(m)
	if !bytes.Equal(a, b) {
		t.Error("the states differ")
	}
	if _, c := state(m, "seed=2"); bytes.Equal(a, c) {
		t.Error("another seed was not seen")
	}
	_, a = state("model="+kept, "seed=3")
	_, b = state("model="+wide, "seed=3", "keep_quantised=true")
	if !bytes.Equal(a, b) {
		t.Error("runs that go on from the other's adapter differ")
	}
}

func TestKeepQuantisedRefused(t *testing.T) {
	m := quantisedModel(t)
	for _, c := range []struct {
		settings []string
		want     string
	}{
		{[]string{m}, "train an adapter with lora.rank=16"},
		{[]string{"model=nano", "lora.rank=2"}, "nothing to keep"},
		{[]string{strings.Replace(m, "q8_0", "f32", 1), "lora.rank=2"}, "nothing to keep"},
	} {
		err := startError(t, "sft", append(c.settings, "keep_quantised=true", "context=96")...)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "keep_quantised=false") {
			t.Errorf("%v: %v, want %q", c.settings, err, c.want)
		}
	}
	if err := startError(t, "sft", m, "keep_quantised=true", "context=96", "lora.rank=2"); err != nil {
		t.Errorf("an adapter: %v", err)
	}
	full := whole(t, "sft", m, "steps=1", "rows=50", "context=96", "eval.problems=0")
	if err := startError(t, "sft", "model="+full, "keep_quantised=true", "lora.rank=2", "context=96"); err == nil || !strings.Contains(err.Error(), "quantised no more") {
		t.Errorf("over a run that trained all weights: %v", err)
	}
}
