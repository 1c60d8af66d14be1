package report

import (
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/run"
)

var update = flag.Bool("update", false, "write the golden files anew")

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// example writes a run of three stages with noise, gaps, several suites and text that wants to be HTML or Markdown.
func example(t testing.TB) *run.Run {
	t.Helper()
	r, err := run.Create(t.TempDir(), "warmup-grpo", []byte("recipe: warmup-grpo\nmodel: nano\nseed: 1\nnote: '<script>alert(1)</script> ```'\n"))
	check(t, err)
	t.Cleanup(func() { r.Close() })
	noise := func(name string, i int) float64 { return rng.New(1, name).Normal(uint64(i)) }
	eval := func(stage string, step int, acc, gain float64) {
		values := []run.Value{{Name: run.Accuracy, V: acc}, {Name: run.AccuracyLow, V: max(0, acc-0.04)}, {Name: run.AccuracyHigh, V: acc + 0.04}, {Name: run.Problems, V: 500},
			{Name: "gsm8k/accuracy", V: acc / 2}, {Name: "gsm8k/n", V: 100}}
		if !math.IsNaN(gain) {
			values = append(values, run.Value{Name: run.Gain, V: gain}, run.Value{Name: run.GainLow, V: gain - 0.03}, run.Value{Name: run.GainHigh, V: gain + 0.03})
		}
		check(t, r.Metrics(run.Metrics{Stage: stage, Step: step, Kind: run.KindEval, Values: values}))
		for i, v := range []string{"correct", "wrong"} {
			check(t, r.Sample(run.Sample{Stage: stage, Step: step, Problem: fmt.Sprint("countdown/", i), Prompt: "3 5 7 -> 26\n", Completion: "7*3+5 <b>|`", Verdict: v, Reward: run.Float(1 - i)}))
		}
	}
	eval("base", 0, 0, math.NaN())
	for i := 1; i <= 600; i++ {
		loss := 3*math.Exp(-float64(i)/150) + 0.4 + 0.05*noise("loss", i)
		check(t, r.Metrics(run.Metrics{Stage: "sft", Step: i, Kind: run.KindTrain, Values: []run.Value{{Name: run.Loss, V: loss}, {Name: run.GradNorm, V: 1 + 0.2*noise("norm", i)}, {Name: run.Trained, V: 2000}, {Name: "lr", V: 1e-3}}}))
		check(t, r.Timing(run.Metrics{Stage: "sft", Step: i, Kind: run.KindTime, Values: []run.Value{{Name: run.Seconds, V: 0.065}, {Name: run.TokensPerSec, V: 31000 + 500*noise("speed", i)}}}))
		if i%200 == 0 {
			eval("sft", i, 0.262*float64(i)/600, 0.262*float64(i)/600)
		}
	}
	check(t, r.Metrics(run.Metrics{Stage: "grpo", Step: 118, Kind: run.KindNote, Text: "reward rises while <entropy> falls"}))
	for i := 1; i <= 280; i++ {
		rise := float64(i) / 280
		reward := 0.13 + 0.2*rise + 0.05*noise("reward", i)
		if i == 100 {
			reward = math.NaN()
		}
		check(t, r.Metrics(run.Metrics{Stage: "grpo", Step: i, Kind: run.KindTrain, Values: []run.Value{{Name: run.Loss, V: 0.01 * noise("l", i)}, {Name: run.Reward, V: reward}, {Name: run.Accuracy, V: reward},
			{Name: run.Entropy, V: 1.1 - 0.5*rise + 0.03*noise("h", i)}, {Name: run.Length, V: 18 + 3*rise + noise("len", i)}, {Name: run.GradNorm, V: 0.4 + 0.1*noise("norm2", i)}, {Name: run.Trained, V: 4000}, {Name: run.Sampled, V: 4800}, {Name: "ratio", V: 1}}}))
		check(t, r.Timing(run.Metrics{Stage: "grpo", Step: i, Kind: run.KindTime, Values: []run.Value{{Name: run.Seconds, V: 0.26}, {Name: run.TokensPerSec, V: 12400 + 300*noise("speed2", i)}}}))
		if i%70 == 0 {
			eval("grpo", i, 0.262+0.096*rise, 0.096*rise)
		}
	}
	rollouts(t, r)
	check(t, r.Event(run.Done))
	check(t, r.Sync())
	return r
}

