package recipe

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hone-lm/hone/internal/config"
)

// Every settings file that is shipped is one of a recipe.
func TestExampleFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "docs", "examples", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, rest, err := config.Take(f, src, "recipe")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Parse(name, f, rest, nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}
