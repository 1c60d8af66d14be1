//go:build linux

package recipe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
	"github.com/hone-lm/hone/train"
)

// screen keeps what is shown and calls back when the run pauses.
type screen struct {
	mu     sync.Mutex
	text   bytes.Buffer
	paused func()
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused != nil && bytes.Contains(b, []byte("the run pauses")) {
		s.paused()
	}
	return s.text.Write(b)
}

func (s *screen) count(what string) int { return strings.Count(s.text.String(), what) }

// A disk that is full when a state is written makes the run pause and say so, once; it goes on by itself to the bytes of one that had room.
func TestFullDisk(t *testing.T) {
	s := launch(t, "sft", t.TempDir())
	out := &screen{}
	s.Display, s.PollDisk = progress.New(out), time.Millisecond
	if err := os.Symlink("/dev/full", s.Run.Path("."+train.StateFile+".writing")); err != nil { // goes with the write that fails
		t.Fatal(err)
	}
	dir := exec(t, s)
	if out.count("the run pauses: ") != 1 || out.count("there is room again") != 1 || out.count("no space left on the disk") != 1 {
		t.Errorf("%s", &out.text)
	}
	sameBytes(t, whole(t, "sft"), dir)
}

// noRoom is an engine whose states find no room from the third on.
type noRoom struct {
	*local.Engine
	saves int
}

func (e *noRoom) Save(ctx context.Context, w io.Writer) error {
	if e.saves++; e.saves > 2 {
		if _, err := w.Write([]byte("half")); err != nil {
			return err
		}
		return syscall.ENOSPC
	}
	return e.Engine.Save(ctx, w)
}

// While the run waits for room Ctrl-C stops it: the last state is whole, and the run goes on from it.
func TestFullDiskInterrupted(t *testing.T) {
	root := t.TempDir()
	s := launch(t, "sft", root)
	s.Engine = &noRoom{Engine: s.Engine.(*local.Engine)}
	s.Display, s.PollDisk = progress.New(&screen{paused: s.Interrupt}), time.Millisecond
	good := ""
	s.Run.Failpoint = func(name string) {
		if name == "state:renamed" {
			good = read(t, s.Run.Dir, train.StateFile)
		}
	}
	err := s.Exec(context.Background())
	if !errors.Is(err, run.ErrDiskFull) || errors.Is(err, train.ErrInterrupted) || !strings.Contains(err.Error(), "stopped while there is no room") {
		t.Errorf("%v", err)
	}
	if good == "" || read(t, s.Run.Dir, train.StateFile) != good {
		t.Error("the last state is not whole")
	}
	if left, _ := filepath.Glob(filepath.Join(s.Run.Dir, "*", ".*.writing")); len(left) > 0 {
		t.Errorf("half written files are left: %v", left)
	}
	if err := s.Run.Close(); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, whole(t, "sft"), exec(t, launch(t, "sft", root)))
}

// On a small file system of its own: a run that cannot have room enough is refused before it begins, and one whose disk others fill pauses
// until they clear up.
func TestFullFileSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=80m"); err != nil {
		t.Skipf("needs the right to mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	refused := launch(t, "sft", filepath.Join(root, "refused"), "steps=90", "checkpoint.keep_last=0")
	if err := refused.Exec(context.Background()); !errors.Is(err, run.ErrDiskFull) || !strings.Contains(err.Error(), "keep fewer checkpoints (keep_last)") {
		t.Errorf("%v", err)
	}
	refused.Run.Close()
	if err := os.RemoveAll(filepath.Join(root, "refused")); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(root, "filler")
	s := launch(t, "sft", filepath.Join(root, "runs"), "checkpoint.keep_last=1")
	states := 0
	s.Run.Failpoint = func(name string) { // after the second state others fill the disk
		if name != "state:renamed" {
			return
		}
		if states++; states != 2 {
			return
		}
		f, err := os.Create(filler)
		for block := make([]byte, 1<<16); err == nil; {
			_, err = f.Write(block)
		}
		f.Close()
	}
	out := &screen{paused: func() { os.Remove(filler) }}
	s.Display, s.PollDisk = progress.New(out), time.Millisecond
	dir := exec(t, s)
	if states != 3 {
		t.Errorf("%d states", states)
	}
	if out.count("the run pauses: ") != 1 || out.count("there is room again") != 1 {
		t.Errorf("%s", &out.text)
	}
	sameBytes(t, whole(t, "sft", "checkpoint.keep_last=1"), dir)
}
