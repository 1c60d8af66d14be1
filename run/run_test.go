package run

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func create(t testing.TB, root, name string) *Run {
	t.Helper()
	r, err := Create(root, name, []byte("recipe: "+name+"\nseed: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, wanted one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	root := t.TempDir()
	a, b := create(t, root, "sft"), create(t, root, "sft")
	if a.ID == b.ID || b.ID != a.ID+"-2" || !strings.HasPrefix(a.ID, "sft-") {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
	for _, name := range []string{"", "../x", "a b", "A", ".hidden"} {
		if _, err := Create(root, name, nil); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	ids, err := List(root)
	check(t, err)
	if !slices.Equal(ids, []string{a.ID, b.ID}) {
		t.Errorf("list %v", ids)
	}
}

func TestOpen(t *testing.T) {
	root := t.TempDir()
	_, err := Open(root, "x")
	wantError(t, err, "no runs yet")
	a, b := create(t, root, "sft"), create(t, root, "grpo")
	for id, want := range map[string]string{a.ID: a.ID, "sf": a.ID, b.ID: b.ID, "grpo": b.ID, filepath.Join(root, b.ID): b.ID, root + "/gr": b.ID} {
		r, err := Open(root, id)
		check(t, err)
		if r.ID != want {
			t.Errorf("Open(%q) is %s, want %s", id, r.ID, want)
		}
	}
	_, err = Open(root, "gripo-1234")
	wantError(t, err, "gripo-1234", "did you mean "+b.ID)
	if !errors.Is(err, ErrNotFound) {
		t.Error("not ErrNotFound")
	}
	c := create(t, root, "sft")
	_, err = Open(root, "sft")
	wantError(t, err, a.ID, c.ID, "write more")
	r, err := Open(root, a.ID)
	check(t, err)
	if err := r.Append(MetricsFile, 1); !errors.Is(err, errReadOnly) {
		t.Errorf("a run opened for reading took a row: %v", err)
	}
}

func TestLock(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" && runtime.GOOS != "windows" {
		t.Skip("no locks on this system")
	}
	r := create(t, t.TempDir(), "sft")
	other := &Run{ID: r.ID, Dir: r.Dir}
	if err := other.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if !r.Running() || !other.Running() {
		t.Error("a locked run does not count as running")
	}
	check(t, r.Close())
	if other.Running() {
		t.Error("a closed run counts as running")
	}
	check(t, other.Lock())
	check(t, other.Close())
}

func TestMetricsRow(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	m := Metrics{Stage: "sft", Step: 20, Kind: KindTrain, Values: []Value{{"loss", 0.5}, {"a<b", math.Inf(1)}, {"tokens", 1e6}, {"tiny", 1e-9}}}
	check(t, r.Metrics(m))
	check(t, r.Metrics(Metrics{Stage: "sft", Step: 21, Kind: KindNote, Text: "stopped early"}))
	got, err := r.ReadMetrics(MetricsFile)
	check(t, err)
	data, err := os.ReadFile(r.Path(MetricsFile))
	check(t, err)
	want := `{"stage":"sft","step":20,"kind":"train","loss":0.5,"a<b":null,"tokens":1000000,"tiny":1e-9}` + "\n" +
		`{"stage":"sft","step":21,"kind":"note","text":"stopped early"}` + "\n"
	if string(data) != want {
		t.Errorf("got  %swant %s", data, want)
	}
	if len(got) != 2 || got[0].Values[2] != m.Values[2] || !math.IsNaN(got[0].Values[1].V) || got[1].Text != "stopped early" {
		t.Errorf("read back %+v", got)
	}
	for _, bad := range [][]Value{{{"loss", 1}, {"loss", 2}}, {{"step", 1}}, {{"", 1}}} {
		wantError(t, r.Metrics(Metrics{Stage: "sft", Kind: KindTrain, Values: bad}), "metrics of stage sft")
	}
	wantError(t, r.Append(MetricsFile, math.NaN()), "NaN")
	for _, name := range []string{"../x.jsonl", "metrics.txt", "/x.jsonl", "checkpoints/x.jsonl"} {
		wantError(t, r.Append(name, 1), "append-only")
	}
}

func TestReadMetricsDamaged(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	check(t, os.WriteFile(r.Path(MetricsFile), []byte(`{"stage":"a","step":1,"kind":"train"}`+"\n"+`{"stage":"a","st`), 0o666))
	rows, err := r.ReadMetrics(MetricsFile)
	if err != nil || len(rows) != 1 {
		t.Errorf("a row cut off by a kill: %v, %v", rows, err)
	}
	check(t, os.WriteFile(r.Path(MetricsFile), []byte("{}\n{\"step\":\"x\"}\n"), 0o666))
	_, err = r.ReadMetrics(MetricsFile)
	wantError(t, err, "metrics.jsonl:2:")
}

// Append, take sizes, append more, cut back: every byte is as it was when the sizes were taken, whatever was appended, flushed or
// killed in between, and appending again what was cut gives what was there.
func TestTruncate(t *testing.T) {
	files := []string{MetricsFile, TimingFile, "rollouts/a.jsonl", "rollouts/b.jsonl", "samples/a.jsonl"}
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(t.TempDir(), "")
		check(t, err)
		r := create(t, root, "sft")
		type row struct {
			File string
			Text string
		}
		gen := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			text := rapid.StringN(0, 12, -1).Draw(t, "text")
			if rapid.Bool().Draw(t, "long") {
				text = strings.Repeat(text, 9000)
			}
			return row{rapid.SampledFrom(files).Draw(t, "file"), text}
		}), 0, 30)
		add := func(rows []row) {
			for _, x := range rows {
				check(t, r.Append(x.File, x))
			}
		}
		first, second := gen.Draw(rt, "first"), gen.Draw(rt, "second")
		add(first)
		check(t, r.Sync())
		before, sizes := contents(t, r), r.Sizes()
		for file, size := range sizes {
			if int64(len(before[file])) != size {
				rt.Fatalf("%s has %d bytes, Sizes says %d", file, len(before[file]), size)
			}
		}
		add(second)
		check(t, r.Sync())
		whole := contents(t, r)
		if rapid.Bool().Draw(rt, "reopen") { // as another process would
			check(t, r.Close())
			r = &Run{ID: r.ID, Dir: r.Dir}
			check(t, r.Lock())
			defer r.Close()
		}
		add(second[:len(second)/2]) // buffered, belongs to no state
		check(t, r.Truncate(sizes))
		if got := contents(t, r); !same(got, before) {
			rt.Fatalf("after the cut: %v, before: %v", keys(got), keys(before))
		}
		add(second)
		check(t, r.Sync())
		if got := contents(t, r); !same(got, whole) {
			rt.Fatal("appending again what was cut gave other bytes")
		}
	})
}

