package run

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SplitRef takes a reference to a run's checkpoint apart. dir is the run's folder, whose name may be cut short; at says which checkpoint, see
// CheckpointAt. The first @ of the last path element parts them:
//
//	runs/ID   runs/ID@STEP   runs/ID@NODE   runs/ID@NODE@STEP
func SplitRef(ref string) (dir, at string) {
	parent, name := filepath.Split(ref)
	name, at, _ = strings.Cut(name, "@")
	return parent + name, at
}

// CheckpointAt returns the checkpoint that at names: "" is the last of the run, STEP that step in the last node that has it, NODE the last
// of a node, NODE@STEP one step of it.
func (r *Run) CheckpointAt(at string) (Checkpoint, error) {
	all, err := r.Checkpoints()
	if err != nil {
		return Checkpoint{}, err
	}
	node, text, both := strings.Cut(at, "@")
	if _, err := strconv.Atoi(node); err == nil && !both {
		node, text = "", node
	}
	node = unsafeInName.ReplaceAllString(node, "_") // as the folder has it
	step := -1
	if text != "" {
		if step, err = strconv.Atoi(text); err != nil || step < 0 {
			return Checkpoint{}, fmt.Errorf("%s@%s: %q is no step: write @STEP, @NODE or @NODE@STEP", r.Dir, at, text)
		}
	}
	for _, c := range slices.Backward(all) {
		if (node == "" || c.Stage == node) && (step < 0 || c.Step == step) {
			return c, nil
		}
	}
	if len(all) == 0 {
		return Checkpoint{}, fmt.Errorf("%s: no checkpoint yet; hone resume %s goes on to the next one", r.Dir, r.Dir)
	}
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = fmt.Sprintf("%s@%d", c.Stage, c.Step)
	}
	return Checkpoint{}, fmt.Errorf("%s: no checkpoint %s; kept are %s", r.Dir, at, some(names))
}
