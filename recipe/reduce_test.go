package recipe

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hone-lm/hone/docs"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/run"
)

// trajectory runs a recipe and returns what every step did (loss, gradient norm, learning rate and tokens of each update, without the stages'
// names) and the final weights.
func trajectory(t *testing.T, name string, settings []string) (steps []string, weights []float32) {
	t.Helper()
	s := launch(t, name, t.TempDir(), append([]string{"eval.problems=0"}, settings...)...)
	if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Kind != run.KindTrain {
			continue
		}
		var b strings.Builder
		for _, want := range []string{run.Loss, run.GradNorm, "lr", run.Trained, run.Sampled, run.Reward} {
			v, ok := row.Get(want)
			if ok {
				fmt.Fprintf(&b, "%s=%v ", want, v)
			}
		}
		steps = append(steps, b.String())
	}
	for _, p := range s.Engine.(*local.Engine).Model().Params() {
		weights = append(weights, p.Data...)
	}
	return steps, weights
}

// TestReductions: with the settings that a recipe's entry names it takes the very steps of the plainer recipe, bit for bit; without them it
// does not.
func TestReductions(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every recipe")
	}
	compared := 0
	for _, name := range Names() {
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if (len(p.Reduces) == 0) == (p.Irreducible == "") {
			t.Errorf("recipe %s: say under which settings it is a plainer recipe (Reduces), or why there are none (Irreducible)", name)
		}
		for _, r := range p.Reduces {
			compared++
			plain, plainWeights := trajectory(t, r.To, r.ToWith)
			steps, weights := trajectory(t, name, r.With)
			if strings.Join(steps, "\n") != strings.Join(plain, "\n") || !sameBits(weights, plainWeights) {
				t.Errorf("%s %v is not %s %v:\n%s\nwant\n%s", name, r.With, r.To, r.ToWith, strings.Join(steps, "\n"), strings.Join(plain, "\n"))
			}
			if len(r.With) > 0 {
				if _, weights := trajectory(t, name, nil); sameBits(weights, plainWeights) {
					t.Errorf("%s is %s without any settings: the comparison shows nothing", name, r.To)
				}
			}
		}
	}
	t.Logf("%d reductions", compared)
}

// Every recipe has a page that names its settings as they are, and says so much about its paper that one finds it.
func TestPages(t *testing.T) {
	command := regexp.MustCompile(`(?m)^hone run (\S+)((?: \S+=\S+)*)`)
	for _, name := range Names() {
		page, err := docs.Recipe(name)
		if err != nil {
			t.Errorf("recipe %s has no page: write docs/recipes/%s.md", name, name)
			continue
		}
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.ArXiv != "" && (!strings.Contains(page, p.ArXiv) || p.Org == "" || p.Date == "") {
			t.Errorf("%s: the page does not link arXiv %s, or the entry has no organisation or date", name, p.ArXiv)
		}
		commands := command.FindAllStringSubmatch(page, -1)
		if !strings.HasPrefix(page, "# "+name+": ") || len(commands) == 0 {
			t.Errorf("%s: the page wants the title %q and a command that begins with hone run", name, "# "+name+": ...")
		}
		for _, c := range commands {
			if _, _, err := Parse(c[1], "", nil, strings.Fields(c[2])); err != nil && !strings.Contains(c[0], "PATH") && !strings.Contains(c[0], "=S") { // names of files, and seed=S for a table of seeds
				t.Errorf("%s: the page's command %q: %v", name, c[0], err)
			}
		}
	}
}

// With its defaults the recipe takes the steps that made the embedded model.
func TestPretrainIsNano(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	var want []float64
	m, err := nano.Pretrain(context.Background(), nano.Pretraining{Seed: 1, Steps: 52, Rows: 2, LR: nano.Default().LR}, func(step int, loss float64) { want = append(want, loss) })
	if err != nil {
		t.Fatal(err)
	}
	steps, weights := trajectory(t, "pretrain", []string{"steps=52", "warmup=50", "batch=2", "row_tokens=256", "model=new", "corpus=nano"})
	var nanos []float32
	for _, q := range m.Params() {
		nanos = append(nanos, q.Data...)
	}
	if !sameBits(weights, nanos) {
		t.Errorf("other weights; last steps: %s, loss %v", steps[51], want[51])
	}
}
