package run

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestKilled runs this test binary again as a child that is killed at a failpoint of WriteAtomic or SaveCheckpoint.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("HONE_TEST_KILL_DIR"); dir != "" {
		killedChild(dir, os.Getenv("HONE_TEST_KILL_AT"))
		return
	}
	for at, want := range map[string]string{"state:written": "old", "state:renamed": "new", "checkpoint:written": "new"} {
		t.Run(at, func(t *testing.T) {
			r := create(t, t.TempDir(), "sft")
			check(t, r.WriteFile("state", []byte("old")))
			check(t, r.SaveCheckpoint("sft", 1, func(dir string) error { return os.WriteFile(filepath.Join(dir, "w"), []byte("old"), 0o666) }))
			check(t, r.Close())
			child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
			child.Env = append(os.Environ(), "HONE_TEST_KILL_DIR="+r.Dir, "HONE_TEST_KILL_AT="+at)
			if err := child.Run(); err == nil {
				t.Fatal("the child was not killed")
			}
			got, err := os.ReadFile(r.Path("state"))
			check(t, err)
			if string(got) != want {
				t.Errorf("state holds %q, want %q", got, want)
			}
			got, err = os.ReadFile(filepath.Join(r.CheckpointDir("sft", 1), "w"))
			check(t, err)
			if string(got) != "old" {
				t.Errorf("checkpoint holds %q", got)
			}
			check(t, r.Lock()) // the lock died with the child
			check(t, r.WriteFile("state", []byte("again")))
			check(t, r.SaveCheckpoint("sft", 1, func(dir string) error { return os.WriteFile(filepath.Join(dir, "w"), nil, 0o666) }))
			all, err := r.Checkpoints()
			if err != nil || len(all) != 1 {
				t.Errorf("checkpoints %v, %v", all, err)
			}
			check(t, r.Close())
			left, err := filepath.Glob(r.Path("*/.*"))
			check(t, err)
			if more, _ := filepath.Glob(r.Path(".*")); len(left) != 0 || len(more) != 1 { // the lock
				t.Errorf("left behind: %v %v", left, more)
			}
		})
	}
}

func killedChild(dir, at string) {
	r := &Run{ID: filepath.Base(dir), Dir: dir}
	if err := r.Lock(); err != nil {
		return
	}
	r.Failpoint = func(name string) {
		if name == at {
			self, _ := os.FindProcess(os.Getpid())
			self.Kill()
			select {}
		}
	}
	if r.WriteFile("state", []byte("new")) != nil {
		return
	}
	r.SaveCheckpoint("sft", 1, func(dir string) error { return os.WriteFile(filepath.Join(dir, "w"), []byte("new"), 0o666) })
}

func TestWriteAtomicFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "state")
	check(t, WriteAtomic(path, func(w io.Writer) error { _, err := io.WriteString(w, "old"); return err }))
	broken := errors.New("broken")
	err := WriteAtomic(path, func(w io.Writer) error {
		io.WriteString(w, strings.Repeat("new", 1<<20))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	got, _ := os.ReadFile(path)
	entries, _ := os.ReadDir(filepath.Dir(path))
	if string(got) != "old" || len(entries) != 1 {
		t.Errorf("%q, %v", got, entries)
	}
}

func TestRetain(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	save := func(stage string, step int, values ...Value) {
		t.Helper()
		check(t, r.SaveCheckpoint(stage, step, func(dir string) error { return os.WriteFile(filepath.Join(dir, "w"), []byte("x"), 0o666) }))
		if values != nil {
			check(t, r.Metrics(Metrics{Stage: stage, Step: step, Kind: KindEval, Values: values}))
		}
	}
	kept := func() (names []string) {
		all, err := r.Checkpoints()
		check(t, err)
		for _, c := range all {
			names = append(names, filepath.Base(c.Dir))
		}
		return names
	}
	_, err := r.CheckpointAt("")
	wantError(t, err, "no checkpoint yet")
	for step, acc := range []float64{0.5, 0.9, 0.9, 0.1, 0.2} {
		save("sft", 10*step, Value{Accuracy, acc}, Value{Loss, acc})
	}
	save("grpo", 10, Value{Accuracy, 0.1})
	save("grpo", 20)
	removed, err := r.Retain(1, 2, Accuracy)
	check(t, err)
	if want := []string{"sft@000010", "sft@000020", "sft@000040", "grpo@000010", "grpo@000020"}; !slices.Equal(kept(), want) || len(removed) != 2 {
		t.Errorf("kept %v, want %v (removed %v)", kept(), want, removed)
	}
	if _, err := r.Retain(0, 1, "valid_loss"); err != nil || !slices.Equal(kept(), []string{"sft@000040", "grpo@000020"}) {
		t.Errorf("kept %v, %v", kept(), err)
	}
	for at, want := range map[string]string{"": "grpo@000020", "20": "grpo@000020", "40": "sft@000040", "sft": "sft@000040", "grpo@20": "grpo@000020"} {
		if c, err := r.CheckpointAt(at); err != nil || filepath.Base(c.Dir) != want {
			t.Errorf("%q: %+v, %v; want %s", at, c, err, want)
		}
	}
	save("sft", 20) // two nodes have step 20: the last one has it, the other must be named
	for at, want := range map[string]string{"20": "grpo@000020", "sft@20": "sft@000020", "sft": "sft@000040"} {
		if c, err := r.CheckpointAt(at); err != nil || filepath.Base(c.Dir) != want {
			t.Errorf("%q: %+v, %v; want %s", at, c, err, want)
		}
	}
	for at, want := range map[string]string{"7": "no checkpoint 7; kept are sft@20, sft@40, grpo@20", "base": "no checkpoint base", "sft@x": `"x" is no step`, "-1": "is no step", "grpo@40": "kept are"} {
		_, err = r.CheckpointAt(at)
		wantError(t, err, want)
	}
	wantError(t, r.SaveCheckpoint("", 1, nil), "stage")
}

func TestRetainLowerIsBetter(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	for step, loss := range []float64{3, 1, 2, 4} {
		check(t, r.SaveCheckpoint("sft", step, func(string) error { return nil }))
		check(t, r.Metrics(Metrics{Stage: "sft", Step: step, Kind: KindEval, Values: []Value{{"valid_loss", loss}}}))
	}
	_, err := r.Retain(1, 1, "valid_loss")
	check(t, err)
	all, err := r.Checkpoints()
	if err != nil || len(all) != 2 || all[0].Step != 1 || all[1].Step != 3 {
		t.Errorf("kept %v, %v", all, err)
	}
}
