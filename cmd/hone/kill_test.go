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

// killRuns are the recipes that are killed; the others go through the same loop and state, and TestResume of package recipe stops each of them
// at every step. The overlong penalty makes rewards differ, so that there are gradients to lose.
var killRuns = map[string][]string{
	"sft":         {"steps=40", "rows=60", "batch=4"},
	"grpo":        {"steps=30", "problems=4", "group_size=4", "max_tokens=8", "overlong=7", "temperature=1.5", "kl=0.05"},
	"warmup-grpo": {"sft.steps=30", "sft.rows=60", "sft.batch=4", "grpo.steps=20", "grpo.problems=4", "grpo.group_size=4", "grpo.max_tokens=8", "grpo.overlong=7", "grpo.temperature=1.5"},
}

// moments are when a run is killed: at the failpoint, or a moment after the file appears in its folder.
func moments(recipe string) map[string]struct{ fail, file string } {
	m := map[string]struct{ fail, file string }{
		"before the first checkpoint": {fail: "checkpoint:written:1"}, // it is written, but has no name yet
		"before the first state":      {fail: "state:written:1"},
		"in the middle of a stage":    {file: "state"},
		"between write and rename":    {fail: "state:written:3"},
		"just after the rename":       {fail: "state:renamed:2"},
	}
	if recipe == "warmup-grpo" {
		m["in the second stage"] = struct{ fail, file string }{file: "rollouts/grpo.jsonl"}
	}
	return m
}

// Killed with SIGKILL at seeded moments and resumed, a run ends in the bytes of one that was left alone: before there is a state, in the
// middle of a stage after one, in another stage, and after the state's new file was written but before it got its name.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program many times")
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	for name := range killRuns {
		whole := t.TempDir()
		if out, err := killable(t, name, whole, false).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for moment, at := range moments(name) {
			t.Run(name+" "+moment, func(t *testing.T) {
				root := t.TempDir()
				for try := 1; !kill(t, name, root, at.fail, at.file); try++ {
					if try == 3 || at.fail != "" {
						t.Fatal("the run ended before it was killed")
					}
					root = t.TempDir() // this machine is busy: the moment was missed
				}
				dir := only(t, root)
				if _, err := os.Stat(filepath.Join(dir, "state")); at.fail == "state:written:1" && err == nil {
					t.Error("the first state has its name before the failpoint")
				}
				if out, err := killable(t, name, root, true).CombinedOutput(); err != nil {
					t.Fatalf("resume: %v\n%s", err, out)
				}
				equalRuns(t, only(t, whole), dir)
			})
		}
	}
}

// kill starts a run and kills it at a failpoint or a moment after a file appears; false when it ended first.
func kill(t *testing.T, name, root, fail, file string) bool {
	t.Helper()
	c := killable(t, name, root, false, "HONE_KILL_AT="+fail)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		waitFor(t, filepath.Join(root, "*", file))
		time.Sleep(30 * time.Millisecond)
		c.Process.Kill()
	}
	err := c.Wait()
	if c.ProcessState.Exited() && err != nil {
		t.Fatalf("the run failed by itself: %v", err)
	}
	return err != nil
}

// A killed run can be given more steps, and config.yaml says so; it then ends as if it had had them from the start. Fewer are refused.
func TestResumeRecordsSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program four times")
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	root, longer := t.TempDir(), t.TempDir()
	if err := killable(t, "sft", root, false, "HONE_KILL_AT=state:written:3").Run(); err == nil {
		t.Fatal("the run was not killed")
	}
	dir := only(t, root)
	config, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	resume := func(steps string) (string, error) {
		c := killable(t, "sft", root, true)
		c.Args = append(c.Args, steps)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := resume("steps=30"); err == nil || !strings.Contains(out, "stage sft has 40 steps") {
		t.Errorf("fewer steps: %v\n%s", err, out)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "config.yaml")); !bytes.Equal(now, config) {
		t.Error("a refused resume changed config.yaml")
	}
	if out, err := resume("steps=45"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "config.yaml")); !bytes.Contains(now, []byte("\nsteps: 45\n")) {
		t.Errorf("config.yaml does not record the steps:\n%s", now)
	}
	c := killable(t, "sft", longer, false)
	c.Args = append(c.Args, "steps=45")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	equalRuns(t, only(t, longer), dir)
}

// killable is the command that starts or resumes a run under root in a process of its own.
func killable(t *testing.T, name, root string, resume bool, env ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{"run", name, "eval.problems=10", "eval.max_tokens=8", "checkpoint.every=5", "runs=" + root}, killRuns[name]...)
	if resume {
		args = []string{"resume", only(t, root)}
	}
	c := exec.Command(os.Args[0], args...)
	c.Env = append(append(os.Environ(), "HONE_TEST_MAIN=1"), env...)
	return c
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
	metrics, err := os.ReadFile(filepath.Join(a, "metrics.jsonl"))
	if err != nil || bytes.Count(metrics, []byte(`"grad_norm":`)) < 2*bytes.Count(metrics, []byte(`"grad_norm":0,`)) {
		t.Errorf("most steps had no gradient: this run can show little (%v)", err)
	}
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
