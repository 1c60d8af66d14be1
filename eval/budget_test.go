package eval

import (
	"context"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// says answers problem i with its i-th text, a token a byte, behind a prompt and an inserted opening, in so many segments.
type says struct {
	texts    []string
	segments int
}

func (s says) Solve(ctx context.Context, env *rollout.Env, problems []*task.Problem, n int) ([]*rollout.Group, error) {
	var groups []*rollout.Group
	for i, p := range problems {
		seq := &engine.Sequence{}
		for _, part := range []struct {
			text string
			kind engine.Kind
		}{{"q:", engine.KindPrompt}, {"so ", engine.KindInserted}, {s.texts[i], engine.KindSampled}} {
			for _, id := range env.Format.Tok.Encode(part.text, token.EncodeOptions{}) {
				seq.Tokens, seq.Kind = append(seq.Tokens, id), append(seq.Kind, part.kind)
			}
		}
		e := &rollout.Episode{Problem: p, Text: s.texts[i], Cost: reward.Cost{Prompt: 2, Sampled: s.segments * len(s.texts[i])}}
		for range s.segments {
			e.Segs = append(e.Segs, seq)
		}
		groups = append(groups, &rollout.Group{Key: p.ID, Episodes: []*rollout.Episode{e}})
	}
	return groups, env.Grader.Grade(ctx, groups)
}

// lastIs finds an answer right that ends in x, and counts what it is asked.
type lastIs struct{ asked *int }

func (lastIs) Name() string { return "last" }

func (g lastIs) Grade(_ context.Context, groups []*rollout.Group) error {
	for _, e := range rollout.Episodes(groups) {
		*g.asked++
		e.Grade = reward.Grade{Verdict: task.Wrong}
		if strings.HasSuffix(e.Text, "x") {
			e.Grade = reward.Grade{Verdict: task.Correct, Score: 1}
		}
	}
	return nil
}

// TestBudgets: an answer counts as what it says where the budget ends; the whole answers stay as they are, and only what was cut is graded anew.
func TestBudgets(t *testing.T) {
	asked := 0
	texts := []string{"x", "abx", "abxabc", "abcabx", "aaaaaaaa"}
	s := &Suite{Name: "s", Grader: lastIs{&asked}, Solver: says{texts, 1}, Budgets: []int{1, 3, 6, 9}}
	for range texts {
		s.Problems = append(s.Problems, &task.Problem{ID: "p"})
	}
	env := rollout.Env{Format: &rollout.Format{Tok: token.Bytes()}}
	r, err := s.Run(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{1. / 5, 3. / 5, 3. / 5, 3. / 5} { // x; x, abx, abx|abc; x, abx, abcabx; the same
		if b := r.AtBudget[i]; b.Tokens != s.Budgets[i] || b.Accuracy.Mean != want || b.Accuracy.N != 5 {
			t.Errorf("at %d tokens %+v, want %g", s.Budgets[i], b, want)
		}
	}
	if r.Accuracy.Mean != 3./5 || asked != 5+4+3+1 {
		t.Errorf("accuracy %g, %d answers graded", r.Accuracy.Mean, asked)
	}
	if r.AtBudget[3].Accuracy != r.Accuracy {
		t.Errorf("a budget that cuts nothing gives %+v, not %+v", r.AtBudget[3].Accuracy, r.Accuracy)
	}
	s.Solver = says{texts, 2}
	if _, err := s.Run(context.Background(), env); err == nil || !strings.Contains(err.Error(), "one piece") {
		t.Errorf("an answer in two pieces: %v", err)
	}
}

func TestCheckBudgets(t *testing.T) {
	for _, c := range []struct {
		budgets []int
		max     int
		good    bool
	}{{nil, 64, true}, {[]int{8, 64}, 64, true}, {[]int{8, 65}, 64, false}, {[]int{8, 65}, 0, true}, {[]int{8, 8}, 64, false}, {[]int{9, 8}, 64, false}, {[]int{0, 8}, 64, false}} {
		if err := CheckBudgets(c.budgets, c.max); (err == nil) != c.good {
			t.Errorf("%v of %d: %v", c.budgets, c.max, err)
		}
	}
}
