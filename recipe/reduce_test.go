package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/hone-lm/hone/docs"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
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

// What the pages call the same bit for bit, without the quick settings of the test above: the stages agree in all settings that
// both have.
func TestReductionsOfDefaults(t *testing.T) {
	if testing.Short() {
		t.Skip("makes many rows")
	}
	ones := "demos.source=data behaviour.from=start sft.low=0 sft.high=0 sft.gamma=1"
	for _, c := range []struct{ name, with, to, toWith string }{
		{"reft", "warmup.steps=0", "ppo", "steps=100 questions=500 minibatches=2 group_size=1 norm=seq_mean value_coef=5 partial=0.1 lr=3e-4"},
		{"reft", "arm=sft warmup.steps=0", "sft", "rows=500 steps=400"},
		{"pear", ones, "warmup-grpo", "sft.steps=90 sft.rows=5000 grpo.steps=100 grpo.problems=16 grpo.max_tokens=48"},
		{"pear", ones + " grpo.steps=0", "sft", "steps=90"},
		{"pear", ones + " grpo.steps=0 sft.power=1", "dft", "steps=90"},
		{"e2c", "sft.steps=0 rl2.steps=0 rl1.forced=false", "grpo", "steps=40 problems=16 max_tokens=48 temperature=1.2"},
		{"itool", "iterations=0 sft.order=shuffled", "sft", "data=tool_calls?tools=3&levels=1-2 rows=2000 batch=32 steps=300"},
		{"curiosft", "sft.alpha=0 warmup.steps=0", "warmup-grpo", "sft.steps=200 sft.rows=2000 sft.batch=32 sft.schedule=cosine sft.min_lr=1e-7 grpo.steps=100 grpo.problems=16"},
		{"curiosft", "sft.alpha=0 warmup.steps=0 grpo.steps=0", "sft", "steps=200 rows=2000 batch=32 schedule=cosine min_lr=1e-7"},
	} {
		page, err := docs.Recipe(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if said := "`" + c.to + " " + c.toWith + "`"; !strings.Contains(strings.Join(strings.Fields(page), " "), said) {
			t.Errorf("the page of %s does not say %s", c.name, said)
		}
		got, want := planOf(t, c.name, c.with), planOf(t, c.to, c.toWith)
		if len(got.Nodes) != len(want.Nodes) {
			t.Fatalf("%s %s: %d stages, %s has %d", c.name, c.with, len(got.Nodes), c.to, len(want.Nodes))
		}
		for i := range want.Nodes {
			a, b := &got.Nodes[i], &want.Nodes[i]
			if a.Steps != b.Steps || max(1, a.Passes) != max(1, b.Passes) || max(1, a.Minibatches) != max(1, b.Minibatches) || !reflect.DeepEqual(a.Optim, b.Optim) || !reflect.DeepEqual(a.Params, b.Params) {
				t.Errorf("%s %s: stage %s has %d steps and %+v, %s has %d and %+v", c.name, c.with, a.Name, a.Steps, a.Optim, c.to, b.Steps, b.Optim)
			}
			for key, v := range settingsOf(t, b) {
				if w, ok := settingsOf(t, a)[key]; ok && w != v {
					t.Errorf("%s %s: stage %s has %s=%s, %s has %s", c.name, c.with, a.Name, key, w, c.to, v)
				}
			}
		}
	}
}

func planOf(t *testing.T, name, settings string) train.Plan {
	t.Helper()
	_, cfg, err := Parse(name, "", nil, append(strings.Fields(settings), "eval.problems=0"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(context.Background(), cfg, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return s.Plan
}

// settingsOf reads a node's settings, which stand one a line at the top.
func settingsOf(t *testing.T, n *train.Node) map[string]string {
	t.Helper()
	out := map[string]string{}
	if n.Method == nil {
		return out
	}
	b, err := config.Marshal(n.Method)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if key, v, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, " ") {
			v, _, _ = strings.Cut(v, " #")
			out[key] = strings.TrimSpace(v)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no settings in %s", b)
	}
	return out
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
