package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/model/gguf"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

type modelsCmd struct {
	Inspect modelsInspectCmd `cmd:"" help:"Show what a checkpoint is: family, sizes, tokenizer, tensors."`
	Convert modelsConvertCmd `cmd:"" help:"Write a checkpoint as a Hugging Face folder."`
	Merge   modelsMergeCmd   `cmd:"" help:"Add an adapter to its base and write the result as a Hugging Face folder."`
}

func (modelsCmd) Help() string {
	return `PATH is a Hugging Face folder (config.json, safetensors in one file or in shards) or a .gguf file.

  hone models inspect SmolLM2-135M-Instruct.Q4_1.gguf
  hone models convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2 --dtype bf16
  hone models convert runs/sft-12ab smollm2-tuned
  hone models merge smollm2 adapter smollm2-tuned`
}

type modelsInspectCmd struct {
	Path    string `arg:"" help:"Folder or .gguf file."`
	Tensors bool   `help:"List the tensors, too."`
	JSON    bool   `name:"json" help:"One JSON object instead of text."`
}

// modelFacts is what "hone models inspect --json" prints.
type modelFacts struct {
	Path      string         `json:"path"`
	Family    string         `json:"family"`
	Params    int64          `json:"params"`
	Tied      bool           `json:"tied"`
	Vocab     int            `json:"vocab"`
	Context   int            `json:"context"`
	Hidden    int            `json:"hidden"`
	Inner     int            `json:"inner"`
	Layers    int            `json:"layers"`
	Heads     int            `json:"heads"`
	KVHeads   int            `json:"kv_heads"`
	HeadDim   int            `json:"head_dim"`
	Dtypes    map[string]int `json:"dtypes"` // tensors by type
	Bytes     int64          `json:"bytes"`
	Tokenizer string         `json:"tokenizer,omitempty"`
	Template  bool           `json:"chat_template"`
	Tensors   []tensorInfo   `json:"tensors,omitempty"`
}

func (c *modelsInspectCmd) Run(a *app) error {
	f, err := inspectModel(c.Path)
	if err != nil {
		return err
	}
	list := f.Tensors
	if !c.Tensors {
		f.Tensors = nil
	}
	if c.JSON {
		return a.printJSON(f)
	}
	fmt.Fprintf(a.out, "%s\n", c.Path)
	t := newTable(a.out)
	t.row("  family", fmt.Sprintf("%s, %s parameters in %s%s", f.Family, count(f.Params), size(f.Bytes), map[bool]string{true: ", head tied to the embedding"}[f.Tied]))
	t.row("  shape", fmt.Sprintf("%d layers, %d wide, %d inside, %d heads of %d, %d key-value heads", f.Layers, f.Hidden, f.Inner, f.Heads, f.HeadDim, f.KVHeads))
	t.row("  context", fmt.Sprintf("%d tokens", f.Context))
	t.row("  vocabulary", strconv.Itoa(f.Vocab))
	tokenizer := f.Tokenizer
	switch {
	case tokenizer == "":
		tokenizer = "none that hone reads"
	case f.Template:
		tokenizer += ", with a chat template"
	default:
		tokenizer += ", without a chat template"
	}
	t.row("  tokenizer", tokenizer)
	t.row("  tensors", fmt.Sprintf("%d: %s", len(list), dtypeList(f.Dtypes, list)))
	t.flush()
	if c.Tensors {
		t := newTable(a.out)
		for _, x := range list {
			t.row("  "+x.Name, x.Dtype, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(x.Shape)), " x "), "[]"))
		}
		t.flush()
	}
	return nil
}

// dtypeList writes the types in the order of first appearance.
func dtypeList(counts map[string]int, list []tensorInfo) string {
	var parts []string
	seen := map[string]bool{}
	for _, x := range list {
		if !seen[x.Dtype] {
			seen[x.Dtype] = true
			parts = append(parts, fmt.Sprintf("%d %s", counts[x.Dtype], x.Dtype))
		}
	}
	return strings.Join(parts, ", ")
}

// inspectModel reads a folder's headers only; a GGUF file is loaded whole, which also dequantises every tensor once.
func inspectModel(path string) (*modelFacts, error) {
	f := &modelFacts{Path: path, Dtypes: map[string]int{}}
	config, err := readModelConfig(path)
	if err != nil {
		return nil, err
	}
	f.Family, f.Tied, f.Vocab, f.Context = string(config.Family), config.Tied, config.Vocab, config.MaxPos
	f.Hidden, f.Inner, f.Layers, f.Heads, f.KVHeads, f.HeadDim = config.Hidden, config.Inner, config.Layers, config.Heads, config.KVHeads, config.HeadDim
	if f.Tensors, err = tensorList(path); err != nil {
		return nil, err
	}
	for _, x := range f.Tensors {
		elems := int64(1)
		for _, n := range x.Shape {
			elems *= int64(n)
		}
		f.Params += elems
		f.Dtypes[x.Dtype]++
	}
	if f.Bytes, err = sizeOnDisk(path); err != nil {
		return nil, err
	}
	if t, err := token.Load(path); err == nil { // a checkpoint without a tokenizer is still a checkpoint
		f.Tokenizer, f.Template = fmt.Sprintf("%d ids", t.VocabSize()), t.ChatTemplate() != ""
	}
	return f, nil
}

func readModelConfig(path string) (*model.Config, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return model.ReadConfig(path)
	}
	m, err := model.Load(path)
	if err != nil {
		return nil, err
	}
	return &m.Config, nil
}