func contents(t testing.TB, r *Run) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.jsonl", "*/*.jsonl"} {
		names, err := filepath.Glob(r.Path(pattern))
		check(t, err)
		for _, n := range names {
			data, err := os.ReadFile(n)
			check(t, err)
			rel, err := filepath.Rel(r.Dir, n)
			check(t, err)
			all[filepath.ToSlash(rel)] = string(data)
		}
	}
	return all
}

func keys(m map[string]string) []string { return sortedKeys(m) }

func same(a, b map[string]string) bool {
	if !slices.Equal(keys(a), keys(b)) {
		return false
	}
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

func TestTruncateEdges(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	created, err := os.ReadFile(r.Path(TimingFile))
	check(t, err)
	check(t, r.Append(MetricsFile, 1))
	check(t, r.Append("rollouts/x.jsonl", 1))
	check(t, r.Event("started"))
	check(t, r.Sync())
	check(t, r.Truncate(nil))
	if got := contents(t, r); len(got) != 1 || got[TimingFile] != string(created) {
		t.Errorf("cut to the beginning: %q", got)
	}
	check(t, r.Append(MetricsFile, 1))
	check(t, r.Sync())
	wantError(t, r.Truncate(map[string]int64{MetricsFile: 1, "rollouts/x.jsonl": 9}), "rollouts", "x.jsonl", "state file says 9")
	if got := contents(t, r); got[MetricsFile] != "1\n" {
		t.Errorf("a refused cut changed %q", got)
	}
}

func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	r := create(t, t.TempDir(), "sft")
	check(t, os.Symlink("/dev/full", r.Path(MetricsFile)))
	check(t, r.Append(MetricsFile, "kept"))
	for range 2 {
		if err := r.Sync(); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("Sync on a full disk: %v", err)
		}
	}
	check(t, os.Remove(r.Path(MetricsFile))) // somebody makes room
	check(t, r.Append(MetricsFile, "next"))
	check(t, r.Sync())
	if got := contents(t, r)[MetricsFile]; got != "\"kept\"\n\"next\"\n" {
		t.Errorf("after the pause: %q", got)
	}
	err := r.WriteAtomic("state", func(w io.Writer) error { return &os.PathError{Op: "write", Path: "state", Err: ErrDiskFull} })
	if !errors.Is(err, ErrDiskFull) {
		t.Errorf("WriteAtomic: %v", err)
	}
}

func TestSpace(t *testing.T) {
	free, ok := Free(t.TempDir())
	if !ok {
		t.Skip("this system does not tell")
	}
	if free <= 0 {
		t.Errorf("%d bytes free", free)
	}
	check(t, CheckSpace(t.TempDir(), 1))
	if err := CheckSpace(t.TempDir(), 1<<60); !errors.Is(err, ErrDiskFull) {
		t.Errorf("an exbibyte fits: %v", err)
	}
}

func TestHash(t *testing.T) {
	a, b := create(t, t.TempDir(), "sft"), create(t, t.TempDir(), "grpo")
	hash := func(r *Run) string {
		t.Helper()
		h, err := r.Hash(MetricsFile, "rollouts/*.jsonl")
		check(t, err)
		return h
	}
	for _, r := range []*Run{a, b} {
		check(t, r.Append(MetricsFile, 1))
		check(t, r.Append("rollouts/x.jsonl", 2))
	}
	if hash(a) != hash(b) {
		t.Error("same files, different hashes")
	}
	before := hash(b)
	check(t, b.Append("rollouts/y.jsonl", 2))
	if hash(b) == before {
		t.Error("one more file, same hash")
	}
	_, err := a.Hash("weights")
	wantError(t, err, "weights", "does not exist")
}
