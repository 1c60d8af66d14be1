package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/task"
)

// oneOf checks a setting that takes a word.
func oneOf(field, got string, want []string) error {
	if slices.Contains(want, got) {
		return nil
	}
	return &config.FieldError{Field: field, Msg: fmt.Sprintf("%q: want one of %s", got, strings.Join(want, ", "))}
}

// taskOf returns path when it names a task, "" when it is a file.
func taskOf(path string) string {
	if r, err := task.ParseRef(path); err == nil && task.About(r.Name) != "" {
		return path
	}
	return ""
}
