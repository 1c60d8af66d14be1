package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Killed with SIGKILL at seeded moments and resumed, a run ends in the bytes of one that was left alone. The kill comes when the state or the
// metrics have reached a point: before the first state, in the middle of a stage after one, in another stage, and right after the state's
// new file was written but before it got its name.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program many times")
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	args := []string{"run", "warmup-grpo", "sft.steps=30", "sft.rows=60", "sft.batch=4", "grpo.steps=20", "grpo.problems=4", "grpo.group_size=4", "grpo.max_tokens=8", "eval.problems=10", "eval.max_tokens=8", "checkpoint.every=5"}
	start := func(root string, resume bool, env ...string) *exec.Cmd {
		a := append(append([]string{}, args...), "runs="+root)
		if resume {
			a = []string{"resume", only(t, root)}
		}
		c := exec.Command(os.Args[0], a...)
		c.Env = append(append(os.Environ(), "HONE_TEST_MAIN=1"), env...)
		return c
	}
	whole := t.TempDir()
	if out, err := start(whole, false).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, when := range map[string]struct {
		file string // kill a moment after this appears in the run's folder
		fail string // or at this failpoint
	}{
		"before the first state":   {fail: "checkpoint:written:1"},
		"in the first stage":       {file: "state"},
		"in the second stage":      {file: "checkpoints/sft@000030"},
		"between write and rename": {fail: "state:written:3"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			c := start(root, false, "HONE_KILL_AT="+when.fail)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if when.file != "" {
				waitFor(t, filepath.Join(root, "*", when.file))
				time.Sleep(60 * time.Millisecond)
				c.Process.Kill()
			}
			if err := c.Wait(); err == nil {
				t.Fatal("the run ended before it was killed")
			}
			if out, err := start(root, true).CombinedOutput(); err != nil {
				t.Fatalf("resume: %v\n%s", err, out)
			}
			equalRuns(t, only(t, whole), only(t, root))
		})
	}
}

// only returns the one run in root.
func only(t *testing.T, root string) string {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(root, "*-*"))
	if len(dirs) != 1 {
		t.Fatalf("%d runs in %s", len(dirs), root)
	}
	return dirs[0]
}

func waitFor(t *testing.T, pattern string) {
	t.Helper()
	for range 6000 {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s never came", pattern)
}

func equalRuns(t *testing.T, a, b string) {
	t.Helper()
	n := 0
	for _, pattern := range []string{"metrics.jsonl", "rollouts/*", "samples/*", "checkpoints/*/*"} {
		files, _ := filepath.Glob(filepath.Join(a, pattern))
		for _, f := range files {
			rel := strings.TrimPrefix(f, a)
			x, err1 := os.ReadFile(f)
			y, err2 := os.ReadFile(b + rel)
			if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
				t.Errorf("%s differs: %v, %v, %d and %d bytes", rel, err1, err2, len(x), len(y))
			}
			n++
		}
	}
	if n < 5 {
		t.Errorf("only %d files compared", n)
	}
}
