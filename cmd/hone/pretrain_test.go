package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestPretrainNano(t *testing.T) {
	out := filepath.Join(t.TempDir(), "nano")
	if code, _, errOut := runHone(t, "pretrain", "nano", "--steps=-1", "--out", out); code != 2 || !strings.Contains(errOut, "--steps -1") {
		t.Errorf("negative steps: exit status %d, %s", code, errOut)
	}
	if testing.Short() {
		t.Skip("trains two models for a step each")
	}
	first := runJSON[pretrained](t, "pretrain", "nano", "--steps", "1", "--out", out)
	if first.Same || first.SHA256 == first.Embedded || len(first.SHA256) != 64 || first.Steps != 1 || first.Loss < 5 || first.Loss > 7 {
		t.Errorf("one step: %+v; want other weights than the embedded ones and the loss of an untrained model", first)
	}
	if code, _, errOut := runHone(t, "pretrain", "nano", "--steps", "1", "--out", out); code != 2 || !strings.Contains(errOut, "is not empty") {
		t.Errorf("writing over a folder: exit status %d, %s", code, errOut)
	}
	if again := runJSON[pretrained](t, "pretrain", "nano", "--steps", "1", "--out", out, "--force"); again.SHA256 != first.SHA256 {
		t.Errorf("the same step again gives sha256 %s, not %s", again.SHA256, first.SHA256)
	}
}
