// Package claim runs grids of runs (Jobs), resumable, and puts the claims of papers to the test on them: arms, seeds, learning rates, tables
// and verdicts.
package claim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// Job is one run: a recipe with settings. Name becomes the folder's name.
type Job struct {
	Name     string
	Recipe   string
	Settings []string
}

// Executor runs jobs, each in a process of its own (Launch), several at a time. What is done already is taken as it is; what was stopped
// goes on.
type Executor struct {
	Runs   string // folder of the run folders
	Cache  string // folder of stages that runs share; "" = none
	Path   string // file with settings of all jobs, which their own override; "" = none
	Source []byte // what it holds
	Jobs   int    // at a time
	Launch func(ctx context.Context, args []string) error
	Told   func(done, total int, job Job, what string) // progress; may be nil
}

// prepared is a job with its resolved settings.
type prepared struct {
	Job
	args []string
	yaml []byte
}

// Run does all jobs and returns their runs in the same order. At the first failure it lets the others in flight end and stops.
func (x *Executor) Run(ctx context.Context, jobs []Job) ([]*run.Run, error) {
	todo := make([]prepared, len(jobs))
	for i, j := range jobs { // every setting is read before any work
		p, err := x.prepare(j)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.Name, err)
		}
		todo[i] = p
	}
	out := make([]*run.Run, len(jobs))
	errs := make([]error, len(jobs))
	var mu sync.Mutex
	next, done := 0, 0
	var wg sync.WaitGroup
	for range max(1, x.Jobs) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				failed := errors.Join(errs...) != nil
				mu.Unlock()
				if i >= len(todo) || failed || ctx.Err() != nil {
					return
				}
				r, what, err := x.one(ctx, &todo[i])
				mu.Lock()
				done++
				out[i], errs[i] = r, err
				if x.Told != nil {
					x.Told(done, len(todo), todo[i].Job, what)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out, errors.Join(append(errs, ctx.Err())...)
}

func (x *Executor) prepare(j Job) (prepared, error) {
	settings := append(slices.Clone(j.Settings), "name="+j.Name, "runs="+x.Runs, "cache="+x.Cache)
	_, cfg, err := recipe.Parse(j.Recipe, x.Path, x.Source, settings)
	if err != nil {
		return prepared{}, err
	}
	yaml, err := recipe.Resolved(j.Recipe, cfg)
	what := j.Recipe
	if x.Path != "" {
		what = x.Path
	}
	return prepared{j, append([]string{"run", what}, settings...), yaml}, err
}

// one finds the job's run, or makes it.
func (x *Executor) one(ctx context.Context, p *prepared) (r *run.Run, what string, err error) {
	r, status, err := x.find(p)
	if err != nil || status == run.Done {
		return r, "done before", err
	}
	args := p.args
	if what = "done"; r != nil {
		what, args = "resumed", []string{"resume", r.Dir}
	}
	if err := x.Launch(ctx, args); err != nil {
		return nil, "failed", fmt.Errorf("%s: hone %s: %w", p.Name, strings.Join(args, " "), err)
	}
	if r, status, err = x.find(p); err == nil && status != run.Done {
		err = fmt.Errorf("%s: hone %s ended without finishing the run", p.Name, strings.Join(args, " "))
	}
	return r, what, err
}

// find looks for a run with exactly the job's settings, of this very program.
func (x *Executor) find(p *prepared) (*run.Run, string, error) {
	ids, err := run.List(x.Runs)
	if err != nil {
		return nil, "", err
	}
	version, err := train.CodeVersion()
	if err != nil {
		return nil, "", err
	}
	for _, id := range ids {
		if !strings.HasPrefix(id, p.Name) {
			continue
		}
		r, err := run.Open(x.Runs, id)
		if err != nil {
			return nil, "", err
		}
		yaml, err := r.Config()
		if err != nil {
			return nil, "", err
		}
		program, err := os.ReadFile(r.Path(train.ProgramFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, "", err
		}
		if string(yaml) != string(p.yaml) || x.Cache != "" && strings.TrimSpace(string(program)) != version {
			continue
		}
		timing, err := r.ReadMetrics(run.TimingFile)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, "", err
		}
		return r, run.LastEvent(timing), nil
	}
	return nil, "", nil
}
