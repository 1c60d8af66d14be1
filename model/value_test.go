package model

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
)

// A value head is trained behind whatever else is, copied by Clone, and written beside the model's or the adapter's files.
func TestValueHead(t *testing.T) {
	for _, lora := range []bool{false, true} {
		m := small(t, GPT2, nil)
		if lora {
			if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 2}); err != nil {
				t.Fatal(err)
			}
		}
		n := len(m.Params())
		if m.ValueHead() != nil || m.SaveValueHead(t.TempDir()) == nil {
			t.Error("a new model has a value head")
		}
		m.AddValueHead()
		p := m.Params()
		if len(p) != n+2 || !p[n].Decay || p[n+1].Decay || len(p[n].Data) != m.Config.Hidden || slices.Max(p[n].Data) != 0 {
			t.Fatalf("lora %v: %d parameters, then %d", lora, n, len(p))
		}
		shake(p[n].Tensor, 1)
		shake(p[n+1].Tensor, 2)
		m.AddValueHead() // changes nothing
		c := m.Clone()
		if err := m.Train(); err != nil || m.ValueHead().W.Grad == nil {
			t.Errorf("the value head is not trained: %v", err)
		}
		if m.Freeze(); m.ValueHead().B.Grad != nil {
			t.Error("the value head is not frozen")
		}
		want := slices.Clone(p[n].Data)
		p[n].Data[0]++
		if !slices.Equal(c.ValueHead().W.Data, want) || c.ValueHead().B.Data[0] != p[n+1].Data[0] {
			t.Error("the copy has another value head")
		}
		dir := t.TempDir()
		if err := m.SaveValueHead(dir); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Open(filepath.Join(dir, "value_head.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, _ := f.Tensor("v_head.summary.weight")
		b, _ := f.Tensor("v_head.summary.bias")
		back := make([]float32, m.Config.Hidden)
		if len(f.Tensors) != 2 || !slices.Equal(w.Shape, []int{1, m.Config.Hidden}) || !slices.Equal(b.Shape, []int{1}) || f.Read(w.Name, back) != nil || !slices.Equal(back, p[n].Data) {
			t.Errorf("the file holds %+v", f.Tensors)
		}
		if m.DropValueHead(); len(m.Params()) != n {
			t.Error("the value head is still there")
		}
	}
}

// Gradients go to the buffers that SwapGrads put in place, those of GPT-2's views and of an adapter's included, and to no others.
func TestSwapGrads(t *testing.T) {
	for _, family := range []Family{Llama, GPT2} {
		for _, lora := range []bool{false, true} {
			m := small(t, family, nil)
			if lora {
				if err := m.AddLoRA(LoRASpec{Rank: 2, Alpha: 2}); err != nil {
					t.Fatal(err)
				}
				for i, p := range m.Params() {
					shake(p.Tensor, uint64(i))
				}
			}
			m.AddValueHead()
			if err := m.Train(); err != nil {
				t.Fatal(err)
			}
			tape := tensor.NewTape()
			run := func() {
				tape.Reset()
				h := m.Forward(tape, &Input{Tokens: testTokens[0], Docs: []tensor.Doc{{From: 0, To: 4}, {From: 4, To: 10}}})
				for i := range tape.GradOf(h) {
					tape.GradOf(h)[i] = float32(i%7) - 2
				}
				tape.Backward()
			}
			var other [][]float32
			for _, p := range m.Params() {
				other = append(other, make([]float32, len(p.Data)))
			}
			m.SwapGrads(other)
			run()
			m.SwapGrads(other)
			zero := true
			for _, p := range m.Params() {
				zero = zero && slices.Max(p.Grad) == 0 && slices.Min(p.Grad) == 0
			}
			run()
			for i, p := range m.Params() {
				if !slices.Equal(p.Grad, other[i]) || slices.Max(p.Grad) == 0 && !strings.HasPrefix(p.Name, "v_head") && !strings.HasPrefix(p.Name, "lm_head") || !zero {
					t.Errorf("%s, lora %v: %s: gradients in the wrong buffer", family, lora, p.Name)
				}
			}
		}
	}
}
