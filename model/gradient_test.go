package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/hone-lm/hone/tensor"
)

// trajectory is the part of a trajectory.json that the first update needs.
type trajectory struct {
	Model, Adapter string
	Input          struct {
		Steps []struct {
			Sequences []struct {
				Tokens  []int32
				Weights []float64
			}
		}
	}
	Expected struct {
		Steps []struct {
			Loss     float64
			GradNorm float64 `json:"grad_norm"`
		}
	}
	Tolerance struct {
		Loss     float64
		GradNorm float64 `json:"grad_norm_relative"`
	}
}

// TestFirstGradient runs forward and backward of the first batch of each supervised trajectory: loss and gradient norm must be PyTorch's.
func TestFirstGradient(t *testing.T) {
	for _, name := range []string{"sft-llama", "sft-qwen3", "sft-gpt2-accumulate", "lora-sft-llama"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(sharedModels, "trajectories", name)
			data, err := os.ReadFile(filepath.Join(dir, "trajectory.json"))
			if err != nil {
				t.Skip("../shared absent: no training trajectories")
			}
			var tr trajectory
			if err := json.Unmarshal(data, &tr); err != nil {
				t.Fatal(err)
			}
			m, err := Load(filepath.Join(dir, tr.Model))
			if err != nil {
				t.Fatal(err)
			}
			if tr.Adapter != "" {
				if err := m.LoadAdapter(filepath.Join(dir, tr.Adapter)); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Train(); err != nil {
				t.Fatal(err)
			}
			want := tr.Expected.Steps[0]
			loss, norm := firstStep(m, &tr)
			lossOff, normOff := math.Abs(loss-want.Loss), math.Abs(norm/want.GradNorm-1)
			t.Logf("loss deviates by %.2g, gradient norm by %.2g (relative)", lossOff, normOff)
			if !(lossOff <= tr.Tolerance.Loss) || !(normOff <= tr.Tolerance.GradNorm) {
				t.Errorf("loss %.9g, gradient norm %.9g; want %.9g and %.9g", loss, norm, want.Loss, want.GradNorm)
			}
			for _, l := range m.blocks { // planted fault: one matrix without its gradient
				if l.o.lora != nil {
					clear(l.o.lora.b.Grad)
				} else {
					clear(l.o.w.Grad)
				}
			}
			if off := math.Abs(gradNorm(m)/want.GradNorm - 1); off <= tr.Tolerance.GradNorm {
				t.Errorf("without the gradient of o the norm deviates by %g only", off)
			}
		})
	}
}

func firstStep(m *Model, tr *trajectory) (loss, norm float64) {
	in := &Input{}
	rows := tensor.HeadRows{}
	var weights []float64
	total := 0.0
	for _, s := range tr.Input.Steps[0].Sequences {
		from := len(in.Tokens)
		in.Tokens = append(in.Tokens, s.Tokens...)
		in.Docs = append(in.Docs, tensor.Doc{From: from, To: len(in.Tokens)})
		for i, w := range s.Weights[1:] {
			rows.Row, rows.Target = append(rows.Row, int32(from+i)), append(rows.Target, s.Tokens[i+1])
			weights = append(weights, w)
			total += w
		}
	}
	tape := tensor.NewTape()
	h := m.Forward(tape, in)
	head := &tensor.Head{W: m.HeadWeight()}
	head.Fused(h, rows, tape.GradOf(h), func(lo, hi int, logProb, _, dLogProb, _ []float32) {
		for i := lo; i < hi; i++ {
			loss -= weights[i] * float64(logProb[i-lo]) / total
			dLogProb[i-lo] = float32(-weights[i] / total)
		}
	})
	tape.Backward()
	return loss, gradNorm(m)
}

func gradNorm(m *Model) float64 {
	sum := 0.0
	for _, p := range m.Params() {
		for _, g := range p.Grad {
			sum += float64(g) * float64(g)
		}
	}
	return math.Sqrt(sum)
}
