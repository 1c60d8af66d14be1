package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/hone-lm/hone/model/internal/strictjson"
)

// Folder is the open weights of a Hugging Face folder: model.safetensors, or shards with model.safetensors.index.json.
type Folder struct {
	Tensors []Tensor // sorted by name

	files  []*File
	fileOf map[string]*File
	sorted map[string]int
}

// OpenFolder opens and checks the weights in dir. With an index, its weight_map must name exactly the tensors that the shards hold.
func OpenFolder(dir string) (*Folder, error) {
	single := filepath.Join(dir, "model.safetensors")
	f, err := Open(single)
	if err == nil {
		return newFolder([]*File{f})
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	index := filepath.Join(dir, "model.safetensors.index.json")
	data, err := os.ReadFile(index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noWeights(dir)
	}
	if err != nil {
		return nil, err
	}
	weightMap, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	return openShards(dir, index, weightMap)
}

// noWeights looks for the usual reasons why a folder has no safetensors.
func noWeights(dir string) error {
	for _, pattern := range []string{"pytorch_model*.bin", "*.bin", "*.pt", "*.pth"} {
		if hits, _ := filepath.Glob(filepath.Join(dir, pattern)); len(hits) > 0 {
			return fmt.Errorf("%s: pickled weights (which can run code when loaded) are not read; load the model in Python and call save_pretrained(..., safe_serialization=True)", hits[0])
		}
	}
	if hits, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(hits) > 0 {
		return fmt.Errorf("%s: no model.safetensors; give the GGUF file itself: %s", dir, hits[0])
	}
	return fmt.Errorf("%s: neither model.safetensors nor model.safetensors.index.json; give a Hugging Face model folder or a .gguf file", dir)
}

type indexEntry struct{ tensor, file string }

// parseIndex reads {"metadata": ..., "weight_map": {tensor: file}} in file order.
func parseIndex(data []byte) ([]indexEntry, error) {
	fields, err := strictjson.Object(data)
	if err != nil {
		return nil, err
	}
	var entries []indexEntry
	for _, field := range fields {
		if field.Key != "weight_map" {
			continue
		}
		weights, err := strictjson.Object(field.Raw)
		if err != nil {
			return nil, fmt.Errorf("weight_map: %w", err)
		}
		for _, w := range weights {
			file, err := str(w.Raw)
			if err != nil {
				return nil, fmt.Errorf("weight_map %q: %w", w.Key, err)
			}
			if file == "" || file == "." || file == ".." || strings.ContainsAny(file, "/\\:\x00") {
				return nil, fmt.Errorf("weight_map %q: %q is not the name of a file in the same folder", w.Key, file)
			}
			entries = append(entries, indexEntry{w.Key, file})
		}
	}
	if len(entries) == 0 {
		return nil, errors.New("has no weight_map; download it again")
	}
	return entries, nil
}

func openShards(dir, index string, entries []indexEntry) (_ *Folder, err error) {
	var files []*File
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	byName := map[string]*File{}
	for _, e := range entries {
		f := byName[e.file]
		if f == nil {
			if f, err = Open(filepath.Join(dir, e.file)); err != nil {
				return nil, fmt.Errorf("%w (a shard that %s names)", err, index)
			}
			byName[e.file] = f
			files = append(files, f)
		}
		if _, ok := f.Tensor(e.tensor); !ok {
			return nil, fmt.Errorf("%s: tensor %q should be in %s, but is not there; download the folder again", index, e.tensor, e.file)
		}
	}
	total := 0
	for _, f := range files {
		total += len(f.Tensors)
	}
	if total != len(entries) {
		return nil, fmt.Errorf("%s: lists %d tensors, but its shards hold %d; download the folder again", index, len(entries), total)
	}
	return newFolder(files)
}

func newFolder(files []*File) (*Folder, error) {
	d := &Folder{files: files, fileOf: map[string]*File{}, sorted: map[string]int{}}
	for _, f := range files {
		for _, t := range f.Tensors {
			d.fileOf[t.Name] = f
			d.Tensors = append(d.Tensors, t)
		}
	}
	sort.Slice(d.Tensors, func(i, j int) bool { return d.Tensors[i].Name < d.Tensors[j].Name })
	for i, t := range d.Tensors {
		d.sorted[t.Name] = i
	}
	return d, nil
}

// Tensor returns the description of the tensor with this name.
func (d *Folder) Tensor(name string) (Tensor, bool) {
	i, ok := d.sorted[name]
	if !ok {
		return Tensor{}, false
	}
	return d.Tensors[i], true
}

// PathOf returns the file that holds the tensor, or the first file when there is no such tensor.
func (d *Folder) PathOf(name string) string {
	if f := d.fileOf[name]; f != nil {
		return f.Path
	}
	return d.files[0].Path
}

// Read is File.Read on the file that holds the tensor.
func (d *Folder) Read(name string, dst []float32) error {
	f := d.fileOf[name]
	if f == nil {
		f = d.files[0] // its Read names the missing tensor
	}
	return f.Read(name, dst)
}

// Close closes all files.
func (d *Folder) Close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
