package run

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Checkpoint names one kept checkpoint: the folder checkpoints/<stage>@<step>.
type Checkpoint struct {
	Stage string
	Step  int
	Dir   string
}

var (
	checkpointName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)@([0-9]+)$`)
	unsafeInName   = regexp.MustCompile(`[^A-Za-z0-9._-]`)
)

// CheckpointDir returns the folder of a checkpoint.
func (r *Run) CheckpointDir(stage string, step int) string {
	return r.Path(fmt.Sprintf("%s/%s@%06d", CheckpointsDir, unsafeInName.ReplaceAllString(stage, "_"), step))
}

// SaveCheckpoint writes a checkpoint's files with write, which gets an empty folder, and gives the folder its name when all of them
// are on disk, so that there are no half checkpoints. One of that stage and step that is there already (a resumed run comes by
// again) is replaced. When the disk is full and Full waits, write is called again from the beginning.
func (r *Run) SaveCheckpoint(stage string, step int, write func(dir string) error) error {
	return r.roomy(func() error { return r.saveCheckpoint(stage, step, write) })
}

func (r *Run) saveCheckpoint(stage string, step int, write func(dir string) error) error {
	final := r.CheckpointDir(stage, step)
	if !checkpointName.MatchString(filepath.Base(final)) {
		return fmt.Errorf("checkpoint of stage %q, step %d: a stage's name begins with a letter or digit and a step is not negative", stage, step)
	}
	temp := filepath.Join(filepath.Dir(final), "."+filepath.Base(final)+".writing")
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.MkdirAll(temp, 0o777); err != nil {
		return diskError(err)
	}
	if err := write(temp); err != nil {
		os.RemoveAll(temp)
		return diskError(err)
	}
	if err := syncTree(temp); err != nil {
		os.RemoveAll(temp)
		return diskError(err)
	}
	if r.Failpoint != nil {
		r.Failpoint("checkpoint:written")
	}
	if err := removeDir(final); err != nil {
		return err
	}
	if err := os.Rename(temp, final); err != nil {
		return diskError(err)
	}
	return diskError(syncDir(filepath.Dir(final)))
}

func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(p)
		}
		f, err := os.OpenFile(p, os.O_RDWR, 0) // Windows flushes only handles that may write
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// removeDir hides a folder under another name before it empties it, so that a crash leaves no half-empty checkpoint.
func removeDir(dir string) error {
	trash := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".removing")
	if err := os.RemoveAll(trash); err != nil {
		return err
	}
	if err := os.Rename(dir, trash); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return os.RemoveAll(trash)
}

// Checkpoints returns the kept checkpoints by stage, stages in the order in which metrics.jsonl names them, then by step.
func (r *Run) Checkpoints() ([]Checkpoint, error) {
	entries, err := os.ReadDir(r.Path(CheckpointsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := r.ReadMetrics(MetricsFile)
	if err != nil {
		return nil, err
	}
	order := map[string]int{}
	for _, row := range rows {
		if _, ok := order[row.Stage]; !ok {
			order[row.Stage] = len(order)
		}
	}
	var found []Checkpoint
	for _, e := range entries {
		m := checkpointName.FindStringSubmatch(e.Name())
		if m == nil || !e.IsDir() {
			continue
		}
		step, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		found = append(found, Checkpoint{Stage: m[1], Step: step, Dir: r.Path(CheckpointsDir + "/" + e.Name())})
	}
	rank := func(c Checkpoint) int {
		if i, ok := order[c.Stage]; ok {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(found, func(a, b Checkpoint) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if a.Stage != b.Stage {
			return slices.Compare([]string{a.Stage}, []string{b.Stage})
		}
		return a.Step - b.Step
	})
	return found, nil
}

// Retain removes checkpoints of each stage but for the last keepLast (at least one: what a stage ended with stays) and the keepBest with the
// best value of the metric in that stage's evaluation or training row of the same step (see LowerIsBetter; of equals the earlier stays). It
// returns the folders that it removed.
func (r *Run) Retain(keepLast, keepBest int, metric string) ([]string, error) {
	all, err := r.Checkpoints()
	if err != nil {
		return nil, err
	}
	rows, err := r.ReadMetrics(MetricsFile)
	if err != nil {
		return nil, err
	}
	var removed []string
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Stage == all[0].Stage {
			n++
		}
		stage := all[:n]
		all = all[n:]
		best, _ := bestOf(stage, rows, keepBest, metric)
		for i, c := range stage {
			if i >= len(stage)-max(keepLast, 1) || slices.Contains(best, c) {
				continue
			}
			if err := removeDir(c.Dir); err != nil {
				return removed, err
			}
			removed = append(removed, c.Dir)
		}
	}
	return removed, nil
}

// bestOf returns the checkpoints of a stage with the best values of a metric, best first, and the value by step. An evaluation of several
// suites counts by the first one that has the metric, unless the metric names one ("gsm8k/accuracy").
func bestOf(stage []Checkpoint, rows []Metrics, keep int, metric string) ([]Checkpoint, map[int]float64) {
	value := map[int]float64{}
	evaluated := map[int]bool{} // an evaluation says more than the training step before it
	for _, row := range rows {
		eval := row.Kind == KindEval
		if !eval && row.Kind != KindTrain || evaluated[row.Step] || unsafeInName.ReplaceAllString(row.Stage, "_") != stage[0].Stage {
			continue
		}
		if v, ok := row.find(metric); ok && !math.IsNaN(v) {
			value[row.Step], evaluated[row.Step] = v, eval
		}
	}
	var scored []Checkpoint
	for _, c := range stage {
		if _, ok := value[c.Step]; ok {
			scored = append(scored, c)
		}
	}
	slices.SortStableFunc(scored, func(a, b Checkpoint) int {
		if LowerIsBetter(metric) {
			return cmp.Compare(value[a.Step], value[b.Step])
		}
		return cmp.Compare(value[b.Step], value[a.Step])
	})
	return scored[:min(max(keep, 0), len(scored))], value
}

// Best returns the kept checkpoint of a stage with the best value of a metric (see Retain), and that value; ok is false when none has it.
func (r *Run) Best(stage, metric string) (c Checkpoint, value float64, ok bool, err error) {
	mine, err := r.of(stage)
	if err != nil || len(mine) == 0 {
		return c, 0, false, err
	}
	rows, err := r.ReadMetrics(MetricsFile)
	if err != nil {
		return c, 0, false, err
	}
	best, values := bestOf(mine, rows, 1, metric)
	if len(best) == 0 {
		return c, 0, false, nil
	}
	return best[0], values[best[0].Step], true, nil
}

// RemoveAfter removes the later checkpoints of c's stage.
func (r *Run) RemoveAfter(c Checkpoint) error {
	mine, err := r.of(c.Stage)
	for _, later := range mine {
		if later.Step > c.Step && err == nil {
			err = removeDir(later.Dir)
		}
	}
	return err
}

// of returns the checkpoints of one stage by step.
func (r *Run) of(stage string) ([]Checkpoint, error) {
	all, err := r.Checkpoints()
	stage = unsafeInName.ReplaceAllString(stage, "_")
	return slices.DeleteFunc(all, func(c Checkpoint) bool { return c.Stage != stage }), err
}

// Hash returns the SHA-256 over names, lengths and contents of the given files of the run, in hex. Names are relative to the run
// folder and may be patterns ("rollouts/*.jsonl"); files count in the order given, those of a pattern in lexical order. What is
// buffered is written first.
func (r *Run) Hash(files ...string) (string, error) {
	if err := r.Sync(); err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, pattern := range files {
		names, err := fs.Glob(os.DirFS(r.Dir), path.Clean(pattern))
		if err != nil {
			return "", fmt.Errorf("hash of %q: %w", pattern, err)
		}
		if len(names) == 0 && !hasMeta(pattern) {
			return "", fmt.Errorf("hash of %s: the file does not exist", r.Path(pattern))
		}
		for _, name := range names {
			if err := hashFile(sum, name, r.Path(name)); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func hasMeta(pattern string) bool {
	return regexp.MustCompile(`[*?\[]`).MatchString(pattern)
}

func hashFile(sum io.Writer, rel, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(sum, "%s\x00%d\x00", rel, info.Size())
	_, err = io.Copy(sum, f)
	return err
}
