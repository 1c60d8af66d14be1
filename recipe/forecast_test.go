package recipe

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
)

// The forecast holds what the run then really takes: checkpoints and states in bytes, rollouts as an upper bound. Retention counts.
func TestForecastDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	for _, more := range [][]string{{"checkpoint.keep_last=0"}, {"checkpoint.keep_last=1", "checkpoint.keep_best=0", "grpo.kl=0.1"}, {"lora.rank=2", "checkpoint.every=1"}} {
		s := launch(t, "warmup-grpo", t.TempDir(), append(more, "grpo.steps=9")...)
		f, err := s.Forecast()
		if err != nil {
			t.Fatal(err)
		}
		var most int64 // of checkpoints and states at the moments when they are largest
		s.Run.Failpoint = func(string) {
			if b := bytesUnder(t, s.Run.Dir, func(rel string) bool { return !strings.HasSuffix(rel, ".jsonl") }); b > most {
				most = b
			}
		}
		dir := exec(t, s)
		if most > f.Checkpoints+1<<16 || 2*most < f.Checkpoints {
			t.Errorf("%v: the forecast says %d bytes of checkpoints, there were %d", more, f.Checkpoints, most)
		}
		rows := bytesUnder(t, dir, func(rel string) bool {
			return strings.HasPrefix(rel, run.RolloutsDir) || rel == run.MetricsFile || rel == run.TimingFile
		})
		if rows > f.Rollouts || 20*rows < f.Rollouts {
			t.Errorf("%v: the forecast says %d bytes of rollouts, there were %d", more, f.Rollouts, rows)
		}
	}
}

func bytesUnder(t *testing.T, dir string, take func(rel string) bool) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if info, e := d.Info(); e == nil && take(filepath.ToSlash(rel)) {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A run that does not fit in memory is refused before any work; one that would swap says so and runs.
func TestForecastMemory(t *testing.T) {
	s := launch(t, "grpo", t.TempDir())
	s.Machine = func() machine.Memory { return machine.Memory{Total: 1 << 20, Free: 1 << 19} }
	err := s.Exec(context.Background())
	if err == nil || !strings.Contains(err.Error(), "node grpo needs") || !strings.Contains(err.Error(), "lower micro_tokens (now 4096)") {
		t.Fatal(err)
	}
	if files := lasting(t, s.Run.Dir); len(files) > 0 {
		t.Errorf("a refused run has written %d files", len(files))
	}
	var screen bytes.Buffer
	s.Display = progress.New(&screen)
	s.Machine = func() machine.Memory { return machine.Memory{Total: 1 << 30, Free: 1 << 19, Swap: 1 << 30} }
	exec(t, s)
	for _, want := range []string{"MiB of memory, at most ", "warning: node grpo needs", "it will swap and be slow"} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("the screen lacks %q:\n%s", want, &screen)
		}
	}
}

// fitted notes what the engine is asked to try, and the batches that come after each try.
type fitted struct {
	*local.Engine
	tried []engine.Work
	met   []struct{ longest, rows, updates int }
}

func (f *fitted) Fit(ctx context.Context, w engine.Work) error {
	f.tried, f.met = append(f.tried, w), append(f.met, struct{ longest, rows, updates int }{})
	return f.Engine.Fit(ctx, w)
}

func (f *fitted) Backward(ctx context.Context, b *engine.Batch) (engine.Stats, error) {
	m := &f.met[len(f.met)-1] // a batch before the first try is a fault
	seqs := b.Sequences()
	m.rows, m.updates = max(m.rows, len(seqs)), m.updates+1
	for _, s := range seqs {
		m.longest = max(m.longest, len(s.Tokens))
	}
	return f.Engine.Backward(ctx, b)
}

// The longest batch is tried once a node, before its first step, and covers every batch that the node then brings.
func TestLongestBatchIsTried(t *testing.T) {
	s := launch(t, "warmup-grpo", t.TempDir(), "grpo.minibatches=2")
	f := &fitted{Engine: s.Engine.(*local.Engine)}
	s.Engine = f
	exec(t, s)
	if len(f.tried) != 2 || f.met[0].updates != 4 || f.met[1].updates != 8 {
		t.Fatalf("tried %+v, met %+v", f.tried, f.met)
	}
	for i, w := range f.tried {
		if m := f.met[i]; w.Longest < m.longest || w.Longest > m.longest+10 || w.Rows < m.rows || w.Rows > 12 {
			t.Errorf("node %d: tried %+v, met %+v", i, w, m)
		}
	}
}
