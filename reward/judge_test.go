package reward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/enginetest"
	"github.com/hone-lm/hone/task"
)

// abcd is iTool's scale: (1 P(A) + 0.1 P(B) - 1 P(C) - 2 P(D)) / 4.
var abcd = Scale{{"A", 1. / 4, true, "excellent"}, {"B", .1 / 4, false, "acceptable"}, {"C", -1. / 4, false, "fair"}, {"D", -2. / 4, false, "poor"}}

// itool, check 3.
func TestWeigh(t *testing.T) {
	for _, c := range []struct {
		probs   []float64
		score   float64
		option  string
		verdict task.Verdict
	}{
		{[]float64{1, 0, 0, 0}, 0.25, "A", task.Correct},
		{[]float64{0, 0, 0, 1}, -0.5, "D", task.Wrong},
		{[]float64{.25, .25, .25, .25}, -0.11875, "A", task.Correct},
	} {
		o := abcd.Weigh(c.probs)
		if math.Abs(o.Score-c.score) > 1e-12 || o.Option != c.option || o.Verdict != c.verdict {
			t.Errorf("%v: %+v", c.probs, o)
		}
	}
}

func TestScaleRead(t *testing.T) {
	for reply, want := range map[string]int{
		"B":                            1,
		" b.":                          -1, // one letter counts in its own case only
		"**C**":                        2,
		"Grade: D":                     3,
		"The grade is A, not B.":       0,
		"A or B? My verdict: B":        1,
		"[[A]] B":                      0,
		"Between A and B":              -1,
		"A, and again A":               0,
		"<think>D or C</think>\nA":     0,
		"":                             -1,
		"It is excellent.":             -1,
		"The grade: excellent. So: A.": 0,
	} {
		got, ok := abcd.Read(reply)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d %t, want %d", reply, got, ok, want)
		}
	}
	for reply, want := range map[string]int{"Yes.": 0, "NO": 1, "yes or no": -1, "noyes": -1} {
		if got, ok := YesNo.Read(reply); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d %t", reply, got, ok)
		}
	}
	for name, s := range map[string]Scale{
		"one": abcd[:1], "twice": {{"a", 1, true, ""}, {"A", 0, false, ""}}, "words": {{"a b", 1, true, ""}, {"c", 0, false, ""}},
		"empty": {{}, {"c", 0, false, ""}}, "nan": {{"a", math.NaN(), true, ""}, {"c", 0, false, ""}},
	} {
		if s.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := (&Oracle{Scale: s, Truth: func(*Case) (int, error) { return 0, nil }}).Judge(t.Context(), nil); err == nil {
			t.Errorf("%s: judged", name)
		}
	}
}

func someCases(n int) []Case {
	out := make([]Case, n)
	for i := range out {
		out[i] = Case{Prompt: "?", Answer: fmt.Sprint("answer ", i)}
	}
	return out
}

// The rate of errors is the one asked for, errors spread over the other options, and neither order nor company changes an opinion.
func TestOracle(t *testing.T) {
	const n = 4000
	cases := someCases(n)
	truth := func(c *Case) (int, error) { return len(c.Answer) % 4, nil }
	for _, rate := range []float64{0, .1, .5, 1} {
		o := &Oracle{Scale: abcd, Truth: truth, ErrorRate: rate, Key: engine.NewKey(3, "oracle")}
		all, err := o.Judge(t.Context(), cases)
		if err != nil {
			t.Fatal(err)
		}
		wrong, given := 0, map[string]int{}
		for i, op := range all {
			right, _ := truth(&cases[i])
			if op.Option != abcd[right].Name {
				wrong++
				given[fmt.Sprint(right, op.Option)]++
			}
			if op.Verdict != task.Correct && op.Verdict != task.Wrong || (op.Verdict == task.Correct) != (op.Option == "A") {
				t.Fatalf("%+v", op)
			}
		}
		if sigma := math.Sqrt(n * rate * (1 - rate)); math.Abs(float64(wrong)-n*rate) > 4*sigma {
			t.Errorf("rate %g: %d of %d wrong", rate, wrong, n)
		}
		if rate == 1 {
			for k, count := range given {
				if count == 0 || len(given) < 3 {
					t.Errorf("wrong options are not spread: %s in %v", k, given)
				}
			}
		}
		back := slices.Clone(cases)
		slices.Reverse(back)
		reversed, _ := o.Judge(t.Context(), back)
		slices.Reverse(reversed)
		alone, _ := o.Judge(t.Context(), cases[7:8])
		if !reflect.DeepEqual(all, reversed) || !reflect.DeepEqual(all[7:8], alone) {
			t.Errorf("rate %g: opinions depend on the order", rate)
		}
	}
	// Another asking may err where the first did not.
	o := &Oracle{Scale: YesNo, Truth: func(*Case) (int, error) { return 0, nil }, ErrorRate: .5, Key: 1}
	var asks []Case
	for i := range uint64(64) {
		asks = append(asks, Case{Answer: "x", Ask: i})
	}
	votes := map[string]int{}
	got, _ := o.Judge(t.Context(), asks)
	for _, op := range got {
		votes[op.Option]++
	}
	if votes["yes"] < 10 || votes["no"] < 10 {
		t.Errorf("%v", votes)
	}
}

