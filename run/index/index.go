// Package index answers questions about many runs quickly: an SQLite database over the run folders of one root. The folders are the
// truth; the database may be deleted at any time and is made anew. Runs that changed are read again before every answer.
package index

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/hone-lm/hone/run"
)

// File is the database's name within the root of the runs.
const File = ".index.sqlite"

const version = 1 // of the schema: another one in the file means rebuild

const schema = `
CREATE TABLE runs (
	id TEXT PRIMARY KEY, stamp TEXT, recipe TEXT, model TEXT, event TEXT, created REAL, seconds REAL, stage TEXT, step INTEGER, steps INTEGER,
	best TEXT, best_value REAL, best_stage TEXT, best_step INTEGER, problem TEXT);
CREATE TABLE config (run TEXT, n INTEGER, name TEXT, value TEXT, PRIMARY KEY (run, n));
CREATE TABLE final (run TEXT, n INTEGER, stage TEXT, kind TEXT, name TEXT, step INTEGER, value REAL, PRIMARY KEY (run, n));`

// Index is an open index.
type Index struct {
	root string
	db   *sql.DB
}

// Open opens the index of the runs under root. A database that is missing, damaged or of another version is made anew; where root
// cannot be written to, it is kept in memory.
func Open(root string) (*Index, error) {
	name := filepath.Join(root, File)
	x := &Index{root: root}
	if x.open(name) == nil {
		return x, nil
	}
	for _, end := range []string{"", "-journal", "-wal", "-shm"} {
		os.Remove(name + end)
	}
	if x.open(name) == nil {
		return x, nil
	}
	if err := x.open(":memory:"); err != nil {
		return nil, fmt.Errorf("index of %s: %w", root, err)
	}
	return x, nil
}

func (x *Index) open(name string) error {
	if name != ":memory:" {
		name = "file:" + filepath.ToSlash(name) + "?_pragma=busy_timeout(5000)&_pragma=synchronous(off)"
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1) // also what keeps a database in memory alive
	if err := prepare(db); err != nil {
		db.Close()
		return err
	}
	x.db = db
	return nil
}

