package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

const (
	flushBytes   = 64 << 10
	flushSeconds = 1 // rows become visible to other programs this often, at the next Append
)

// An appendFile keeps rows that are not on disk yet. Rows are written at a known offset, so a write that failed halfway (full disk)
// is repeated over its own remains.
type appendFile struct {
	size    int64 // bytes that are surely in the file
	pending []byte
	dirty   bool // written since the last fsync
	fresh   bool // created since the last fsync of its folder
	flushed time.Time
}

// findAppendFiles takes stock of the append-only files of a run that existed before. A last row that was cut off by a kill counts:
// Truncate removes it.
func (r *Run) findAppendFiles() error {
	r.files = map[string]*appendFile{}
	return filepath.WalkDir(r.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == CheckpointsDir && filepath.Dir(p) == r.Dir {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".jsonl") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(r.Dir, p)
		if err != nil {
			return err
		}
		r.files[filepath.ToSlash(rel)] = &appendFile{size: info.Size()}
		return nil
	})
}

// Append adds v as one row of JSON to an append-only file: MetricsFile, "rollouts/grpo.jsonl" ... The bytes depend on v alone: fields
// in the order of the struct, keys of maps sorted, no HTML escapes. Numbers that are not finite are an error; Float writes them as null.
// Rows are buffered until Sync. When the disk is full (ErrDiskFull) and Full does not wait, the row is kept in memory: free some space, then
// call Sync.
func (r *Run) Append(file string, v any) error {
	var row bytes.Buffer
	enc := json.NewEncoder(&row)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("%s: row of type %T: %w", r.Path(file), v, err)
	}
	if file != path.Clean(file) || path.IsAbs(file) || strings.HasPrefix(file, "../") || path.Ext(file) != ".jsonl" || strings.HasPrefix(file, CheckpointsDir+"/") {
		return fmt.Errorf("%s: an append-only file is a relative path that ends in .jsonl, outside %s", file, CheckpointsDir)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock == nil {
		return fmt.Errorf("%s: %w", r.Path(file), errReadOnly)
	}
	f := r.files[file]
	if f == nil {
		f = &appendFile{fresh: true, flushed: time.Now()}
		r.files[file] = f
	}
	f.pending = append(f.pending, row.Bytes()...)
	if len(f.pending) < flushBytes && time.Since(f.flushed) < flushSeconds*time.Second {
		return nil
	}
	return r.flush(file, f, false)
}

// flush brings the file to disk, and with sync past the operating system's cache.
func (r *Run) flush(file string, f *appendFile, sync bool) error {
	return r.roomy(func() error { return r.write(file, f, sync) })
}

// roomy repeats a write that finds the disk full, as long as Full says so.
func (r *Run) roomy(write func() error) error {
	err := write()
	for waited := false; r.Full != nil; err = write() {
		if err == nil && waited {
			return r.Full(nil)
		}
		if !errors.Is(err, ErrDiskFull) {
			return err
		}
		if give := r.Full(err); give != nil {
			return give
		}
		waited = true
	}
	return err
}

// write is one try of flush. After an error what is pending is still pending.
func (r *Run) write(file string, f *appendFile, sync bool) (err error) {
	if len(f.pending) == 0 && !(sync && f.dirty) {
		return nil
	}
	name := r.Path(file)
	if f.fresh {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return diskError(err)
		}
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return diskError(err)
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = diskError(e)
		}
	}()
	if len(f.pending) > 0 {
		if _, err := out.WriteAt(f.pending, f.size); err != nil {
			return diskError(err)
		}
		f.size += int64(len(f.pending))
		f.pending, f.dirty, f.flushed = f.pending[:0], true, time.Now()
	}
	if !sync {
		return nil
	}
	if err := out.Sync(); err != nil {
		return diskError(err)
	}
	f.dirty = false
	if f.fresh {
		f.fresh = false
		return diskError(syncDir(filepath.Dir(name)))
	}
	return nil
}

// flushOne shows the buffered rows of a file to this process's own readers.
func (r *Run) flushOne(file string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.files[file]; f != nil && r.lock != nil {
		return r.flush(file, f, false)
	}
	return nil
}

// Sync makes every row that was appended so far safe on disk. After ErrDiskFull it may be called again.
func (r *Run) Sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock == nil {
		return nil
	}
	for _, file := range sortedKeys(r.files) {
		if err := r.flush(file, r.files[file], true); err != nil {
			return err
		}
	}
	return nil
}

// Sizes returns the length in bytes of every append-only file, buffered rows included. Call Sync, then Sizes, then write the state
// file that holds them.
func (r *Run) Sizes() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	sizes := make(map[string]int64, len(r.files))
	for file, f := range r.files {
		sizes[file] = f.size + int64(len(f.pending))
	}
	return sizes
}

// Truncate cuts every append-only file back to the given length and removes those that are not named: they began after the state
// that is being resumed. Only the first row of timing.jsonl, which says when the run was created, always stays. A nil map means
// the beginning of the run. A file shorter than its length is an error, and then nothing is cut.
func (r *Run) Truncate(sizes map[string]int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock == nil {
		return fmt.Errorf("%s: %w", r.Dir, errReadOnly)
	}
	if err := r.findAppendFiles(); err != nil { // drops what is buffered: it belongs to the future that is cut off
		return err
	}
	for _, file := range sortedKeys(sizes) {
		have := int64(-1)
		if f := r.files[file]; f != nil {
			have = f.size
		}
		if want := sizes[file]; have < want {
			return fmt.Errorf("%s: has %d bytes where the state file says %d: it was changed after the run stopped; restore it, or start a new run", r.Path(file), max(have, 0), want)
		}
	}
	for _, file := range sortedKeys(r.files) {
		f := r.files[file]
		want, named := sizes[file]
		if file == TimingFile {
			first, err := firstRow(r.Path(file))
			if err != nil {
				return err
			}
			want, named = max(want, first), true
		}
		if !named {
			if err := os.Remove(r.Path(file)); err != nil {
				return err
			}
			delete(r.files, file)
			continue
		}
		if err := os.Truncate(r.Path(file), want); err != nil {
			return diskError(err)
		}
		f.size, f.dirty = want, true
	}
	return nil
}

// firstRow returns the length of a file's first row, 0 if it has none.
func firstRow(name string) (int64, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return int64(bytes.IndexByte(data, '\n') + 1), err
}