// rollouts writes training samples: of step 4 more than the page holds, with text that wants to be HTML.
func rollouts(t testing.TB, r *run.Run) {
	t.Helper()
	for step := 1; step <= 9; step++ {
		for i := range 12 {
			row := run.Rollout{Step: step, Problem: fmt.Sprint("countdown/", i/6), Sample: i % 6, Text: "7</script>", Verdict: "wrong", Stop: "eos", Tokens: []int32{3, 5, 7, 9}, Pieces: []string{"3 ", "5 -> ", "7</script>", "<end>"}, Prompt: 2,
				LogProb: run.Column{-0.5, -0.25}, Advantage: run.Column{float32(i), -1}, Weights: map[string]run.Column{"rl": {1, 0}}, Scale: map[string]run.Short{"rl": 0.125}}
			check(t, r.Append("rollouts/grpo.jsonl", row))
		}
	}
}

// The page holds some samples of some steps: the first and the last step among them, whole groups as far as they go.
func TestTrainingSamples(t *testing.T) {
	r := example(t)
	stages, err := Stages(r)
	check(t, err)
	got, err := trainingSamples(r, stages)
	check(t, err)
	steps := map[int]int{}
	for _, s := range got {
		steps[s.Step]++
		if s.Stage != "grpo" || s.Sample >= rolloutRows {
			t.Errorf("%+v", s)
		}
	}
	if want := map[int]int{1: 8, 3: 8, 5: 8, 7: 8, 9: 8}; !maps.Equal(steps, want) {
		t.Errorf("samples by step: %v, want %v", steps, want)
	}
	long := run.Rollout{Step: 10, Problem: "long", Tokens: make([]int32, rolloutTokens)}
	check(t, r.Append("rollouts/grpo.jsonl", long))
	got, err = trainingSamples(r, stages)
	check(t, err)
	for _, s := range got {
		if s.Problem == "long" {
			t.Error("a sample longer than the page may be is on it")
		}
	}
	if spread(nil, 5) != nil || !slices.Equal(spread([]int{1, 2, 3, 4, 5, 6, 7}, 3), []int{1, 4, 7}) {
		t.Error("spread")
	}
}

func TestGolden(t *testing.T) {
	r := example(t)
	check(t, Write(r))
	for _, name := range []string{run.ReportMD, run.ReportHTML} {
		got, err := os.ReadFile(r.Path(name))
		check(t, err)
		golden := filepath.Join("testdata", name)
		if *update {
			check(t, os.MkdirAll("testdata", 0o777))
			check(t, os.WriteFile(golden, got, 0o666))
			continue
		}
		if name == run.ReportHTML && runtime.GOARCH != "amd64" {
			continue // other processors fuse multiplications and round a coordinate differently
		}
		want, err := os.ReadFile(golden)
		check(t, err)
		if string(got) != string(want) {
			t.Errorf("%s differs from %s; look at both, then run this test with -update", r.Path(name), golden)
		}
	}
}

