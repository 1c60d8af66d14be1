package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
)

func sample(t testing.TB, r interface {
	Sample(context.Context, []engine.Prompt) ([][]*engine.Sequence, error)
}, prompts ...engine.Prompt) [][]*engine.Sequence {
	t.Helper()
	out, err := r.Sample(ctx, prompts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameBits wants equal tokens, kinds, stops and channels.
func sameBits(t testing.TB, what string, want, got [][]*engine.Sequence) {
	t.Helper()
	for i := range want {
		for k, w := range want[i] {
			g := got[i][k]
			if !slices.Equal(w.Tokens, g.Tokens) || !slices.Equal(w.Kind, g.Kind) || w.Stop != g.Stop ||
				!slices.Equal(w.Channel(engine.ChanOld), g.Channel(engine.ChanOld)) || !slices.Equal(w.Channel(engine.ChanDrawn), g.Channel(engine.ChanDrawn)) {
				t.Fatalf("%s: prompt %d sample %d differs:\n%v %v\n%v %v", what, i, k, w.Tokens, w.Channel(engine.ChanOld), g.Tokens, g.Channel(engine.ChanOld))
			}
		}
	}
}

func ask(s *engine.Sequence, n int, temp float32, tokens int, key uint64) engine.Prompt {
	return engine.Prompt{Seq: s, N: n, Params: engine.Params{Temperature: temp, MaxTokens: tokens}, Key: rng.New(key, "ask")}
}

// Eight goroutines that call Sample get the bytes of one call after another, whatever runs beside them.
func TestManyCallers(t *testing.T) {
	m := loud(t, model.Llama, true)
	var prompts [8][]engine.Prompt
	var want [8][][]*engine.Sequence
	for g := range prompts {
		for i := range 4 {
			p := ask(prompt(uint64(i%2), 20+23*i), 1+(g+i)%3, []float32{1, 0.7}[g%2], 10+g*5, uint64(10*g+i))
			p.Params.StopIDs = []int32{1, 2, 3, 4}
			prompts[g] = append(prompts[g], p)
		}
		want[g] = sample(t, open(t, m, Options{}), prompts[g]...)
	}
	for _, slots := range []int{3, 64} {
		e := open(t, m, Options{Slots: slots})
		f, err := e.Freeze(ctx, "copy")
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for g := range prompts {
			wait.Go(func() {
				for i := range prompts[g] { // one by one, then all; some of them on the copy, with scoring in between
					var r engine.Frozen = f
					if (g+i)%3 > 0 {
						r = live{Engine: e}
					}
					got, err := r.Sample(ctx, prompts[g][i:i+1])
					if err != nil {
						t.Error(err)
						return
					}
					sameBits(t, "one by one", want[g][i:i+1], got)
					scores, err := e.Score(ctx, got[0], engine.Want{})
					if err != nil || !slices.Equal(scores[0].LogProb[len(prompts[g][i].Seq.Tokens):], got[0][0].Channel(engine.ChanOld)[len(prompts[g][i].Seq.Tokens):]) && prompts[g][i].Params.Temperature == 1 {
						t.Errorf("Score beside sampling: %v", err)
					}
				}
				got, err := e.Sample(ctx, prompts[g])
				if err != nil {
					t.Error(err)
					return
				}
				sameBits(t, "together", want[g], got)
			})
		}
		wait.Wait()
		checkIdle(t, e.live)
		checkIdle(t, f.(*Frozen).runner)
	}
}

// live lets the trained model stand where a frozen one may.
type live struct{ *Engine }

func (live) Name() string                         { return "live" }
func (live) Blend(context.Context, float64) error { return errors.New("not a copy") }

// ruleFunc is a rule made of a function of the number of tokens.
type ruleFunc func(tokens int)

func (f ruleFunc) Apply(s *engine.Sequence, _ []float32) { f(len(s.Tokens)) }

// A call that comes while another runs joins it: the short one ends long before the long one.
func TestCallsJoin(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	begun, ended := make(chan struct{}), make(chan struct{})
	var at atomic.Int64
	long := ask(prompt(1, 40), 1, 1, 200, 1)
	long.Rules = []engine.Rule{ruleFunc(func(n int) {
		at.Store(int64(n))
		if n == 50 {
			close(begun)
		}
		if n > 50 {
			select {
			case <-ended:
			case <-time.After(20 * time.Millisecond):
			}
		}
	})}
	result := make(chan [][]*engine.Sequence)
	go func() {
		out, _ := e.Sample(ctx, []engine.Prompt{long})
		result <- out
	}()
	<-begun
	short := sample(t, e, ask(prompt(2, 60), 2, 1, 10, 2))
	if n := at.Load(); n >= 239 {
		t.Errorf("the short call came back when the long one was at token %d of 240", n)
	}
	close(ended)
	long.Rules = []engine.Rule{ruleFunc(func(int) {})} // draws under a rule go another way
	sameBits(t, "long", sample(t, open(t, e.Model(), Options{}), long), <-result)
	sameBits(t, "short", sample(t, open(t, e.Model(), Options{}), ask(prompt(2, 60), 2, 1, 10, 2)), short)
}

// A long prompt that comes while another call samples is computed in pieces of prefillRows, with a token of the other between two.
func TestPromptsDoNotHoldUpTokens(t *testing.T) {
	c := small(model.Llama)
	c.MaxPos = 900
	m, err := model.New(c, 4)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, m, Options{})
	b := e.live.batch
	p, long := ask(prompt(1, 40), 1, 1, 60, 1), ask(prompt(2, 800), 1, 1, 3, 2)
	late := make(chan [][]*engine.Sequence)
	between := 0
	p.Rules = []engine.Rule{ruleFunc(func(n int) { // rounds stand still while a rule runs
		if len(b.filling) > 0 {
			between++
		}
		if n != 50 {
			return
		}
		go func() {
			out, _ := e.Sample(ctx, []engine.Prompt{long})
			late <- out
		}()
		for queued := 0; queued == 0; time.Sleep(time.Millisecond) {
			b.mu.Lock()
			queued = len(b.queue)
			b.mu.Unlock()
		}
	})}
	sample(t, e, p)
	sameBits(t, "long prompt", sample(t, open(t, m, Options{}), long), <-late)
	if want := 799 / prefillRows; between != want {
		t.Errorf("%d tokens were drawn while the prompt was computed, want %d", between, want)
	}
}

// A panic in a round, here of a context, reaches whoever advances the batch; other calls get an error, and the next ones run.
func TestPanicEndsAllCalls(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	p := ask(prompt(1, 70), 2, 1, 100, 1)
	want := sample(t, open(t, e.Model(), Options{}), p)
	for rounds := range 6 {
		c := &countdown{Context: ctx, fail: func() { panic("on purpose") }}
		c.left.Store(int64(rounds))
		ends := make(chan any, 2)
		for _, with := range []context.Context{ctx, c} {
			go func() {
				defer func() {
					if v := recover(); v != nil {
						ends <- v
					}
				}()
				if out, err := e.Sample(with, []engine.Prompt{p}); err != nil {
					ends <- err
				} else {
					ends <- out
				}
			}()
		}
		panics := 0
		for range 2 {
			switch v := (<-ends).(type) {
			case string:
				panics++
			case error:
				if !strings.Contains(v.Error(), "panicked") {
					t.Error(v)
				}
			case [][]*engine.Sequence: // it was over before
				sameBits(t, "beside a panic", want, v)
			}
		}
		if panics != 1 {
			t.Errorf("%d panics", panics)
		}
		checkIdle(t, e.live)
		sameBits(t, "after a panic", want, sample(t, e, p))
	}
}

// countdown is a context that ends when it has been asked so many times.
type countdown struct {
	context.Context
	left atomic.Int64
	fail func()
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		if c.fail != nil {
			c.fail()
		}
		return context.Canceled
	}
	return nil
}

