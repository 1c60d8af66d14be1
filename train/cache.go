package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/run"
)

// The cache holds finished nodes by content: what a node is (settings, code, everything before it) names a folder with its weights and the
// rows that it appended to the run's files. A run that comes to an equal node takes both over and has the bytes of one that computed it.

// cacheManifest is cached.json in a node's cache folder; it is written last, so that a folder without it is not yet whole.
type cacheManifest struct {
	Node    string            `json:"node"`
	Files   []string          `json:"files"` // append-only files with rows of the node; each stands in the folder under its number
	Weights bool              `json:"weights"`
	End     int               `json:"end"` // steps at which a training node ended
	Correct map[string][]bool `json:"correct,omitempty"`
}

// CodeVersion is the hash of the running program: other code may mean other bytes.
var CodeVersion = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)[:16]), err
})

// Identified is implemented by methods whose settings name a model of their own: Identity says what is in it, as settings say only where it is.
type Identified interface{ Identity() (string, error) }

// ProgramFile names the programs that have worked on a run with a cache, a CodeVersion a line: a grid of runs takes none over that another
// program computed.
const ProgramFile = "program"

func (s *Session) noteProgram() error {
	version, err := CodeVersion()
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	before, err := os.ReadFile(s.Run.Path(ProgramFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) || slices.Contains(strings.Fields(string(before)), version) {
		return err
	}
	return s.Run.WriteAtomic(ProgramFile, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s%s\n", before, version)
		return err
	})
}

// nodeKeys names every node of the plan by content. A node's method is described by its settings, so a method whose source, grader or Keep
// depends on anything else must have a setting for it, or be Identified.
func (s *Session) nodeKeys() ([]string, error) {
	version, err := CodeVersion()
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	common := s.Common
	common.Name, common.Runs, common.Cache, common.Checkpoint, common.Slots = "", "", "", CheckpointConfig{}, 0
	common.Precision = s.Engine.Info().Precision // what it is here, not what was asked for
	shared, err := config.Marshal(&common)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	keys := make([]string, len(s.Plan.Nodes))
	byName := map[string]string{}
	before := version + "\n" + s.Start + "\n" + string(shared) + "\n" + s.asked()
	if before, err = withFiles(before); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	for i := range s.Plan.Nodes {
		n := &s.Plan.Nodes[i]
		desc := struct {
			Before, From, Name         string
			Kind                       NodeKind
			Method                     string
			Settings, Identity         string
			Steps, Passes, Minibatches int
			Optim                      Optim
			Params                     engine.Params
		}{before, byName[n.From], n.Name, n.Kind, fmt.Sprintf("%T", n.Method), "", "", n.Steps, n.Passes, n.Minibatches, n.Optim, n.Params}
		if n.Method != nil {
			settings, err := config.Marshal(n.Method)
			if err != nil {
				return nil, fmt.Errorf("cache: settings of node %s: %w", n.Name, err)
			}
			if desc.Settings, err = withFiles(string(settings)); err != nil {
				return nil, fmt.Errorf("cache: settings of node %s: %w", n.Name, err)
			}
		}
		if m, ok := n.Method.(Identified); ok {
			if desc.Identity, err = m.Identity(); err != nil {
				return nil, fmt.Errorf("cache: model of node %s: %w", n.Name, err)
			}
		}
		b, err := json.Marshal(desc)
		if err != nil {
			return nil, fmt.Errorf("cache: node %s: %w", n.Name, err)
		}
		sum := sha256.Sum256(b)
		keys[i] = hex.EncodeToString(sum[:16])
		before, byName[n.Name] = keys[i], keys[i]
	}
	return keys, nil
}

