package task

import "github.com/hone-lm/hone/internal/rng"

// Padded is Verbose with up to PaddedChecks redundant checks among the steps: right, but longer than it needs to be, as teachers' traces often
// are. Their number and places are drawn from the problem's key, so a problem always has the same trace.
const Padded Form = "padded"

// PaddedChecks is the largest number of redundant checks in a padded trace; every number up to it is as likely.
const PaddedChecks = 3

func (t *Trace) padded(w Wording) ([]Part, error) {
	key := rng.New(t.Problem.Key, "padding")
	checked, err := t.Checked(key.Sub("how many").Intn(0, PaddedChecks+1), key)
	if err != nil {
		return nil, err
	}
	return checked.Render(Verbose, w)
}