// Calls that are cancelled (before they start, while prompts are computed, while they sample) or fail take nothing with them.
func TestOtherCallsGoOn(t *testing.T) {
	m := loud(t, model.GPT2, true)
	good := ask(prompt(1, 70), 5, 1, 60, 1)
	want := sample(t, open(t, m, Options{}), good)
	for round := range 40 {
		e := open(t, m, Options{Slots: 12})
		bad := []engine.Prompt{ask(prompt(1, 70), 3, 1, 50, 2), ask(prompt(5, 250), 2, 1, 0, 3), ask(prompt(6, 249), 9, 1, 0, 3)}
		c, expect := &countdown{Context: ctx}, "canceled"
		c.left.Store(int64(round / 3))
		switch round % 3 {
		case 1:
			c.left.Store(1 << 40)
			bad[0].Rules, expect = []engine.Rule{forbid{}}, "rules"
		case 2:
			c.left.Store(1 << 40)
			bad[0].Rules, expect = []engine.Rule{ruleFunc(func(n int) {
				if n > 70+round {
					panic("on purpose")
				}
			})}, "on purpose"
		}
		failed := make(chan error)
		go func() {
			_, err := e.Sample(c, bad)
			failed <- err
		}()
		for range 2 {
			sameBits(t, fmt.Sprint("round ", round), want, sample(t, e, good))
		}
		if err := <-failed; err == nil || !strings.Contains(err.Error(), expect) {
			t.Fatalf("round %d: error %v, want one about %s", round, err, expect)
		}
		checkIdle(t, e.live)
		sameBits(t, "afterwards", want, sample(t, e, good))
	}
}

