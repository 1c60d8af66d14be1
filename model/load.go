package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-lm/hone/model/gguf"
	"github.com/hone-lm/hone/model/safetensors"
)

// source is an open set of stored tensors.
type source interface {
	names() []string
	shape(name string) ([]int, bool)
	Read(name string, dst []float32) error
	pathOf(name string) string
	Close() error
}

type folderSource struct{ *safetensors.Folder }

func (s folderSource) names() []string {
	list := make([]string, len(s.Tensors))
	for i, t := range s.Tensors {
		list[i] = t.Name
	}
	return list
}

func (s folderSource) shape(name string) ([]int, bool) {
	t, ok := s.Tensor(name)
	return t.Shape, ok
}

func (s folderSource) pathOf(name string) string { return s.PathOf(name) }

type ggufSource struct{ *gguf.File }

func (s ggufSource) names() []string {
	list := make([]string, len(s.Tensors))
	for i, t := range s.Tensors {
		list[i] = t.Name
	}
	return list
}

func (s ggufSource) shape(name string) ([]int, bool) {
	t, ok := s.Tensor(name)
	return t.Shape, ok
}

func (s ggufSource) pathOf(string) string { return s.Path }

// Load reads a model from a Hugging Face folder (config.json, safetensors in one file or in shards) or from a .gguf file. All weights become float32.
// Every tensor is checked against the configuration before memory is allocated: what is missing, left over or of another shape is an error that names file and tensor.
func Load(path string) (*Model, error) { return load(path, false) }

// load is Load, or LoadQuantised when keep is set.
func load(path string, keep bool) (*Model, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such file or folder; give a Hugging Face model folder or a .gguf file", path)
	case err != nil:
		return nil, err
	case st.IsDir():
		return loadFolder(path)
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".gguf":
		return loadGGUF(path, keep)
	case ".bin", ".pt", ".pth", ".ckpt", ".pkl":
		return nil, fmt.Errorf("%s: pickled weights (which can run code when loaded) are not read; load the model in Python and call save_pretrained(..., safe_serialization=True)", path)
	case ".safetensors", ".json":
		return nil, fmt.Errorf("%s: is one file of a model; give its folder: %s", path, filepath.Dir(path))
	}
	return nil, fmt.Errorf("%s: neither a Hugging Face model folder nor a .gguf file", path)
}

func loadFolder(dir string) (*Model, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	s, err := safetensors.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	return loadFrom(folderSource{s}, *c, dir, nil, false)
}

// ReadConfig reads dir/config.json.
func ReadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no config.json; give a Hugging Face model folder or a .gguf file", dir)
	}
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func loadGGUF(path string, keep bool) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	c, err := configFromGGUF(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return loadFrom(ggufSource{f}, *c, path, f, keep)
}

// loadFrom checks the names and shapes in s, then reads them one at a time. file is s when that is a GGUF file, else nil. It closes s.
func loadFrom(s source, c Config, path string, file *gguf.File, keep bool) (_ *Model, err error) {
	isGGUF := file != nil
	defer func() { err = errors.Join(err, s.Close()) }()
	m := skeleton(c)
	m.Path = path
	stored, err := m.match(s, isGGUF)
	if err != nil {
		return nil, err
	}
	var buf []float32
	for i := range m.specs {
		spec := &m.specs[i]
		if keep && isGGUF {
			if kept, err := m.keep(file, spec, stored[i]); err != nil {
				return nil, err
			} else if kept {
				continue
			}
		}
		p := m.allocate(spec)
		buf = slices.Grow(buf[:0], len(p.Data))[:len(p.Data)]
		if err := s.Read(stored[i], buf); err != nil {
			return nil, err
		}
		spec.fromFile(p.Data, buf, isGGUF)
	}
	m.finish()
	if err := m.checkTied(s, isGGUF, buf); err != nil {
		return nil, err
	}
	return m, nil
}

// match finds every tensor of the model in s and returns the names that they have there. Nothing may be missing, misshapen or left over.
func (m *Model) match(s source, isGGUF bool) ([]string, error) {
	prefix := m.prefix(s, isGGUF)
	stored := make([]string, len(m.specs))
	known := map[string]bool{}
	for i := range m.specs {
		spec := &m.specs[i]
		name := strings.TrimPrefix(spec.hf, prefix)
		if isGGUF {
			name = spec.gguf
		}
		shape, ok := s.shape(name)
		if !ok {
			return nil, fmt.Errorf("%s: tensor %q is missing, which a %s of %d layers needs: the file is not whole, or its configuration belongs to another model", s.pathOf(name), name, m.Config.Family, m.Config.Layers)
		}
		if want := spec.shape(isGGUF); !slices.Equal(shape, want) {
			return nil, fmt.Errorf("%s: tensor %q is %v, but the configuration says %v: the two are not from the same model", s.pathOf(name), name, shape, want)
		}
		stored[i] = name
		known[name] = true
	}
	for _, name := range s.names() {
		if !known[name] && !m.ignorable(name, isGGUF) {
			return nil, fmt.Errorf("%s: tensor %q has no place in a %s with this configuration: it would be left out of the arithmetic; check model_type, biases and layer count", s.pathOf(name), name, m.Config.Family)
		}
	}
	return stored, nil
}

// prefix returns what the folder's names lack: transformers writes a bare decoder, such as the published GPT-2, without "transformer." or "model.".
func (m *Model) prefix(s source, isGGUF bool) string {
	first := m.specs[0].hf
	if _, ok := s.shape(first); ok || isGGUF {
		return ""
	}
	_, bare, _ := strings.Cut(first, ".")
	if _, ok := s.shape(bare); ok {
		return strings.TrimSuffix(first, bare)
	}
	return ""
}

// ignorable reports whether a tensor is a constant that old files store: the causal mask of GPT-2 and the rotary frequencies; or the head of a
// tied model, which checkTied looks at; or the frequency divisors of GGUF, which the configuration has taken up.
func (m *Model) ignorable(name string, isGGUF bool) bool {
	if isGGUF {
		return name == ropeFreqs || name == "output.weight" && m.Config.Tied
	}
	if name == "lm_head.weight" {
		return m.Config.Tied
	}
	return strings.HasSuffix(name, ".rotary_emb.inv_freq") ||
		m.Config.Family == GPT2 && (strings.HasSuffix(name, ".attn.bias") || strings.HasSuffix(name, ".attn.masked_bias"))
}

// checkTied compares the stored head of a tied model with the embedding.
func (m *Model) checkTied(s source, isGGUF bool, buf []float32) error {
	const name = "lm_head.weight"
	shape, ok := s.shape(name)
	if !ok || isGGUF || !m.Config.Tied {
		return nil
	}
	buf = slices.Grow(buf[:0], len(m.embed.Data))[:len(m.embed.Data)]
	if !slices.Equal(shape, m.specs[0].shape(false)) || s.Read(name, buf) != nil || !slices.Equal(buf, m.embed.Data) {
		return fmt.Errorf("%s: config.json says tie_word_embeddings, but %q differs from the embedding; set tie_word_embeddings to false, or take the tensor out", s.pathOf(name), name)
	}
	return nil
}