func TestPage(t *testing.T) {
	r := example(t)
	check(t, Write(r))
	data, err := os.ReadFile(r.Path(run.ReportHTML))
	check(t, err)
	page := string(data)
	dec := xml.NewDecoder(strings.NewReader(page))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := dec.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("elements are not closed in order: %v", err)
		}
	}
	if n := strings.Count(page, "<svg "); n != 9 {
		t.Errorf("%d charts, want reward, accuracy, entropy, length, gradient norm, loss, speed, lr, ratio", n)
	}
	scripts := regexp.MustCompile(`(?s)<script( type="application/json" id="rollouts")?>.*?</script>`)
	if n := len(scripts.FindAllString(page, -1)); n != 2 || !strings.Contains(page, `7\u003c/script\u003e`) {
		t.Errorf("%d scripts; want the samples and what shows them", n)
	}
	page = scripts.ReplaceAllString(page, "")
	for _, bad := range []string{"<script", "src=", "http://", "https://", "NaN", "Inf", "fill:#", "stroke:#", "fill:;", "<b>|"} {
		if strings.Contains(strings.ReplaceAll(page, `"http://www.w3.org/`, `"`), bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, want := range []string{"26.2 % [22.2, 30.2]", "&#43;9.6 [6.6, 12.6] paired", "35.8 %", "1.2M", "1:13", "gsm8k", "&lt;script&gt;", "prefers-color-scheme: dark", ">0.001</text>", "sft</text>", "grpo</text>", "reward rises"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not contain %q", want)
		}
	}
}

// A run that has only begun has a report too.
func TestEmptyRun(t *testing.T) {
	r, err := run.Create(t.TempDir(), "sft", []byte("recipe: sft\n"))
	check(t, err)
	defer r.Close()
	check(t, Write(r))
	check(t, r.Metrics(run.Metrics{Stage: "sft", Step: 1, Kind: run.KindTrain, Values: []run.Value{{Name: run.Loss, V: math.NaN()}, {Name: run.Reward, V: 1}}}))
	check(t, r.Metrics(run.Metrics{Stage: "sft", Step: 0, Kind: run.KindEval, Values: []run.Value{{Name: run.Accuracy, V: 0}}}))
	check(t, Write(r))
}

func TestTicks(t *testing.T) {
	for _, c := range []struct{ low, high float64 }{{0, 1}, {0, 880}, {-0.03, 0.04}, {1e-9, 2e-9}, {1e6, 1.1e6}, {0.997, 1.003}} {
		all := ticks{compact}.Ticks(c.low, c.high)
		if len(all) < 3 || len(all) > 7 {
			t.Errorf("%v: %d ticks", c, len(all))
		}
		for i, k := range all {
			if i > 0 && k.Label == all[i-1].Label {
				t.Errorf("%v: two ticks say %s", c, k.Label)
			}
		}
	}
	if (ticks{compact}).Ticks(1, 1) != nil || (ticks{compact}).Ticks(math.NaN(), 1) != nil {
		t.Error("ticks of no range")
	}
}

func TestThin(t *testing.T) {
	points := make([]point, 5000)
	for i := range points {
		points[i] = point{X: float64(i)}
	}
	points[1234].Y, points[4321].Y = 7, -7
	out := thin(points)
	var high, low bool
	for i, p := range out {
		high, low = high || p.Y == 7, low || p.Y == -7
		if i > 0 && p.X <= out[i-1].X {
			t.Fatal("out of order")
		}
	}
	if len(out) > maxPoints || !high || !low {
		t.Errorf("%d points, peaks kept: %v %v", len(out), high, low)
	}
}

func TestSummary(t *testing.T) {
	got, err := Summary(example(t))
	check(t, err)
	want := `stage        accuracy              gain over the stage before   cost
base          0.0 % [ 0.0,  4.0]
base gsm8k    0.0 %
sft          26.2 % [22.2, 30.2]   +26.2 [23.2, 29.2] paired    1.2M tokens trained, 0:39
sft gsm8k    13.1 %
grpo         35.8 % [31.8, 39.8]    +9.6 [6.6, 12.6] paired     1.3M tokens sampled, 1.1M tokens trained, 1:13
grpo gsm8k   17.9 %
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	stages, err := Stages(example(t))
	if err != nil || len(stages) != 3 || stages[2].From != 600 || stages[2].Evals[0].N != 500 {
		t.Errorf("%+v, %v", stages, err)
	}
}