// A step waits for the samples that run, and they are of one policy; calls that come while it waits see the new weights, or their end.
func TestStepWaits(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	p := ask(prompt(1, 50), 2, 1, 60, 1)
	p.Rules = []engine.Rule{ruleFunc(func(int) {})} // draws under a rule go another way
	before := sample(t, e, p)
	if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "probe", Obj: probe{map[*engine.Sequence][]float32{}}, Rows: []engine.Row{fullRow(prompt(8, 30))}})); err != nil {
		t.Fatal(err)
	}
	running, stepping := make(chan struct{}), make(chan struct{})
	slow := p
	slow.N = 1
	slow.Rules = []engine.Rule{ruleFunc(func(n int) {
		if n == 60 {
			close(running)
			<-stepping
		}
	})}
	sampled := make(chan [][]*engine.Sequence)
	go func() {
		out, _ := e.Sample(ctx, []engine.Prompt{slow})
		sampled <- out
	}()
	<-running
	stepped := make(chan error)
	go func() {
		_, err := e.Step(ctx, adam)
		stepped <- err
	}()
	waiting := func() bool { e.mu.gate.Lock(); defer e.mu.gate.Unlock(); return e.mu.changing > 0 }
	for !waiting() {
		time.Sleep(time.Millisecond)
	}
	over, cancel := context.WithCancel(ctx)
	late := make(chan error)
	go func() {
		_, err := e.Sample(over, []engine.Prompt{p})
		late <- err
	}()
	cancel()
	if err := <-late; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that waits for the step and is cancelled: %v", err)
	}
	impatient, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := e.Step(impatient, adam); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a step whose time is over while samples run: %v", err)
	}
	after := make(chan [][]*engine.Sequence)
	go func() {
		out, _ := e.Sample(ctx, []engine.Prompt{p})
		after <- out
	}()
	close(stepping)
	sameBits(t, "samples that ran", [][]*engine.Sequence{before[0][:1]}, <-sampled)
	if err := <-stepped; err != nil {
		t.Fatal(err)
	}
	now := <-after
	sameBits(t, "samples after the step", sample(t, e, p), now)
	if slices.Equal(now[0][0].Channel(engine.ChanOld), before[0][0].Channel(engine.ChanOld)) {
		t.Error("the step changed nothing")
	}
	checkIdle(t, e.live)
}

// A warm round of decoding allocates nothing.
func TestDecodingAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for name, params := range map[string]engine.Params{"plain": {MaxTokens: 180}, "truncated": {MaxTokens: 180, TopK: 9, TopP: 0.9, MinP: 0.01, RepetitionPenalty: 1.1}, "greedy": {MaxTokens: 180, Greedy: true}} {
		for _, n := range []int{1, 20} {
			e := open(t, loud(t, model.Llama, true), Options{})
			prompts := []engine.Prompt{{Seq: prompt(1, 40), N: n, Params: params, Key: rng.New(1, "x")}}
			sample(t, e, prompts...) // takes the pages
			c := e.live.newCall(ctx, prompts)
			if err := e.live.earlier(c); err != nil {
				t.Fatal(err)
			}
			b := e.live.batch
			b.queue = append(b.queue, c)
			for range 10 {
				b.round()
			}
			if got := testing.AllocsPerRun(100, b.round); got != 0 {
				t.Errorf("%s, %d sequences: a round allocates %g times", name, n, got)
			}
			if len(b.active) != n || len(b.active[0].out.Tokens) < 140 {
				t.Fatalf("%s: %d sequences active", name, len(b.active))
			}
		}
	}
}
