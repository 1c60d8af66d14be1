package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// bf16Loss is how far the loss of an update may be from PyTorch's in float64 when products are of bf16.
const bf16Loss = 2e-2

// scaledBF16 names the trajectory whose losses are compared relative to their size. At its learning rate of 0.01 losses of 10 do not fall, and
// differences grow ten-thousandfold: forward alone in bf16 moves them by 0.18, backward alone by as much.
const scaledBF16 = "lora-sft-llama"

// TestTrajectoriesBF16 is TestTrajectories in bf16: the losses of every update stay within bf16Loss, and differ from float32's.
func TestTrajectoriesBF16(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedPath(t, "models", "trajectories"), "*", "trajectory.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no trajectories: %v", err)
	}
	if !tensor.HasBF16() {
		t.Skip("no instruction for bf16")
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			var want trajectory
			readJSON(t, file, &want)
			exact, rounded := lossesIn(t, file, &want, local.F32), lossesIn(t, file, &want, local.BF16)
			worst, apart := 0.0, 0.0
			for i, w := range want.Expected.Steps {
				var loss float64
				if err := json.Unmarshal(w["loss"], &loss); err != nil {
					t.Fatal(err)
				}
				limit := bf16Loss
				if filepath.Base(filepath.Dir(file)) == scaledBF16 {
					limit *= loss
				}
				apart = max(apart, math.Abs(rounded[i]-exact[i]))
				if worst = max(worst, math.Abs(rounded[i]-loss)); !(math.Abs(rounded[i]-loss) <= limit) {
					t.Errorf("update %d: loss %g, want %g within %g", i, rounded[i], loss, limit)
				}
			}
			if apart < 1e-6 {
				t.Errorf("bf16 changes losses by %g: it is not on", apart)
			}
			t.Logf("%d updates, loss off by at most %.2g", len(rounded), worst)
		})
	}
}

// lossesIn runs a trajectory in a precision and returns the loss of each update.
func lossesIn(t *testing.T, file string, tr *trajectory, precision string) (losses []float64) {
	t.Helper()
	m, err := model.Load(filepath.Join(filepath.Dir(file), tr.Model))
	if err != nil {
		t.Fatal(err)
	}
	if tr.Adapter != "" {
		if err := m.LoadAdapter(filepath.Join(filepath.Dir(file), tr.Adapter)); err != nil {
			t.Fatal(err)
		}
		m.Adapter().DropoutOff()
	}
	e, err := local.New(m, nil, local.Options{Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	var req trainRequest
	if err := decodeRequest(tr.Input, &req); err != nil {
		t.Fatal(err)
	}
	run := &trainRun{ctx: t.Context(), e: e, req: &req}
	if _, err := run.run(); err != nil {
		t.Fatal(err)
	}
	for _, s := range run.reply.Steps {
		losses = append(losses, s["loss"].(float64))
	}
	return losses
}
