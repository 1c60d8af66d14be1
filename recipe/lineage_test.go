package recipe

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// child runs sft for two steps from a model reference and returns the folder.
func child(t *testing.T, model string, more ...string) string {
	t.Helper()
	return whole(t, "sft", append([]string{"steps=2", "eval.problems=0", "model=" + model}, more...)...)
}

// weights loads a reference and returns all its weights with the adapter merged, and what the engine would train.
func weights(t *testing.T, ref string, change ...func(*train.Common)) (merged, trained []float32) {
	t.Helper()
	c := train.DefaultCommon()
	c.Model = ref
	for _, f := range change {
		f(&c)
	}
	l, err := LoadModel(&c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.Engine(context.Background(), &c)
	if err != nil {
		t.Fatal(err)
	}
	if l.Source != "nano" {
		t.Errorf("%s: the first model is %q", ref, l.Source)
	}
	for _, p := range e.Model().Params() {
		trained = append(trained, p.Data...)
	}
	e.Model().Merge()
	for _, p := range e.Model().Weights() {
		merged = append(merged, p.Data...)
	}
	return merged, trained
}

// A run may begin from a run that began from a run: the weights are those of its checkpoint, whatever each of them trained.
func TestLineage(t *testing.T) {
	if testing.Short() {
		t.Skip("trains six runs")
	}
	a := child(t, "nano")
	b := child(t, a, "seed=2")
	c := child(t, b+"@sft@2", "seed=3")
	nano, _ := weights(t, "nano")
	seen := [][]float32{nano}
	distinct := func(name string, w []float32) {
		t.Helper()
		for _, o := range seen {
			if sameBits(o, w) {
				t.Errorf("%s has the weights of another run", name)
			}
		}
		seen = append(seen, w)
	}
	for name, dir := range map[string]string{"a": a, "b": b, "c": c} {
		merged, trained := weights(t, dir)
		distinct(name, merged)
		if !sameBits(trained, stateWeights(t, dir)) {
			t.Errorf("%s: not the weights of its checkpoint", name)
		}
	}
	// An adapter on a run's weights, gone on with by another run, and gone on with again.
	d := child(t, b, "lora.rank=2", "seed=4")
	e := child(t, d, "seed=5")
	f := child(t, e, "seed=6")
	base, _ := weights(t, b)
	for name, dir := range map[string]string{"d": d, "e": e, "f": f} {
		merged, trained := weights(t, dir)
		distinct(name, merged)
		if !sameBits(trained, stateWeights(t, dir)) || len(trained) >= len(base)/2 {
			t.Errorf("%s: not the adapter of its checkpoint", name)
		}
		cfg := train.DefaultCommon()
		cfg.Model = dir
		l, err := LoadModel(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		var under []float32
		for _, p := range l.Model.Weights() {
			under = append(under, p.Data...)
		}
		if !sameBits(under, base) {
			t.Errorf("%s: the weights under its adapter are not those of the run that it began from", name)
		}
	}
	// Gone: its parent is needed to know the model.
	if err := os.RemoveAll(b); err != nil {
		t.Fatal(err)
	}
	bad := train.DefaultCommon()
	bad.Model = d
	if _, err := LoadModel(&bad); err == nil || !strings.Contains(err.Error(), b) {
		t.Errorf("a lineage with a hole: %v", err)
	}
}

// stateWeights reads the trained weights of a run's last checkpoint by an engine of the run's own kind.
func stateWeights(t *testing.T, dir string) []float32 {
	t.Helper()
	r, err := run.Open(filepath.Dir(dir), filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	cp, err := r.CheckpointAt("")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(cp.Dir, "engine.state"))
	if err != nil {
		t.Fatal(err)
	}
	_, cfg, err := Stored(r)
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.Shared() // the settings that the run resumes by
	l, err := LoadModel(c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := local.New(l.Model, nil, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.LoadWeights(context.Background(), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	var out []float32
	for _, p := range e.Model().Params() {
		out = append(out, p.Data...)
	}
	return out
}

// Runs that begin from each other are refused with the circle named; so is a second adapter.
func TestLineageRefused(t *testing.T) {
	root := t.TempDir()
	place := func(name string, settings ...string) string {
		t.Helper()
		_, cfg, err := Parse("sft", "", nil, settings)
		if err != nil {
			t.Fatal(err)
		}
		yaml, err := Resolved("sft", cfg)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(dir, "checkpoints", "sft@000001"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, run.ConfigFile), yaml, 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	one, two := filepath.Join(root, "one-1"), filepath.Join(root, "two-2")
	place("one-1", "model="+two)
	place("two-2", "model="+one+"@1")
	self := place("self-3", "model="+filepath.Join(root, "self-3"))
	adapted := place("adapted-4", "lora.rank=2")
	for _, c := range []struct {
		settings []string
		want     string
	}{
		{[]string{"model=" + one}, "in a circle: " + one + " from " + two + " from " + one},
		{[]string{"model=" + self}, "in a circle: " + self + " from " + self},
		{[]string{"model=" + adapted, "adapter=somewhere"}, "an adapter of its own"},
		{[]string{"model=" + adapted + "@sft@9"}, "no checkpoint sft@9; kept are sft@1"},
	} {
		_, cfg, err := Parse("sft", "", nil, c.settings)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Start(context.Background(), cfg, nil, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want %q", c.settings, err, c.want)
		}
	}
}
