package recipe

import (
	"context"
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// An answer's score stands on its last sampled token, the penalty on each; without a value head, discount and whitening every token has the score.
func TestPPOEstimates(t *testing.T) {
	s, _ := lastBatch(t, "ppo", "kl=0", "lambda=1", "estimator=gae", "problems=16")
	n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
	m := n.Method.(*PPO)
	streams, err := s.FirstBatch(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	sum, square, count, varies := 0.0, 0.0, 0.0, false
	first := float32(0)
	for _, r := range streams[0].Rows {
		adv, ret, old := r.Seq.Channel(engine.ChanAdvantage), r.Seq.Channel(engine.ChanReturn), r.Seq.Channel(engine.ChanValueOld)
		for k := range r.Seq.Tokens {
			if r.Seq.KindAt(k) != engine.KindSampled {
				if adv[k] != 0 || ret[k] != 0 {
					t.Fatalf("token %d of the prompt has an advantage", k)
				}
				continue
			}
			// A fresh value head says 0 everywhere, so with lambda 1 the return of every token is the answer's score.
			if old[k] != 0 || ret[k] != ret[len(ret)-1] {
				t.Fatalf("value %g, return %g of %g", old[k], ret[k], ret[len(ret)-1])
			}
			varies = varies || ret[k] != first
			if count == 0 {
				first = ret[k]
			}
			sum += float64(adv[k])
			square += float64(adv[k]) * float64(adv[k])
			count++
		}
	}
	if mean := sum / count; math.Abs(mean) > 1e-6 || math.Abs(square/(count-1)-1) > 1e-3 || !varies {
		t.Errorf("advantages have mean %g and square %g over %g tokens, returns vary: %t", mean, square/(count-1), count, varies)
	}
	if need := m.Need(); len(need.Frozen) != 0 || need.Caps[len(need.Caps)-1] != engine.CapValue {
		t.Errorf("needs %+v without a penalty", need)
	}
}

func TestPPOSettings(t *testing.T) {
	for _, bad := range []string{"estimator=td", "gamma=0", "lambda=2", "norm=sum"} {
		if _, _, err := Parse("ppo", "", nil, []string{bad}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, _, err := Parse("rloo", "", nil, []string{"group_size=1"}); err == nil {
		t.Error("rloo with groups of one")
	}
	if _, _, err := Parse("reinforce++", "", nil, nil); err != nil {
		t.Error(err)
	}
}

// A problem drawn twice makes two groups with means of their own, and only estimators that compare answers drop a group of one.
func TestPPOGroups(t *testing.T) {
	episode := func(score float64) *rollout.Episode {
		s := &engine.Sequence{Tokens: []int32{1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindSampled}}
		return &rollout.Episode{Segs: []*engine.Sequence{s}, Grade: reward.Grade{Score: score, Verdict: task.Wrong}}
	}
	groups := []*rollout.Group{{Key: "same", Episodes: []*rollout.Episode{episode(0), episode(1)}}, {Key: "same", Episodes: []*rollout.Episode{episode(4), episode(6)}}}
	m := &PPO{Estimator: "dr_grpo", GroupSize: 2, Gamma: 1}
	if err := m.estimate(context.Background(), &train.Step{}, groups); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{-0.5, 0.5, -1, 1} {
		if got := groups[i/2].Episodes[i%2].Segs[0].Channel(engine.ChanAdvantage)[1]; got != want {
			t.Errorf("answer %d: advantage %g, want %g", i, got, want)
		}
	}
	alone := []*rollout.Group{{Key: "a", Episodes: []*rollout.Episode{episode(1)}}, {Key: "b", Episodes: []*rollout.Episode{episode(0)}}}
	m.Estimator = "reinforce_plus_plus"
	if err := m.estimate(context.Background(), &train.Step{}, alone); err != nil || alone[0].Episodes[0].Segs[0].Channel(engine.ChanAdvantage) == nil {
		t.Errorf("a group of one was dropped where nothing is compared: %v", err)
	}
}

// A step whose one answer has one token: what is whitened has nothing to be compared with, so its advantage is 0 and the step goes on; what is
// not whitened keeps its score.
func TestPPOAlone(t *testing.T) {
	for _, c := range []struct {
		estimator string
		whiten    bool
		want      float32
	}{{"reinforce_plus_plus", true, 0}, {"reinforce_plus_plus", false, 3}} {
		s := &engine.Sequence{Tokens: []int32{1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindSampled}}
		g := &rollout.Group{Episodes: []*rollout.Episode{{Segs: []*engine.Sequence{s}, Grade: reward.Grade{Score: 3, Verdict: task.Correct}}}}
		m := &PPO{Estimator: c.estimator, Gamma: 1, Whiten: c.whiten}
		if err := m.estimate(context.Background(), &train.Step{}, []*rollout.Group{g}); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if got := s.Channel(engine.ChanAdvantage)[1]; got != c.want {
			t.Errorf("%+v: advantage %g", c, got)
		}
	}
	m := &PPO{Estimator: "gae", Gamma: 1, Lambda: 0.95, Whiten: true}
	adv, ret, err := m.advantages(&objective.TokenRewards{Rewards: [][]float64{{0, 1}}, Mask: [][]bool{{false, true}}, Values: [][]float64{{0, 0.25}}})
	if err != nil || adv[0][1] != 0 || ret[0][1] != 1 {
		t.Errorf("gae: advantage and return %v, %v (%v), want 0 and 1", adv, ret, err)
	}
	if _, _, err := Parse("ppo", "", nil, []string{"whiten=false"}); err != nil {
		t.Error(err)
	}
}

// The paper's estimate is the mean over answers of A_i grad log p(answer i), and log p is a sum over tokens: every token's
// derivative is -A_i / answers, however long its answer or the others are.
func TestRLOONorm(t *testing.T) {
	_, streams := lastBatch(t, "rloo")
	batch, err := engine.Normalise(streams)
	if err != nil || len(batch.Streams) != 1 {
		t.Fatal(len(batch.Streams), err)
	}
	rows := batch.Streams[0].Rows
	lengths := map[int]bool{}
	for _, r := range rows {
		n := len(r.Seq.Tokens)
		v := engine.View{Row: &r, To: n, LogProb: r.Seq.Channel(engine.ChanOld), DLogProb: make([]float64, n)}
		batch.Streams[0].Obj.Eval([]engine.View{v}, nil)
		for k := range r.Mask {
			want := 0.0
			if r.Mask[k] {
				want = -float64(r.Seq.Channel(engine.ChanAdvantage)[k]) / float64(len(rows))
			}
			if math.Abs(v.DLogProb[k]-want) > 1e-12 {
				t.Fatalf("token %d of %d: derivative %g, want %g", k, n, v.DLogProb[k], want)
			}
		}
		lengths[r.Seq.Count(engine.KindSampled)] = true
	}
	if len(rows) != 12 || len(lengths) < 2 {
		t.Errorf("%d rows of %d lengths show little", len(rows), len(lengths))
	}
}
