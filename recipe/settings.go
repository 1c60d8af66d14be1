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

// dealable checks that every minibatch of a step gets a group: an empty one makes no update.
func dealable(stage string, minibatches, groups int) error {
	if minibatches > max(1, groups) {
		return fmt.Errorf("%s: minibatches=%d, but a step has %d groups of answers to deal out, one of each problem: use at most %d minibatches, or more problems", stage, minibatches, groups, groups)
	}
	return nil
}

// unread is a setting that a stage does not read: what it says, what it says unless it is set, and what to do instead.
type unread struct {
	field, got, normal, instead string
}

// refuse names the first of settings that are set and would be ignored.
func refuse(settings ...unread) error {
	for _, u := range settings {
		if u.got != u.normal {
			return &config.FieldError{Field: u.field, Msg: fmt.Sprintf("%q is not read here: %s", u.got, u.instead)}
		}
	}
	return nil
}
