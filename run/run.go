// Package run keeps one training run on disk: a folder of plain files that anybody can read, copy and compare.
//
//	runs/<id>/config.yaml       the resolved config, written once
//	          metrics.jsonl     rows of Metrics; a function of config and seed alone
//	          timing.jsonl      wall time, tokens/s, memory and the run's events; rows of Metrics too
//	          rollouts/*.jsonl  sampled episodes with their grades
//	          samples/*.jsonl   sample texts of the evaluation points, rows of Sample
//	          checkpoints/      one folder for each stage and step that is kept
//	          log               what was said on the screen, with times
//	          report.md, report.html
//
// Files that end in .jsonl only ever grow. The state file of the training loop holds their lengths (Sizes), and a resumed run cuts
// them back to it (Truncate), so that killing a run at any moment loses nothing and repeats nothing.
//
// Index, reports and exports live in the packages below this one; the training loop needs none of them.
package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Names of files and folders inside a run folder.
const (
	ConfigFile     = "config.yaml"
	MetricsFile    = "metrics.jsonl"
	TimingFile     = "timing.jsonl"
	RolloutsDir    = "rollouts"
	SamplesDir     = "samples"
	CheckpointsDir = "checkpoints"
	LogFile        = "log"
	ReportMD       = "report.md"
	ReportHTML     = "report.html"
	lockFile       = ".lock"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrDiskFull = errors.New("no space left on the disk") // nothing is lost: free some space and call Sync again
	ErrLocked   = errors.New("another process is writing this run")
	ErrNotFound = errors.New("no such run")
	errReadOnly = errors.New("the run was opened for reading; call Lock first")
)

