// Package layers checks what ARCHITECTURE.md promises about the shape of the source: who imports whom, and how long things get.
package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/hone-lm/hone"
	root   = "../.."
)

// order reads the packages of ARCHITECTURE.md's layout table from the lowest to the highest; entries are folders at the root.
func order(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Layout")
	table, _, _ = strings.Cut(table, "\n## ")
	var out []string
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cell := strings.Split(line, "|")[1]
		for _, m := range regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(cell, -1) {
			top, _, _ := strings.Cut(m[1], "/")
			if _, err := os.Stat(filepath.Join(root, top)); err == nil && !slices.Contains(out, top) {
				out = append(out, top)
			}
		}
	}
	return out
}

// file is one Go file of the project; Dir is relative to the root, with slashes, "" for the root itself.
type file struct {
	Dir, Path string
	Imports   []string
}

// files parses the imports of every Go file that is not a test, whatever its build tags; folders with a go.mod of their own are others' modules.
func files(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if rel != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		one := file{Dir: path.Dir(rel), Path: rel}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			one.Imports = append(one.Imports, p)
		}
		out = append(out, one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// forbidden says why a package may not import another, or "".
func forbidden(order []string, dir, imported string) string {
	if imported == "C" {
		return "cgo"
	}
	rel, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	from, _, _ := strings.Cut(dir, "/")
	to, _, _ := strings.Cut(rel, "/")
	a, b := slices.Index(order, from), slices.Index(order, to)
	switch {
	case a < 0:
		return from + " is not in ARCHITECTURE.md's table"
	case b < 0:
		return to + " is not in ARCHITECTURE.md's table"
	case b > a:
		return to + " stands below " + from
	}
	return ""
}

func TestLayers(t *testing.T) {
	order := order(t)
	if len(order) < 15 || order[0] != "internal" || order[len(order)-1] != "cmd" {
		t.Fatalf("read from ARCHITECTURE.md: %v", order)
	}
	checked := 0
	for _, f := range files(t) {
		for _, i := range f.Imports {
			checked++
			if why := forbidden(order, f.Dir, i); why != "" {
				t.Errorf("%s imports %s: %s", f.Path, i, why)
			}
		}
	}
	if checked < 500 {
		t.Errorf("only %d imports were looked at", checked)
	}
	for dir, imported := range map[string]string{"tensor": "engine", "engine/local": "train", "objective": "rollout", "internal/rng": "tensor", "nowhere": "tensor", "recipe": "nowhere"} {
		if forbidden(order, dir, module+"/"+imported) == "" {
			t.Errorf("%s may import %s", dir, imported)
		}
	}
}

// The seam: what describes methods and losses knows no engine, no arrays and no model; a recipe's own file knows neither files nor threads.
func TestSeam(t *testing.T) {
	machine := []string{module + "/engine/local", module + "/tensor", module + "/model"}
	outside := append([]string{"os", "net", "net/http", "runtime", "sync", "path/filepath"}, machine...)
	recipes := 0
	for _, f := range files(t) {
		var banned []string
		switch {
		case slices.Contains([]string{"engine", "objective", "task", "reward", "rollout", "eval", "recipe/internal/sketch"}, f.Dir):
			banned = machine
		case f.Dir == "recipe" && registers(t, f.Path):
			banned = outside
			recipes++
		}
		for _, i := range f.Imports {
			if slices.Contains(banned, i) {
				t.Errorf("%s imports %s", f.Path, i)
			}
		}
	}
	if recipes < 3 {
		t.Errorf("only %d recipe files found", recipes)
	}
}

// registers reports whether a file of package recipe registers a recipe; such a file stays short enough to be read beside the paper.
func registers(t *testing.T, name string) bool {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(src), "\n\tRegister(") {
		return false
	}
	if n := strings.Count(string(src), "\n"); n > 200 {
		t.Errorf("%s has %d lines: a recipe should fit into 200", name, n)
	}
	return true
}

// The training loop is one function that can be read.
func TestLoopLength(t *testing.T) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, filepath.Join(root, "train", "loop.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "Run" {
			if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; n > 250 {
				t.Errorf("train.Run has %d lines: the limit is 250", n)
			}
			return
		}
	}
	t.Error("train/loop.go has no function Run")
}
