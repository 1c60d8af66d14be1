//go:build linux

package run

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// full makes writes to a path fail as on a full disk: /dev/full refuses every byte.
func full(t *testing.T, path string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o777))
	check(t, os.Symlink("/dev/full", path))
}

// A full disk makes every kind of write wait for room and go on with nothing lost, nothing doubled and nothing half written.
func TestFullDiskWaits(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	calls, over := 0, 0
	repair := ""
	r.Full = func(err error) error {
		if err == nil {
			over++
			return nil
		}
		calls++
		if !errors.Is(err, ErrDiskFull) || calls > 3 {
			t.Errorf("call %d: %v", calls, err)
			return err
		}
		if calls == 3 && repair != "" {
			check(t, os.Remove(repair))
		}
		return nil
	}
	want := func(name string) {
		t.Helper()
		if calls == 0 || over != 1 {
			t.Errorf("%s: waited %d times, went on %d times", name, calls, over)
		}
		calls, over, repair = 0, 0, ""
	}

	rows := r.Path("rollouts/x.jsonl")
	repair = rows
	full(t, rows)
	for i := range 3 {
		check(t, r.Append("rollouts/x.jsonl", i))
	}
	check(t, r.Sync())
	want("append")
	if b, err := os.ReadFile(rows); err != nil || string(b) != "0\n1\n2\n" {
		t.Errorf("rows %q, %v", b, err)
	}

	full(t, r.Path(".state.writing")) // goes with the first try
	check(t, r.WriteFile("state", []byte("whole")))
	want("atomic write")
	if b, err := os.ReadFile(r.Path("state")); err != nil || string(b) != "whole" {
		t.Errorf("state %q, %v", b, err)
	}

	tries := 0
	check(t, r.SaveCheckpoint("sft", 3, func(dir string) error {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("try %d begins in a folder with %v, %v", tries, entries, err)
		}
		if tries++; tries == 1 {
			full(t, filepath.Join(dir, ".b.writing"))
		}
		check(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o666))
		return WriteAtomic(filepath.Join(dir, "b"), func(w io.Writer) error {
			_, err := w.Write([]byte("b"))
			return err
		})
	}))
	want("checkpoint")
	if all, err := r.Checkpoints(); err != nil || len(all) != 1 || tries != 2 {
		t.Errorf("%v, %v after %d tries", all, err, tries)
	}
	left := 0
	check(t, filepath.WalkDir(r.Dir, func(p string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(p, ".writing") || strings.HasSuffix(p, ".removing") {
			left++
		}
		return err
	}))
	if left > 0 {
		t.Errorf("%d temporary files are left", left)
	}
}

// Full may give up: its error is the write's, rows stay in memory, and other errors do not wait.
func TestFullDiskGivesUp(t *testing.T) {
	r := create(t, t.TempDir(), "sft")
	file := r.Path("rollouts/x.jsonl")
	full(t, file)
	stop := errors.New("stopped")
	r.Full = func(error) error { return stop }
	check(t, r.Append("rollouts/x.jsonl", 1))
	if err := r.Sync(); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	check(t, os.Remove(file))
	check(t, r.Sync())
	if b, err := os.ReadFile(file); err != nil || string(b) != "1\n" {
		t.Errorf("rows %q, %v", b, err)
	}
	if err := r.SaveCheckpoint("sft", 1, func(string) error { return syscall.ENOSPC }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	if err := r.SaveCheckpoint("sft", 1, func(string) error { return syscall.EIO }); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	if all, err := r.Checkpoints(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}
