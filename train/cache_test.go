package train

import (
	"os"
	"path/filepath"
	"testing"
)

// A stage is another one when a file or a folder changes that its settings name, however deep the change lies.
func TestFilesInKeys(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "answers", "a.json")
	if err := os.Mkdir(filepath.Dir(deep), 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(deep, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, settings := range []string{"data: " + deep + "\n", "task: bfcl?path=" + dir + "&levels=1\n", "task: \"gsm8k?path=" + deep + "\"\n"} {
		var seen []string
		for _, text := range []string{"one", "one", "two"} {
			write(text)
			out, err := withFiles(settings)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, out)
		}
		if seen[0] != seen[1] || seen[1] == seen[2] {
			t.Errorf("%q: keys %q", settings, seen)
		}
	}
}