func tensorList(path string) ([]tensorInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var list []tensorInfo
	if !st.IsDir() {
		f, err := gguf.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for _, t := range f.Tensors {
			list = append(list, tensorInfo{t.Name, t.Type.String(), nonNil(t.Shape)})
		}
		return list, nil
	}
	f, err := safetensors.OpenFolder(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, t := range f.Tensors {
		list = append(list, tensorInfo{t.Name, string(t.Dtype), nonNil(t.Shape)})
	}
	return list, nil
}

// sizeOnDisk is the size of the file, or of the folder's weights.
func sizeOnDisk(path string) (int64, error) {
	files := []string{path}
	if st, err := os.Stat(path); err != nil {
		return 0, err
	} else if st.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.safetensors")); err != nil {
			return 0, err
		}
	}
	total := int64(0)
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		total += st.Size()
	}
	return total, nil
}

// count writes a number of parameters.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	}
	return strconv.FormatInt(n, 10)
}

type modelsConvertCmd struct {
	Path        string `arg:"" help:"Folder, .gguf file, or runs/ID[@step or @node@step] to read."`
	Out         string `arg:"" help:"Folder to write: config.json, model.safetensors and the tokenizer's files."`
	AdapterOnly bool   `help:"Of a run with LoRA: write its adapter as peft does, instead of merging it."`
	writeFlags
}

type modelsMergeCmd struct {
	Path    string `arg:"" help:"The adapter's base: folder or .gguf file."`
	Adapter string `arg:"" help:"Folder with adapter_config.json and adapter_model.safetensors."`
	Out     string `arg:"" help:"Folder to write."`
	writeFlags
}

type writeFlags struct {
	Dtype string `enum:"f32,bf16" default:"f32" help:"Type of the weights written: f32 or bf16."`
	Force bool   `help:"Write into a folder that is not empty."`
	JSON  bool   `name:"json" help:"End in one JSON object."`
}

func (c *modelsConvertCmd) Run(a *app) error {
	stored, err := recipe.StoredSettings(c.Path)
	if err != nil {
		return err
	}
	if stored == nil {
		if c.AdapterOnly {
			return badCallf("%s is no run, so it has no adapter of its own to write; leave --adapter-only out", c.Path)
		}
		m, err := model.Load(c.Path)
		if err != nil {
			return err
		}
		return c.write(a, m, c.Path, c.Out)
	}
	m, source, err := runModel(a, c.Path, stored)
	if err != nil {
		return err
	}
	if !c.AdapterOnly {
		return c.write(a, m, source, c.Out)
	}
	if m.Adapter() == nil {
		return badCallf("%s trained all weights, so it has no adapter; leave --adapter-only out", c.Path)
	}
	if err := c.vacant(c.Out); err != nil {
		return err
	}
	if err := m.SaveAdapter(c.Out); err != nil {
		return err
	}
	return c.done(a, c.Out, adapterCount(m), 0)
}

// runModel loads the weights of a run's checkpoint. source is the model that the first run of its lineage began with.
func runModel(a *app, ref string, stored recipe.Config) (m *model.Model, source string, err error) {
	common := *stored.Shared()
	common.Model, common.Adapter, common.LoRA = ref, "", train.LoRA{} // the lineage knows the adapter
	common.Quantised = false                                          // what is written out is wide
	loaded, err := recipe.LoadModel(&common)
	if err != nil {
		return nil, "", err
	}
	e, err := loaded.Engine(a.ctx, &common)
	if err != nil {
		return nil, "", err
	}
	return e.Model(), loaded.Source, nil
}

func adapterCount(m *model.Model) int {
	n := 0
	for _, p := range m.Params() {
		n += p.Rows * p.Cols
	}
	return n
}

func (c *modelsMergeCmd) Run(a *app) error {
	m, err := model.Load(c.Path)
	if err != nil {
		return err
	}
	if err := m.LoadAdapter(c.Adapter); err != nil {
		return err
	}
	return c.write(a, m, c.Path, c.Out)
}

// vacant refuses to write into a folder that holds something.
func (w *writeFlags) vacant(out string) error {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 && !w.Force {
		return badCallf("%s is not empty: name a new folder, or add --force to replace the model in it", out)
	}
	return nil
}

// write merges the model's adapter if it has one, and writes a folder with the tokenizer's files from beside the source. SaveHF reads back
// what it wrote.
func (w *writeFlags) write(a *app, m *model.Model, path, out string) error {
	if err := w.vacant(out); err != nil {
		return err
	}
	m.Merge()
	if err := m.SaveHF(out, safetensors.Dtype(strings.ToUpper(w.Dtype))); err != nil {
		return err
	}
	copied, err := copyTokenizer(path, out)
	if err != nil {
		return err
	}
	if copied == 0 {
		fmt.Fprintf(a.errOut, "note: %s has no tokenizer files to copy; %s holds the weights alone\n", path, out)
	}
	return w.done(a, out, m.Count(), copied)
}

func (w *writeFlags) done(a *app, out string, params, copied int) error {
	if w.JSON {
		return a.printJSON(map[string]any{"out": out, "params": params, "dtype": w.Dtype, "tokenizer_files": copied})
	}
	fmt.Fprintf(a.out, "%s: %s parameters, read back and compared\nnext: hone models inspect %s\n", out, count(int64(params)), out)
	return nil
}

// tokenizerFiles are the files beside the weights that other programs need to use a folder.
var tokenizerFiles = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "generation_config.json"}

// copyTokenizer copies the tokenizer's files from one folder to another and returns how many there were.
func copyTokenizer(from, to string) (int, error) {
	n := 0
	for _, name := range tokenizerFiles {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			continue // not there, or from is a file
		}
		err = run.WriteAtomic(filepath.Join(to, name), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
