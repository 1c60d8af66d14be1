package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteAtomic replaces the file at path by what write produces, so that whoever opens it, at any moment and after any crash, finds
// the whole old or the whole new content. The temporary file is in the same folder, because a rename is atomic only within a file
// system; it is removed when anything fails.
func WriteAtomic(path string, write func(io.Writer) error) error {
	return writeAtomic(path, write, nil)
}

// WriteAtomic is the function of that name for a file of the run, with the run's Failpoint. When the disk is full and Full waits, write is called
// again from the beginning.
func (r *Run) WriteAtomic(rel string, write func(io.Writer) error) error {
	return r.roomy(func() error { return writeAtomic(r.Path(rel), write, r.Failpoint) })
}

// WriteFile writes a small file of the run atomically.
func (r *Run) WriteFile(rel string, data []byte) error {
	return r.WriteAtomic(rel, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func writeAtomic(path string, write func(io.Writer) error, failpoint func(string)) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return diskError(err)
	}
	// A fixed name: what a killed process left behind is overwritten instead of piling up.
	temp := filepath.Join(dir, "."+base+".writing")
	f, err := os.Create(temp)
	if err != nil {
		return diskError(err)
	}
	closed := false
	defer func() {
		if err != nil {
			if !closed {
				f.Close()
			}
			os.Remove(temp)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return wrote(path, err)
	}
	if err := w.Flush(); err != nil {
		return wrote(path, err)
	}
	if err := f.Sync(); err != nil {
		return wrote(path, err)
	}
	closed = true
	if err := f.Close(); err != nil {
		return wrote(path, err)
	}
	if failpoint != nil {
		failpoint(base + ":written")
	}
	if err := os.Rename(temp, path); err != nil {
		return wrote(path, err)
	}
	if failpoint != nil {
		failpoint(base + ":renamed")
	}
	return wrote(path, syncDir(dir))
}

func wrote(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write %s: %w", path, diskError(err))
}

// diskError adds ErrDiskFull to an error that means it.
func diskError(err error) error {
	if err == nil || errors.Is(err, ErrDiskFull) || !isDiskFull(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDiskFull, err)
}

// Free returns the bytes that this user may still write on the file system of path; ok is false where the system does not say.
func Free(path string) (bytes int64, ok bool) { return freeBytes(path) }

// CheckSpace compares the bytes that a run is going to write at most with what is free, before the run begins. It passes where the
// free space is unknown.
func CheckSpace(path string, need int64) error {
	free, ok := Free(path)
	if !ok || need <= free {
		return nil
	}
	return fmt.Errorf("%s: the run may write %.1f MiB and %.1f MiB are free: %w; free some space, or keep fewer checkpoints (keep_last)",
		path, float64(need)/(1<<20), float64(free)/(1<<20), ErrDiskFull)
}