// asked is the hash of what the suites ask: which task is evaluated may follow from a method's settings, so the settings above do not tell.
func (s *Session) asked() string {
	sum := sha256.New()
	for _, suite := range s.Suites {
		fmt.Fprintf(sum, "%q\n", suite.Name)
		for _, p := range suite.Problems {
			fmt.Fprintf(sum, "%s %q %q\n", p.ID, p.Question, p.Answer)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// withFiles adds the hash of every file that settings name (data: rows.jsonl, task: gsm8k?path=FILE): an edited file is another stage.
func withFiles(settings string) (string, error) {
	out := settings
	for _, word := range strings.FieldsFunc(settings, func(r rune) bool { return strings.ContainsRune(" \n\"'?&=,", r) }) {
		info, err := os.Stat(word)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		sum := sha256.New()
		if err := copyFrom(word, sum); err != nil {
			return "", err
		}
		out += "\n" + word + " " + hex.EncodeToString(sum.Sum(nil))
	}
	for _, m := range folders.FindAllStringSubmatch(settings, -1) {
		if info, err := os.Stat(m[1]); err != nil || !info.IsDir() {
			continue
		}
		sum := sha256.New()
		err := filepath.WalkDir(m[1], func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			fmt.Fprintf(sum, "%q\n", path)
			return copyFrom(path, sum)
		})
		if err != nil {
			return "", err
		}
		out += "\n" + m[1] + " " + hex.EncodeToString(sum.Sum(nil))
	}
	return out, nil
}

// folders finds the folders that tasks read: bfcl?path=FOLDER.
var folders = regexp.MustCompile(`\bpath=([^&,\s"']+)`)

// fromCache takes a finished node over, if the cache has it.
func (s *Session) fromCache(ctx context.Context, n *Node, key string) (bool, error) {
	dir := filepath.Join(s.Common.Cache, key)
	b, err := os.ReadFile(filepath.Join(dir, "cached.json"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	var m cacheManifest
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return false, fmt.Errorf("cache %s: %w: remove that folder and resume", dir, err)
	}
	if m.Weights {
		if err := s.takeWeights(ctx, n, m.End, filepath.Join(dir, "engine.state")); err != nil {
			return false, err
		}
	}
	for i, file := range m.Files {
		rows, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(string(rows)) {
			row := strings.TrimSuffix(line, "\n")
			if err := s.Run.Append(file, json.RawMessage(row)); err != nil {
				return false, err
			}
			var m run.Metrics
			if file == run.MetricsFile && json.Unmarshal([]byte(row), &m) == nil {
				s.watch.Add(m) // warnings of later stages speak of these, too
			}
		}
	}
	s.since = map[string][]bool{}
	for suite, correct := range m.Correct {
		s.since[suite] = correct
	}
	s.Display.Line(fmt.Sprintf("%-8s taken from %s", n.Name, dir))
	return true, s.next(ctx)
}

// takeWeights makes the cached end of a node the run's own.
func (s *Session) takeWeights(ctx context.Context, n *Node, end int, file string) error {
	s.ends[n.Name] = end
	err := s.Run.SaveCheckpoint(n.Name, end, func(dir string) error {
		return run.WriteAtomic(filepath.Join(dir, "engine.state"), func(w io.Writer) error { return copyFrom(file, w) })
	})
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.Engine.LoadWeights(ctx, f)
}

func copyFrom(file string, w io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// toCache keeps a node that has just ended. sizes are the lengths of the run's files when it began. Two runs may end the same node at the
// same time: the first one's folder stays.
func (s *Session) toCache(n *Node, key string, sizes map[string]int64) error {
	if err := s.Run.Sync(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Common.Cache, 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(s.Common.Cache, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	m := cacheManifest{Node: n.Name, Correct: s.since, Weights: n.trains(), End: s.ends[n.Name]}
	for _, file := range sortedFiles(s.Run.Sizes()) {
		b, err := os.ReadFile(s.Run.Path(file))
		if err != nil {
			return err
		}
		if b = b[sizes[file]:]; file == run.TimingFile {
			b = withoutEvents(b)
		}
		if len(b) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(tmp, fmt.Sprint(len(m.Files))), b, 0o666); err != nil {
			return err
		}
		m.Files = append(m.Files, file)
	}
	if m.Weights {
		f, err := os.Create(filepath.Join(tmp, "engine.state"))
		if err != nil {
			return err
		}
		if err := errors.Join(copyFrom(filepath.Join(s.Run.CheckpointDir(n.Name, m.End), "engine.state"), f), f.Close()); err != nil {
			return err
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "cached.json"), b, 0o666); err != nil {
		return err
	}
	dir := filepath.Join(s.Common.Cache, key)
	if err := os.Rename(tmp, dir); err != nil {
		if _, have := os.Stat(filepath.Join(dir, "cached.json")); have == nil {
			return nil
		}
		return err
	}
	return nil
}

// withoutEvents drops the rows that say when a run was started or stopped: they are this run's own.
func withoutEvents(b []byte) []byte {
	var out []byte
	for line := range strings.Lines(string(b)) {
		var row struct{ Kind string }
		if json.Unmarshal([]byte(line), &row) == nil && row.Kind != run.KindEvent {
			out = append(out, line...)
		}
	}
	return out
}

func sortedFiles(sizes map[string]int64) []string { return slices.Sorted(maps.Keys(sizes)) }
