package main

import (
	"bytes"
	"encoding/json"
	"go/format"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What hone new writes is formatted and compiles within package recipe.
func TestNewCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a package")
	}
	dir := t.TempDir()
	for _, sub := range []string{"recipe", "docs/recipes"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "recipe", "recipe.go"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if code := hone(t.Context(), []string{"new", "my-method", "--dir", dir}, nil, io.Discard, os.Stderr); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	overlay := map[string]string{}
	for _, f := range []string{"my_method.go", "my_method_test.go"} {
		written := filepath.Join(dir, "recipe", f)
		b, err := os.ReadFile(written)
		if err != nil {
			t.Fatal(err)
		}
		if clean, err := format.Source(b); err != nil || !bytes.Equal(clean, b) {
			t.Errorf("%s is not as gofmt writes it: %v", f, err)
		}
		place, err := filepath.Abs(filepath.Join("..", "..", "recipe", f))
		if err != nil {
			t.Fatal(err)
		}
		overlay[place] = written
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", "-overlay", list, "github.com/hone-lm/hone/recipe").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
