package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/task"
)

// fresh reads model: new?hidden=96&layers=3, a byte-level Llama of random weights in the shape of nano unless options say otherwise.
func fresh(ref string, seed uint64) (*model.Model, error) {
	r, err := task.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	c := nano.Config()
	options := map[string]*int{"hidden": &c.Hidden, "inner": &c.Inner, "layers": &c.Layers, "heads": &c.Heads, "context": &c.MaxPos}
	for name, v := range r.Options {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if options[name] == nil || err != nil || n < 1 {
			return nil, fmt.Errorf("model %s: option %s=%v: want hidden, inner, layers, heads or context with a positive whole number", ref, name, v)
		}
		*options[name] = n
	}
	if c.Hidden%c.Heads != 0 || c.Hidden/c.Heads%2 != 0 {
		return nil, fmt.Errorf("model %s: hidden is %d and heads %d: each head wants the same even number of dimensions", ref, c.Hidden, c.Heads)
	}
	c.KVHeads, c.HeadDim = c.Heads, c.Hidden/c.Heads
	m, err := model.New(c, seed)
	if err == nil {
		m.Path = ref
	}
	return m, err
}

// identity says for the cache what a run begins with: the model's name and, where that is a state or a folder of files, their contents.
func (l *Loaded) identity() (string, error) {
	id := l.Source
	files := []string{l.State, l.under}
	if info, err := os.Stat(l.Source); err == nil {
		if files = append(files, l.Source); info.IsDir() {
			inside, err := filepath.Glob(filepath.Join(l.Source, "*"))
			if err != nil {
				return "", err
			}
			files = append(files[:2], slices.Sorted(slices.Values(inside))...)
		}
	}
	for _, f := range files {
		if info, err := os.Stat(f); f == "" || err != nil || info.IsDir() {
			continue
		}
		sum := sha256.New()
		if err := copyInto(sum, f); err != nil {
			return "", err
		}
		id += " " + hex.EncodeToString(sum.Sum(nil)[:16])
	}
	return id, nil
}

func copyInto(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// isFresh tells new and new?... from paths.
func isFresh(source string) bool { return source == "new" || strings.HasPrefix(source, "new?") }
