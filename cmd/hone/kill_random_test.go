package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/recipe"
)

// Killed with SIGKILL at random moments of its life, once or twice, and resumed, a run ends in the bytes of one that was left alone. It takes
// minutes, so it runs where HONE_KILLS says how many moments of each recipe (make bench: ten). HONE_KILL_SEED repeats the moments of a
// failure as well as a clock can.
func TestKillAnywhere(t *testing.T) {
	kills, _ := strconv.Atoi(os.Getenv("HONE_KILLS"))
	if kills < 1 {
		t.Skip("takes minutes: HONE_KILLS=10 runs it, as make bench does")
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs SIGKILL")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HONE_KILL_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("HONE_KILL_SEED: %v", err)
		}
	}
	t.Logf("HONE_KILL_SEED=%d", seed)
	for _, name := range recipe.Names() {
		whole := t.TempDir()
		began := time.Now()
		if out, err := killable(t, name, whole, false).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		life := time.Since(began)
		key := rng.New(seed, name)
		for i := range kills {
			t.Run(fmt.Sprintf("%s %d", name, i), func(t *testing.T) {
				moment := key.With(uint64(i))
				root := t.TempDir()
				killed, want := 0, 1+moment.Intn(0, 2)
				for try := uint64(1); killed < want && try < 9; try++ {
					after := time.Duration(moment.Float64(try) * float64(life))
					if !killAfter(t, name, root, after) {
						killed++
						t.Logf("killed after %v", after)
						continue
					}
					if killed > 0 {
						break // resumed, it ended sooner
					}
					if err := os.RemoveAll(root); err != nil { // the moment was missed: another one
						t.Fatal(err)
					}
				}
				if killed == 0 {
					t.Fatal("the run always ended before it was killed")
				}
				if out, err := goOn(t, name, root).CombinedOutput(); err != nil {
					t.Fatalf("resume: %v\n%s", err, out)
				}
				equalRuns(t, only(t, whole), only(t, root))
			})
		}
	}
}

// goOn is the command that takes up the run in root, or begins it: a folder without a config was killed before it was a run.
func goOn(t *testing.T, name, root string) *exec.Cmd {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(root, "*", "config.yaml"))
	if len(found) == 0 {
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
	return killable(t, name, root, len(found) > 0)
}

// killAfter starts or resumes the run in root and kills it after a while; true when it had ended by itself.
func killAfter(t *testing.T, name, root string, after time.Duration) (ended bool) {
	t.Helper()
	c := goOn(t, name, root)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { c.Process.Kill() })
	defer timer.Stop()
	err := c.Wait()
	if c.ProcessState.Exited() && err != nil {
		t.Fatalf("the run failed by itself: %v", err)
	}
	return err == nil
}
