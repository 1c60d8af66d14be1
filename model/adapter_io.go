package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
)

// LoadAdapter attaches the adapter in dir (adapter_config.json and adapter_model.safetensors, as peft writes them), switched on.
// Nothing is attached when a field is not understood or a tensor is missing, misshapen or left over.
func (m *Model) LoadAdapter(dir string) error {
	if m.adapter != nil {
		return errors.New("the model has an adapter already: merge it first")
	}
	path := filepath.Join(dir, "adapter_config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no adapter_config.json; give a folder that peft's save_pretrained wrote", dir)
	}
	if err != nil {
		return err
	}
	c, err := parseAdapterConfig(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	weights := filepath.Join(dir, "adapter_model.safetensors")
	f, err := safetensors.Open(weights)
	if errors.Is(err, fs.ErrNotExist) {
		if _, pickled := os.Stat(filepath.Join(dir, "adapter_model.bin")); pickled == nil {
			return fmt.Errorf("%s: pickled weights (which can run code when loaded) are not read; load the adapter in Python and save it with save_pretrained(..., safe_serialization=True)", filepath.Join(dir, "adapter_model.bin"))
		}
		return fmt.Errorf("%s: no adapter_model.safetensors", dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := m.readAdapter(f, c)
	if err != nil {
		return err
	}
	m.attach(a)
	return nil
}

func (m *Model) readAdapter(f *safetensors.File, c adapterConfig) (*Adapter, error) {
	known := map[string]bool{}
	check := func(e *entry) error {
		name := adapterName(f, e)
		t, ok := f.Tensor(name)
		if !ok {
			return fmt.Errorf("%s: tensor %q is missing, which adapter_config.json asks for on this model", f.Path, e.hf)
		}
		if want := e.shape(false); !slices.Equal(t.Shape, want) {
			return fmt.Errorf("%s: tensor %q is %v, but the adapter's configuration and the model say %v: it belongs to another model or rank", f.Path, name, t.Shape, want)
		}
		known[name] = true
		return nil
	}
	var buf []float32
	a, err := m.buildAdapter(c, check, func(e *entry, p *tensor.Tensor, _ bool) error {
		buf = slices.Grow(buf[:0], len(p.Data))[:len(p.Data)]
		if err := f.Read(adapterName(f, e), buf); err != nil {
			return err
		}
		e.fromFile(p.Data, buf, false)
		return nil
	})
	if err != nil && !strings.HasPrefix(err.Error(), f.Path) {
		err = fmt.Errorf("%s: %w", filepath.Join(filepath.Dir(f.Path), "adapter_config.json"), err)
	}
	if err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		if !known[t.Name] {
			return nil, fmt.Errorf("%s: tensor %q has no place: adapter_config.json does not ask for it on this model", f.Path, t.Name)
		}
	}
	return a, nil
}

// adapterName returns the name of a tensor in the file: the first versions of peft stored the bias of an adapted projection under its own name.
func adapterName(f *safetensors.File, e *entry) string {
	if _, ok := f.Tensor(e.hf); !ok {
		if module, wrapped := strings.CutSuffix(e.hf, ".base_layer.bias"); wrapped {
			return module + ".bias"
		}
	}
	return e.hf
}

// SaveAdapter writes the adapter as peft does (float32), reads it back and compares every value before it reports success.
func (m *Model) SaveAdapter(dir string) error {
	a := m.adapter
	if a == nil {
		return fmt.Errorf("%s: the model has no adapter to save", dir)
	}
	config, err := a.config.json(m.Config.Family == GPT2)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out := make([]safetensors.Out, len(a.params))
	for i, p := range a.params {
		e := &a.stored[i]
		out[i] = safetensors.Out{Name: e.hf, Dtype: safetensors.F32, Shape: e.shape(false), Fill: func(dst []float32) { e.toFile(dst, p.Data) }}
	}
	weights := filepath.Join(dir, "adapter_model.safetensors")
	if err := safetensors.Write(weights, out, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "adapter_config.json"), config); err != nil {
		return err
	}
	again, err := parseAdapterConfig(config)
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	f, err := safetensors.Open(weights)
	if err != nil {
		return err
	}
	defer f.Close()
	back, err := m.readAdapter(f, again)
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	for i, p := range a.params {
		if !sameValues(p.Data, back.params[i].Data, safetensors.F32) || p.Name != back.params[i].Name {
			return fmt.Errorf("%s: tensor %q reads back with other values: the disk may be damaged; save to another place", weights, p.Name)
		}
	}
	return nil
}