func TestOracleTruth(t *testing.T) {
	countdown, err := task.Get("countdown")
	if err != nil {
		t.Fatal(err)
	}
	p, err := countdown.(task.Generator).Generate(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	o := &Oracle{Scale: YesNo, Truth: CheckTruth(countdown)}
	got, err := o.Judge(t.Context(), []Case{{Problem: p, Answer: p.Answer}, {Problem: p, Answer: "1+1"}, {Problem: p, Answer: "?"}, {Problem: nil, Answer: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []task.Verdict{task.Correct, task.Wrong, task.Wrong, task.Error} {
		if got[i].Verdict != want {
			t.Errorf("case %d: %+v, want %s", i, got[i], want)
		}
	}
	late := &Oracle{Scale: YesNo, Truth: func(*Case) (int, error) { return 0, fmt.Errorf("sandbox: %w", context.DeadlineExceeded) }}
	far := &Oracle{Scale: YesNo, Truth: func(*Case) (int, error) { return 2, nil }}
	for o, want := range map[*Oracle]task.Verdict{late: task.Timeout, far: task.Error} {
		if got, err := o.Judge(t.Context(), someCases(1)); err != nil || got[0].Verdict != want {
			t.Errorf("%+v %v, want %s", got, err, want)
		}
	}
	for _, rate := range []float64{-.1, 1.1, math.NaN()} {
		if _, err := (&Oracle{Scale: YesNo, Truth: CheckTruth(countdown), ErrorRate: rate}).Judge(t.Context(), nil); err == nil {
			t.Errorf("rate %g was accepted", rate)
		}
	}
}

// Episodes whose judge had trouble stay out of the gradient, with their verdict and no score.
func TestJudgeGrader(t *testing.T) {
	seen := []Case{}
	judge := judgeFunc(func(_ context.Context, cases []Case) ([]Opinion, error) {
		seen = cases
		return []Opinion{YesNo.opinion(0, ""), trouble(context.DeadlineExceeded), trouble(errors.New("down")), {Score: math.NaN(), Verdict: task.Correct}, {}, YesNo.opinion(1, "")}, nil
	})
	p := &task.Problem{Question: "?", Answer: "42"}
	groups := []*Group{{}, {}}
	for i := range 6 {
		groups[i/3].Episodes = append(groups[i/3].Episodes, &Episode{Problem: p, Text: fmt.Sprint(i)})
	}
	if err := (JudgeGrader{Judge: judge}).Grade(t.Context(), groups); err != nil {
		t.Fatal(err)
	}
	if seen[4].Answer != "4" || seen[4].Reference != "" {
		t.Errorf("%+v", seen[4])
	}
	want := []task.Verdict{task.Correct, task.Timeout, task.Error, task.Error, task.Error, task.Wrong}
	for i, v := range want {
		g := groups[i/3].Episodes[i%3].Grade
		if g.Verdict != v || g.Valid() != (v == task.Correct || v == task.Wrong) || len(g.Terms) != map[bool]int{true: 1}[g.Valid()] || g.Correct() != g.Score {
			t.Errorf("episode %d: %+v", i, g)
		}
	}
	if err := (JudgeGrader{Judge: judge, Reference: true}).Grade(t.Context(), groups); err != nil || seen[0].Reference != "42" {
		t.Errorf("%+v %v", seen[0], err)
	}
	if err := (JudgeGrader{Judge: judge}).Grade(t.Context(), groups[:1]); err == nil || !strings.Contains(err.Error(), "6 opinions on 3 answers") {
		t.Errorf("%v", err)
	}
}

type judgeFunc func(context.Context, []Case) ([]Opinion, error)

func (judgeFunc) Name() string { return "test" }

func (f judgeFunc) Judge(ctx context.Context, cases []Case) ([]Opinion, error) { return f(ctx, cases) }

// write spells a text in the tabular engine's ids 0 to 3; read takes the first sampled id as a grade.
func write(text string) (*engine.Sequence, error) {
	if strings.Contains(text, "unwritable") {
		return nil, errors.New("no such token")
	}
	s := &engine.Sequence{}
	for i := range 3 {
		s.Tokens = append(s.Tokens, int32(text[len(text)*i/3])%4)
	}
	s.Kind = make([]engine.Kind, 3)
	return s, nil
}

func readGrade(s *engine.Sequence) string {
	for t, id := range s.Tokens {
		if s.KindAt(t) == engine.KindSampled {
			return "ABCD"[id : id+1]
		}
	}
	return ""
}

func TestModelJudge(t *testing.T) {
	model, err := enginetest.New(4, 2, 16, 5)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *Case) string { return c.Answer + c.Answer }
	j := &ModelJudge{Label: "table", Model: model, Scale: abcd, Ask: ask, Write: write, Read: readGrade, Params: engine.Params{MaxTokens: 1}, Key: engine.NewKey(1, "judge")}
	cases := someCases(40)
	cases[3].Answer = "unwritable"
	got, err := j.Judge(t.Context(), cases)
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]int{}
	for i, o := range got {
		if i == 3 {
			if o.Verdict != task.Error || !strings.Contains(o.Detail, "no such token") {
				t.Errorf("%+v", o)
			}
			continue
		}
		options[o.Option]++
		if k := abcd.index(o.Option); k < 0 || o.Score != abcd[k].Value || (o.Verdict == task.Correct) != abcd[k].Correct {
			t.Errorf("%+v", o)
		}
	}
	if len(options) < 3 {
		t.Errorf("the replies do not differ: %v", options)
	}
	alone, err := j.Judge(t.Context(), cases[9:10])
	if err != nil || !reflect.DeepEqual(alone[0], got[9]) {
		t.Errorf("alone %+v, among others %+v (%v)", alone[0], got[9], err)
	}
	// A question that the model refuses does not take the others along.
	j.Write = func(text string) (*engine.Sequence, error) {
		s, err := write(text)
		if strings.Contains(text, "answer 11") {
			s.Tokens = nil
			s.Kind = nil
		}
		return s, err
	}
	again, err := j.Judge(t.Context(), cases)
	if err != nil || again[11].Verdict != task.Error || !reflect.DeepEqual(again[9], got[9]) {
		t.Errorf("%+v %+v %v", again[11], again[9], err)
	}
}

// A frozen model's grades, by sampling and by probability, agree with the probabilities that the table has.
func TestScoreJudge(t *testing.T) {
	model, err := enginetest.New(4, 2, 16, 6)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := model.Freeze(t.Context(), "judge")
	if err != nil {
		t.Fatal(err)
	}
	reply := func(text, option string) (*engine.Sequence, error) {
		s, err := write(text)
		if err == nil {
			s.Tokens, s.Kind = append(s.Tokens, int32(option[0]-'A')), append(s.Kind, engine.KindDemo)
		}
		return s, err
	}
	ask := func(c *Case) string { return c.Answer + c.Answer }
	score := &ScoreJudge{Label: "table", Model: frozen, Scale: abcd, Ask: ask, Write: reply}
	sample := &ModelJudge{Label: "table", Model: frozen, Scale: abcd, Ask: ask, Write: write, Read: readGrade, Params: engine.Params{MaxTokens: 1}, Key: 1}
	got, err := score.Judge(t.Context(), []Case{{Answer: "some answer"}, {Answer: "unwritable"}})
	if err != nil || got[1].Verdict != task.Error {
		t.Fatalf("%+v %v", got, err)
	}
	sum, mean := 0.0, 0.0
	for i, p := range got[0].Probs {
		sum += p
		mean += p * abcd[i].Value
	}
	if math.Abs(sum-1) > 1e-6 || math.Abs(mean-got[0].Score) > 1e-12 {
		t.Errorf("%+v", got[0])
	}
	const n = 4000
	asks := make([]Case, n)
	for i := range asks {
		asks[i] = Case{Answer: "some answer", Ask: uint64(i)}
	}
	sampled, err := sample.Judge(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, o := range sampled {
		counts[o.Option]++
	}
	for i, p := range got[0].Probs {
		if sigma := math.Sqrt(n * p * (1 - p)); math.Abs(counts[abcd[i].Name]-n*p) > 4*sigma+1e-6 {
			t.Errorf("%s: %g of %d sampled, probability %g", abcd[i].Name, counts[abcd[i].Name], n, p)
		}
	}
}

type slowModel struct{ err error }

func (m slowModel) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	if m.err != nil {
		return nil, m.err
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestModelJudgeTrouble(t *testing.T) {
	j := &ModelJudge{Model: slowModel{}, Scale: YesNo, Write: write, Read: readGrade, Timeout: time.Millisecond}
	got, err := j.Judge(t.Context(), someCases(3))
	if err != nil || got[2].Verdict != task.Timeout {
		t.Errorf("%+v %v", got, err)
	}
	j.Model = slowModel{errors.New("out of memory")}
	if got, err = j.Judge(t.Context(), someCases(3)); err != nil || got[2].Verdict != task.Error || got[2].Detail != "out of memory" {
		t.Errorf("%+v %v", got, err)
	}
	model, _ := enginetest.New(4, 1, 16, 5)
	j.Model, j.Read = model, func(*engine.Sequence) string { return "perhaps" }
	if got, err = j.Judge(t.Context(), someCases(1)); err != nil || got[0].Verdict != task.Error || !strings.Contains(got[0].Detail, "no grade") {
		t.Errorf("%+v %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.Model = slowModel{}
	if _, err := j.Judge(ctx, someCases(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// judgeServer checks the request and answers as the answer to judge says.
func judgeServer() http.Handler {
	busy := atomic.Int32{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Model       string
			Temperature *float64
			MaxTokens   int `json:"max_tokens"`
			Messages    []struct{ Role, Content string }
		}
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &req); err != nil || r.URL.Path != "/v1/chat/completions" || req.Model != "judge" || req.Temperature == nil || *req.Temperature != 0 ||
			req.MaxTokens != 256 || len(req.Messages) != 1 || req.Messages[0].Role != "user" || r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "bad request: "+string(b), http.StatusBadRequest)
			return
		}
		content := req.Messages[0].Content
		has := func(s string) bool { return strings.Contains(content, s) }
		reply := func(text string) {
			_ = json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{"message": map[string]string{"role": "assistant", "content": text}}}})
		}
		switch {
		case has("answer right") && has("A right answer:\n42"):
			time.Sleep(20 * time.Millisecond) // the others are answered first
			reply("Yes.")
		case has("answer wrong"):
			reply("no")
		case has("answer odd"):
			reply("perhaps")
		case has("answer slow"):
			<-r.Context().Done()
		case has("answer broken"):
			_, _ = io.WriteString(w, "<html>")
		case has("answer empty"):
			_, _ = io.WriteString(w, `{"choices": []}`)
		case has("answer busy") && busy.Add(1) == 1:
			http.Error(w, "try again", http.StatusTooManyRequests)
		case has("answer busy"):
			reply("yes")
		default:
			http.Error(w, "overloaded", http.StatusInternalServerError)
		}
	})
}

func TestEndpointJudge(t *testing.T) {
	server := httptest.NewServer(judgeServer())
	defer server.Close()
	j := &EndpointJudge{URL: server.URL + "/v1/", Model: "judge", Token: "secret", Scale: YesNo, Timeout: 2 * time.Second, Retries: 1}
	cases := []Case{{Answer: "answer right", Reference: "42", Prompt: "6*7?"}}
	for _, word := range []string{"wrong", "odd", "broken", "empty", "busy"} {
		cases = append(cases, Case{Answer: "answer " + word, Prompt: "?"})
	}
	got, err := j.Judge(t.Context(), cases)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []task.Verdict{task.Correct, task.Wrong, task.Error, task.Error, task.Error, task.Correct} {
		if got[i].Verdict != want || strings.Contains(got[i].Detail, "secret") {
			t.Errorf("%s: %+v, want %s", cases[i].Answer, got[i], want)
		}
	}
	j.Timeout, j.Retries = 30*time.Millisecond, 0
	got, err = j.Judge(t.Context(), []Case{{Answer: "answer slow"}, {Answer: "answer 500"}})
	if err != nil || got[0].Verdict != task.Timeout || got[1].Verdict != task.Error || !strings.Contains(got[1].Detail, "overloaded") {
		t.Errorf("%+v %v", got, err)
	}
	server.Close()
	if got, err = j.Judge(t.Context(), cases[:1]); err != nil || got[0].Verdict != task.Error || got[0].Score != 0 {
		t.Errorf("a server that is gone: %+v %v", got, err)
	}
	j.URL = "127.0.0.1:8080"
	if _, err = j.Judge(t.Context(), cases[:1]); err == nil || !strings.Contains(err.Error(), "want http://") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.URL = server.URL
	if _, err = j.Judge(ctx, cases); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
