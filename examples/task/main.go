// Command task registers a task of its own, with its generator, expert and grader, and trains on it: reverse a word.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/task"
)

// reverse implements task.Generator: words of two to level letters, to be written backwards.
type reverse struct{}

func (reverse) Name() string                                    { return "reverse" }
func (reverse) Levels() (lo, hi int)                            { return 2, 8 }
func (reverse) Question(p *task.Problem, _ task.Wording) string { return p.Question }
func (reverse) Expert(p *task.Problem) (*task.Trace, error)     { return task.NewTrace(p, p.Answer), nil }
func (r reverse) Generate(key engine.Key, level int) (*task.Problem, error) {
	word := make([]byte, 2+key.Intn(0, max(level, 3)-1))
	for i := range word {
		word[i] = byte('a' + key.Intn(uint64(i+1), 26))
	}
	back := slices.Clone(word)
	slices.Reverse(back)
	return task.NewProblem(r.Name(), level, task.Given{Text: "reverse " + string(word), Answer: string(back)})
}

// Check gives part of the reward for each letter in its place: a grader with a named term.
func (reverse) Check(p *task.Problem, answer string) task.Result {
	got := strings.TrimSpace(answer)
	if got == "" {
		return task.Result{Verdict: task.Unparsed, Detail: "no answer"}
	}
	right := 0
	for i := range min(len(got), len(p.Answer)) {
		if got[i] == p.Answer[i] {
			right++
		}
	}
	r := task.Result{Verdict: task.Wrong, Answer: got, Score: 0.5 * float64(right) / float64(max(len(got), len(p.Answer))), Terms: []task.Term{{Name: "letters", Value: float64(right)}}}
	if got == p.Answer {
		r.Verdict, r.Score = task.Correct, 1
	}
	return r
}

func main() {
	err := task.Register("reverse", "write a word backwards", func(r task.Ref) (task.Task, error) {
		for name := range r.Options {
			return nil, fmt.Errorf("unknown option %q: it has none but level", name)
		}
		return reverse{}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	settings := []string{"sft.data=reverse?level=3", "sft.rows=100", "sft.steps=30", "grpo.task=reverse?level=3", "grpo.steps=5", "grpo.problems=8", "grpo.max_tokens=12", "eval.problems=50"}
	r, err := recipe.Train(context.Background(), "warmup-grpo", append(settings, os.Args[1:]...), os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("trained:", r.Dir)
}
