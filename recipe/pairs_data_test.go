package recipe

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// answerSums returns for each row the sum of the engine's log-probs over its answer, and the number of tokens.
func answerSums(t *testing.T, e engine.Engine, rows []engine.Row) (logp, n []float64) {
	t.Helper()
	for _, r := range rows {
		scores, err := e.Score(context.Background(), []*engine.Sequence{r.Seq}, engine.Want{})
		if err != nil {
			t.Fatal(err)
		}
		sum, tokens := 0.0, 0.0
		for k, counted := range r.Mask {
			if counted {
				sum += float64(scores[0].LogProb[k])
				tokens++
			}
		}
		logp, n = append(logp, sum), append(n, tokens)
	}
	return logp, n
}

// shiftReference moves the reference's log-probs of every answer token of row i by -(i+1)/10 and returns the ratios that follow.
func shiftReference(t *testing.T, rows []engine.Row) (ratio []float64) {
	t.Helper()
	for i, r := range rows {
		ref := slices.Clone(r.Seq.Channel(engine.ChanRef))
		sum := 0.0
		for k, counted := range r.Mask {
			if counted {
				before := ref[k]
				ref[k] -= float32(i+1) / 10
				sum += float64(before) - float64(ref[k])
			}
		}
		r.Seq.Chan = engine.Channels{engine.ChanRef: ref, "label": r.Seq.Channel("label")}
		ratio = append(ratio, sum)
	}
	return ratio
}

func lossOf(t *testing.T, s *train.Session, streams []engine.Stream) engine.Stats {
	t.Helper()
	_, stats := gradient(t, s.Engine.(*local.Engine), streams, nil)
	return stats
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s is %.12g, want %.12g", what, got, want)
	}
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// A task's chosen answers are graded right, its rejected ones wrong, and both have the same prompt.
func TestTaskPairs(t *testing.T) {
	for _, ref := range []string{"countdown?level=3", "chain_sum?levels=2&digits=1-2", "knights_knaves", "frozenlake", "countdown?level=3&wording=natural"} {
		s := launch(t, "dpo", t.TempDir(), "data="+ref, "rows=12", "eval.problems=0")
		s.Run.Close()
		b := &Build{Format: s.Env.Format, Common: &s.Common, Context: s.Engine.Info().Context}
		pairs := s.Plan.Nodes[1].Method.(*DPO).pairs
		tk, source, err := b.Problems(ref, task.Train)
		if err != nil || len(pairs) != 12 {
			t.Fatalf("%s: %d pairs, %v", ref, len(pairs), err)
		}
		for i, p := range pairs {
			problem, err := source.At(i)
			if err != nil {
				t.Fatal(err)
			}
			for side, want := range []task.Verdict{task.Correct, task.Wrong} {
				var answer []int32
				for k, id := range p[side].Tokens {
					if p[side].KindAt(k) == engine.KindDemo {
						answer = append(answer, id)
					}
				}
				if got := tk.Check(problem, s.Env.Format.Tok.Decode(answer, true)); got.Verdict != want {
					t.Errorf("%s pair %d side %d: %v, %s", ref, i, side, got.Verdict, got.Detail)
				}
			}
			n := p[0].Count(engine.KindPrompt)
			if n != p[1].Count(engine.KindPrompt) || !slices.Equal(p[0].Tokens[:n], p[1].Tokens[:n]) {
				t.Errorf("%s pair %d: two prompts", ref, i)
			}
		}
	}
}

// A pair that a batch meets twice is two units, and its reference is scored once for all epochs.
func TestPairsOverEpochs(t *testing.T) {
	_, streams := lastBatch(t, "dpo", "rows=3", "batch=8")
	units := map[int64]int{}
	channels := map[*float32]bool{}
	for _, r := range streams[0].Rows {
		units[r.Seq.Unit]++
		channels[&r.Seq.Channel(engine.ChanRef)[0]] = true
	}
	for u, n := range units {
		if u == 0 || n != 2 {
			t.Errorf("unit %d has %d rows", u, n)
		}
	}
	if len(units) != 8 || len(channels) != 6 {
		t.Errorf("%d units of 8, %d reference columns of 6", len(units), len(channels))
	}
}

// Every recipe of pairs trains from a file; what is too long is refused by its line, or cut.
func TestPairFiles(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "pairs.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := `{"prompt": "2+2=", "chosen": "4", "rejected": "5"}` + "\n" + `{"chosen": "3+3=6", "rejected": "3+3=7"}` + "\n"
	long := write(good + `{"prompt": "2+3=", "chosen": "` + strings.Repeat("5", 100) + `", "rejected": "6"}`)
	filled := write(good + `{"prompt": "` + strings.Repeat("5", 100) + `", "chosen": "5", "rejected": "6"}`)
	path := write(good)
	labels := write(`{"prompt": "2+2=", "completion": "4", "label": true}` + "\n" + `{"prompt": "3+2=", "completion": "4", "label": false}`)
	for _, name := range []string{"dpo", "kto", "orpo", "simpo"} {
		whole(t, name, "data="+path, "rows=0", "steps=3")
		for file, want := range map[string]string{long: "pairs.jsonl:3: ", filled: "pairs.jsonl:3: "} {
			if err := startError(t, name, "data="+file, "context=64"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "truncate") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := startError(t, name, "data="+long, "context=64", "too_long=truncate"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := startError(t, name, "data="+filled, "context=64", "too_long=truncate"); err == nil || !strings.Contains(err.Error(), "leaves nothing of the answer") {
			t.Errorf("%s: %v", name, err)
		}
		if err := startError(t, name, "data="+path, "too_long=split"); err == nil || !strings.Contains(err.Error(), "too_long") {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole(t, "kto", "data="+labels, "rows=0", "steps=3", "batch=2")
}

func startError(t *testing.T, name string, settings ...string) error {
	t.Helper()
	_, cfg, err := Parse(name, "", nil, append(quick(name), settings...))
	if err == nil {
		_, err = Start(context.Background(), cfg, nil, os.Stderr)
	}
	return err
}

// Pairs that hold an evaluation's question are left out whole.
func TestPairsContamination(t *testing.T) {
	const held = "chain_sum?levels=6&digits=2&wording=natural"
	s := launch(t, "sft", t.TempDir(), "eval.task="+held, "eval.problems=20")
	s.Run.Close()
	question := s.Suites[0].Problems[0].Question
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	rows := `{"prompt": "2+2=", "chosen": "4", "rejected": "5"}` + "\n" + `{"prompt": "` + question + `", "chosen": "4", "rejected": "5"}`
	if err := os.WriteFile(path, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]int{"drop": 1, "ignore": 2} {
		s := launch(t, "dpo", t.TempDir(), "data="+path, "eval.task="+held, "eval.problems=20", "eval.contamination="+setting)
		s.Run.Close()
		if got := len(s.Plan.Nodes[1].Method.(*DPO).pairs); got != want {
			t.Errorf("contamination=%s: %d pairs, want %d", setting, got, want)
		}
	}
	if err := startError(t, "dpo", "data="+path, "eval.task="+held, "eval.problems=20", "eval.contamination=error"); err == nil || !strings.Contains(err.Error(), "pairs.jsonl:2") {
		t.Error(err)
	}
}