// Run is one run folder. A Run from Create, or one that was locked, may be written to; its methods may be called from many goroutines.
type Run struct {
	ID  string // the folder's name
	Dir string // the folder

	// Failpoint, if set, is called with "<file>:written" between the moment when an atomically written file is safe on disk under
	// its temporary name and the renaming, and with "<file>:renamed" after it. Tests kill the process there.
	Failpoint func(name string)

	// Full, if set, is called with the error when a write finds the disk full, and again with nil once the write has succeeded after all. It
	// waits for room and returns nil to have the write tried again, or an error to give it up. It must not call the run's methods.
	Full func(err error) error

	mu    sync.Mutex
	lock  *os.File
	files map[string]*appendFile // by path relative to Dir, with slashes
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]*$`)

// Create makes the folder of a new run under root and locks it for writing. The id is the name and the first four hex digits of the
// config's hash, with "-2", "-3" ... appended when that folder exists: no run is ever overwritten.
func Create(root, name string, configYAML []byte) (*Run, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("run name %q: use lower-case letters, digits, '.', '_', '+' and '-', beginning with a letter or digit", name)
	}
	if err := os.MkdirAll(root, 0o777); err != nil {
		return nil, diskError(err)
	}
	sum := sha256.Sum256(configYAML)
	stem := name + "-" + hex.EncodeToString(sum[:2])
	for n := 1; ; n++ {
		id := stem
		if n > 1 {
			id = fmt.Sprintf("%s-%d", stem, n)
		}
		err := os.Mkdir(filepath.Join(root, id), 0o777)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, diskError(err)
		}
		r := &Run{ID: id, Dir: filepath.Join(root, id)}
		if err := r.begin(configYAML); err != nil {
			r.Close()
			return nil, err
		}
		return r, nil
	}
}

func (r *Run) begin(configYAML []byte) error {
	if err := r.Lock(); err != nil {
		return err
	}
	if err := r.Event("created"); err != nil {
		return err
	}
	if err := r.Sync(); err != nil {
		return err
	}
	// Last, so that a folder with a config is a whole run: the index and Open pass over folders without one.
	return r.WriteFile(ConfigFile, configYAML)
}

// Open opens an existing run for reading; Lock makes it writable. id is a run's name, a prefix that fits one run only, or a path that
// ends in one ("runs/sft-12ab" as in model=runs/sft-12ab).
func Open(root, id string) (*Run, error) {
	if strings.ContainsAny(id, `/\`) {
		dir := filepath.Clean(id)
		if _, err := os.Stat(filepath.Join(dir, ConfigFile)); err == nil {
			return &Run{ID: filepath.Base(dir), Dir: dir}, nil
		}
		root, id = filepath.Dir(dir), filepath.Base(dir)
	}
	ids, err := List(root)
	if err != nil {
		return nil, err
	}
	full, err := match(ids, id)
	if err != nil {
		return nil, fmt.Errorf("run %q under %s: %w", id, root, err)
	}
	return &Run{ID: full, Dir: filepath.Join(root, full)}, nil
}

// List returns the ids of the runs under root in lexical order; none when root does not exist.
func List(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(root, e.Name(), ConfigFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

func match(ids []string, id string) (string, error) {
	if slices.Contains(ids, id) {
		return id, nil
	}
	var fits []string
	if id != "" {
		for _, have := range ids {
			if strings.HasPrefix(have, id) {
				fits = append(fits, have)
			}
		}
	}
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(fits) > 1:
		return "", fmt.Errorf("%w of exactly that name, and %d begin with it (%s): write more of it", ErrNotFound, len(fits), some(fits))
	case len(ids) == 0:
		return "", fmt.Errorf("%w: there are no runs yet; hone run starts one", ErrNotFound)
	}
	best := slices.MinFunc(ids, func(a, b string) int { return distance(a, id) - distance(b, id) })
	return "", fmt.Errorf("%w: did you mean %s? (hone runs ls lists all %d)", ErrNotFound, best, len(ids))
}

func some(ids []string) string {
	if len(ids) > 4 {
		return strings.Join(ids[:4], ", ") + " ..."
	}
	return strings.Join(ids, ", ")
}

// distance is the edit distance of two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Lock makes the run writable, or fails with ErrLocked while another process writes it. The lock ends with the process, however it
// ends, or with Close.
func (r *Run) Lock() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(r.Dir, lockFile), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return diskError(err)
	}
	if err := lockHandle(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w: wait for it, or stop it with Ctrl-C", r.Dir, err)
	}
	r.lock = f
	return r.findAppendFiles()
}

// Running reports whether some process, this one included, holds the run's lock.
func (r *Run) Running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock != nil {
		return true
	}
	f, err := os.OpenFile(filepath.Join(r.Dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(lockHandle(f), ErrLocked)
}

// Close writes what is buffered and gives up the lock. Closing twice, or closing a run that was only read, does nothing.
func (r *Run) Close() error {
	err := r.Sync()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock != nil {
		r.lock.Close()
		r.lock = nil
	}
	return err
}

// Path returns the path of a file in the run folder, given with slashes.
func (r *Run) Path(rel string) string { return filepath.Join(r.Dir, filepath.FromSlash(rel)) }

// Config returns the bytes of config.yaml.
func (r *Run) Config() ([]byte, error) { return os.ReadFile(r.Path(ConfigFile)) }

// Log adds a line to the run's log with the time of day. The log serves people only: nothing reads it back.
func (r *Run) Log(format string, args ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock == nil {
		return fmt.Errorf("%s: %w", r.Path(LogFile), errReadOnly)
	}
	f, err := os.OpenFile(r.Path(LogFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return diskError(err)
	}
	_, err = fmt.Fprintf(f, "%s %s\n", time.Now().Format("2006-01-02 15:04:05"), fmt.Sprintf(format, args...))
	if e := f.Close(); err == nil {
		err = e
	}
	return diskError(err)
}

// Event adds a row with the wall time to timing.jsonl. Events that the index knows: created (written by Create), started, resumed,
// paused, done, failed. A run whose last event is none of the last three and that nobody writes counts as stopped.
func (r *Run) Event(name string) error {
	now := float64(time.Now().UnixMilli()) / 1000
	return r.Append(TimingFile, Metrics{Kind: KindEvent, Text: name, Values: []Value{{"time", now}}})
}