func prepare(db *sql.DB) error {
	var check string
	if err := db.QueryRow("PRAGMA quick_check(1)").Scan(&check); err != nil || check != "ok" {
		return fmt.Errorf("damaged: %s, %w", check, err)
	}
	var have int
	if err := db.QueryRow("PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have == version {
		return nil
	}
	if have != 0 {
		return fmt.Errorf("schema %d", have)
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec(schema + fmt.Sprintf("PRAGMA user_version = %d;", version)); err != nil {
		return err
	}
	return tx.Commit()
}

// Close closes the database.
func (x *Index) Close() error { return x.db.Close() }

// Entry is one run of a listing.
type Entry struct {
	ID, Recipe, Model string
	Status            string // see run.Running and its neighbours
	Created           time.Time
	Seconds           float64 // wall time of its steps
	Stage             string  // the last stage that was reached
	Step              int     // steps of that stage so far
	Steps             int     // steps of all stages so far
	Best              string  // the metric of BestValue: held-out accuracy, else held-out loss, else training loss; empty without any
	BestValue         float64
	BestStage         string
	BestStep          int
	Problem           string // why the folder could not be read; empty if it could
}

// List returns the runs, newest first.
func (x *Index) List() ([]Entry, error) {
	if err := x.Refresh(); err != nil {
		return nil, err
	}
	rows, err := x.db.Query(`SELECT id, recipe, model, event, created, seconds, stage, step, steps, best, best_value, best_stage, best_step, problem FROM runs ORDER BY created DESC, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Entry
	for rows.Next() {
		var e Entry
		var event string
		var created float64
		if err := rows.Scan(&e.ID, &e.Recipe, &e.Model, &event, &created, &e.Seconds, &e.Stage, &e.Step, &e.Steps, &e.Best, &e.BestValue, &e.BestStage, &e.BestStep, &e.Problem); err != nil {
			return nil, err
		}
		e.Created = time.UnixMilli(int64(created * 1000))
		r := run.Run{ID: e.ID, Dir: filepath.Join(x.root, e.ID)}
		e.Status = r.Status(event) // the lock can be asked only now
		all = append(all, e)
	}
	return all, rows.Err()
}

// Refresh brings the database up to date with the folders.
func (x *Index) Refresh() error {
	ids, err := run.List(x.root)
	if err != nil {
		return err
	}
	stamps, err := x.stamps()
	if err != nil {
		return err
	}
	tx, err := x.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, id := range ids {
		now := stamp(filepath.Join(x.root, id))
		if was, ok := stamps[id]; !ok || was != now {
			if err := store(tx, x.root, id, now); err != nil {
				return fmt.Errorf("index of %s: %w", id, err)
			}
		}
		delete(stamps, id)
	}
	for id := range stamps { // folders that are gone; the order does not matter
		if err := remove(tx, id); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (x *Index) stamps() (map[string]string, error) {
	rows, err := x.db.Query("SELECT id, stamp FROM runs")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stamps := map[string]string{}
	for rows.Next() {
		var id, s string
		if err := rows.Scan(&id, &s); err != nil {
			return nil, err
		}
		stamps[id] = s
	}
	return stamps, rows.Err()
}

// stamp changes whenever one of the files that the index reads does.
func stamp(dir string) string {
	var s strings.Builder
	for _, name := range []string{run.ConfigFile, run.MetricsFile, run.TimingFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			fmt.Fprintf(&s, "%d.%d ", info.Size(), info.ModTime().UnixNano())
		} else if errors.Is(err, fs.ErrNotExist) {
			s.WriteString("- ")
		}
	}
	return s.String()
}

func remove(tx *sql.Tx, id string) error {
	for _, q := range []string{"DELETE FROM runs WHERE id = ?", "DELETE FROM config WHERE run = ?", "DELETE FROM final WHERE run = ?"} {
		if _, err := tx.Exec(q, id); err != nil {
			return err
		}
	}
	return nil
}

// store reads a run's folder into the database. A folder that cannot be read is listed with its problem.
func store(tx *sql.Tx, root, id, stamp string) error {
	if err := remove(tx, id); err != nil {
		return err
	}
	s, err := summarise(&run.Run{ID: id, Dir: filepath.Join(root, id)})
	if err != nil {
		s.Problem = err.Error()
	}
	for n, kv := range s.config {
		if _, err := tx.Exec("INSERT INTO config VALUES (?,?,?,?)", id, n, kv[0], kv[1]); err != nil {
			return err
		}
	}
	for n, f := range s.final {
		var value any = f.value
		if math.IsNaN(f.value) {
			value = nil
		}
		if _, err := tx.Exec("INSERT INTO final VALUES (?,?,?,?,?,?,?)", id, n, f.stage, f.kind, f.name, f.step, value); err != nil {
			return err
		}
	}
	_, err = tx.Exec("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", id, stamp, s.Recipe, s.Model, s.event, s.created, s.Seconds, s.Stage, s.Step, s.Steps,
		s.Best, s.BestValue, s.BestStage, s.BestStep, s.Problem)
	return err
}

// finalValue is the last value of a name in a stage.
type finalValue struct {
	stage, kind, name string
	step              int
	value             float64
}

type summary struct {
	Entry
	event   string
	created float64
	config  [][2]string // dotted names and values, in the order of the file
	final   []finalValue
}

func summarise(r *run.Run) (s summary, err error) {
	config, err := r.Config()
	if err != nil {
		return s, err
	}
	var tree yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(config, &tree, yaml.UseOrderedMap()); err != nil {
		return s, fmt.Errorf("%s: %w", r.Path(run.ConfigFile), err)
	}
	flatten("", tree, &s.config)
	for _, kv := range s.config {
		switch kv[0] {
		case "recipe":
			s.Recipe = kv[1]
		case "model", "model.path":
			s.Model = kv[1]
		}
	}
	timing, err := r.ReadMetrics(run.TimingFile)
	if err != nil {
		return s, err
	}
	s.event, s.created = run.LastEvent(timing), run.Created(timing)
	for _, row := range timing {
		if v, ok := row.Get(run.Seconds); ok && row.Kind == run.KindTime && !math.IsNaN(v) {
			s.Seconds += v
		}
	}
	metrics, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		return s, err
	}
	s.progress(metrics)
	s.finals(metrics)
	s.best(metrics)
	return s, nil
}

// flatten turns a tree into lines such as optim.lr = 1e-4; lists stay whole.
func flatten(prefix string, v any, out *[][2]string) {
	tree, ok := v.(yaml.MapSlice)
	if !ok || len(tree) == 0 {
		text := ""
		switch v := v.(type) {
		case nil:
		case yaml.MapSlice:
			text = "{}"
		case []any:
			data, err := yaml.MarshalWithOptions(v, yaml.Flow(true))
			if text = strings.TrimSpace(string(data)); err != nil {
				text = fmt.Sprint(v)
			}
		default:
			text = fmt.Sprint(v)
		}
		if prefix != "" {
			*out = append(*out, [2]string{prefix, text})
		}
		return
	}
	for _, item := range tree {
		name := fmt.Sprint(item.Key)
		if prefix != "" {
			name = prefix + "." + name
		}
		flatten(name, item.Value, out)
	}
}

func (s *summary) progress(metrics []run.Metrics) {
	longest := map[string]int{}
	for _, row := range metrics {
		if was := longest[row.Stage]; row.Step > was {
			s.Steps += row.Step - was
			longest[row.Stage] = row.Step
		}
		s.Stage, s.Step = row.Stage, longest[row.Stage]
	}
}

func (s *summary) finals(metrics []run.Metrics) {
	at := map[[3]string]int{}
	for _, row := range metrics {
		if row.Kind != run.KindTrain && row.Kind != run.KindEval {
			continue
		}
		for _, v := range row.Values {
			key := [3]string{row.Stage, row.Kind, v.Name}
			i, ok := at[key]
			if !ok {
				i = len(s.final)
				at[key] = i
				s.final = append(s.final, finalValue{stage: row.Stage, kind: row.Kind, name: v.Name})
			}
			s.final[i].step, s.final[i].value = row.Step, v.V
		}
	}
}

// best finds the first of these metrics that the run has, and its best value; of equals, the earlier.
func (s *summary) best(metrics []run.Metrics) {
	for _, want := range []struct{ kind, name string }{{run.KindEval, run.Accuracy}, {run.KindEval, run.Loss}, {run.KindTrain, run.Loss}} {
		for _, row := range metrics {
			if row.Kind != want.kind {
				continue
			}
			for _, v := range row.Values {
				base := v.Name[strings.LastIndexByte(v.Name, '/')+1:]
				if base != want.name && !strings.HasSuffix(base, "_"+want.name) || math.IsNaN(v.V) {
					continue
				}
				better := v.V > s.BestValue
				if run.LowerIsBetter(want.name) {
					better = v.V < s.BestValue
				}
				if s.Best == "" || better {
					s.Best, s.BestValue, s.BestStage, s.BestStep = v.Name, v.V, row.Stage, row.Step
				}
			}
		}
		if s.Best != "" {
			return
		}
	}
}
