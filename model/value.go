package model

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
)

// ValueHead returns the linear map from the hidden state after the final norm to a value, or nil when there is none yet: every value is 0 then.
func (m *Model) ValueHead() *tensor.ValueHead { return m.value.Load() }

// AddValueHead gives a model without a value head one of zeros, frozen. So a new critic says 0, as in lm-human-preferences (Ziegler et al.
// 2019): it changes no advantage before it has learned something, and draws no random number.
func (m *Model) AddValueHead() {
	if m.value.Load() == nil {
		m.value.Store(tensor.NewValueHead(m.Config.Hidden))
	}
}

// DropValueHead takes the value head away.
func (m *Model) DropValueHead() { m.value.Store(nil) }

func (m *Model) valueParams() []Param {
	v := m.value.Load()
	if v == nil {
		return nil
	}
	return []Param{{v.W, true}, {v.B, false}}
}

// ValueHeadFile is where SaveValueHead writes, beside the model's or the adapter's files, under the name and with the tensor names that
// LLaMA-Factory and TRL use: v_head.summary.weight [1, hidden] and v_head.summary.bias [1].
const ValueHeadFile = "value_head.safetensors"

// SaveValueHead writes the value head into dir, which is there already, and reads it back before it reports success.
func (m *Model) SaveValueHead(dir string) error {
	v := m.value.Load()
	if v == nil {
		return fmt.Errorf("%s: the model has no value head to save", dir)
	}
	path := filepath.Join(dir, ValueHeadFile)
	var out []safetensors.Out
	for _, p := range []struct {
		*tensor.Tensor
		shape []int
	}{{v.W, []int{1, v.W.Cols}}, {v.B, []int{1}}} {
		out = append(out, safetensors.Out{Name: p.Name, Dtype: safetensors.F32, Shape: p.shape, Fill: func(dst []float32) { copy(dst, p.Data) }})
	}
	if err := safetensors.Write(path, out, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	defer f.Close()
	for i, p := range m.valueParams() {
		back := make([]float32, len(p.Data))
		t, ok := f.Tensor(p.Name)
		if !ok || !slices.Equal(t.Shape, out[i].Shape) || f.Read(p.Name, back) != nil || !sameValues(p.Data, back, safetensors.F32) {
			return fmt.Errorf("%s: tensor %q reads back otherwise: the disk may be damaged; save to another place", path, p.Name)
		}
	}
	return nil
}
