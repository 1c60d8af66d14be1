package recipe

import (
	"bytes"
	"context"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// told is a model whose log-probs and values are given: those of sampled token k of every sequence.
type told struct {
	engine.Engine
	logProb, value []float32
}

func (m told) Score(_ context.Context, seqs []*engine.Sequence, _ engine.Want) ([]*engine.Scores, error) {
	out := make([]*engine.Scores, len(seqs))
	for i, s := range seqs {
		out[i] = &engine.Scores{LogProb: placed(s, m.logProb), Value: placed(s, m.value)}
	}
	return out, nil
}

// Name and Blend make it a frozen model too.
func (told) Name() string                         { return "told" }
func (told) Blend(context.Context, float64) error { return nil }

// placed puts one number on each sampled token and 9 on the others, where nothing may look; numbers that there are not enough of are 0.
func placed(s *engine.Sequence, x []float32) []float32 {
	out, k := make([]float32, len(s.Tokens)), 0
	for t := range out {
		out[t] = 9
		if s.KindAt(t) == engine.KindSampled {
			if out[t] = 0; k < len(x) {
				out[t] = x[k]
			}
			k++
		}
	}
	return out
}

// answered is a graded answer of so many tokens behind a prompt.
func answered(prompt int, grade reward.Grade, old ...float32) *rollout.Episode {
	s := &engine.Sequence{Stop: engine.StopEOS}
	for t := range prompt + len(old) {
		kind := engine.KindPrompt
		if t >= prompt {
			kind = engine.KindSampled
		}
		s.Tokens, s.Kind = append(s.Tokens, int32(t)), append(s.Kind, kind)
	}
	s.SetChannel(engine.ChanOld, placed(s, old))
	return &rollout.Episode{Segs: []*engine.Sequence{s}, Grade: grade}
}

// estimated fills the advantages of answers, each to a question of its own, with reft's settings after changes.
func estimated(t *testing.T, ref told, change func(*PPO), answers ...*rollout.Episode) {
	t.Helper()
	_, cfg, err := Parse("reft", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := cfg.(*ReFT).RL.PPO
	change(&m)
	var groups []*rollout.Group
	for _, e := range answers {
		groups = append(groups, &rollout.Group{Episodes: []*rollout.Episode{e}})
	}
	m.encourage(groups)
	s := &train.Step{Env: &rollout.Env{Engine: ref, Frozen: map[string]engine.Frozen{"start": ref}}, Node: &train.Node{}}
	if err := m.estimate(context.Background(), s, groups); err != nil {
		t.Fatal(err)
	}
}

// sampledOf are a channel's entries on sampled tokens; on the others it must be 0.
func sampledOf(t *testing.T, e *rollout.Episode, channel string) (out []float64) {
	t.Helper()
	s := e.Segs[0]
	for k, v := range s.Channel(channel) {
		if s.KindAt(k) == engine.KindSampled {
			out = append(out, float64(v))
		} else if v != 0 {
			t.Errorf("%s of token %d of the prompt is %g", channel, k, v)
		}
	}
	return out
}

func nearly(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 })
}

// reft, check 1.
func TestReFTRewards(t *testing.T) {
	right := reward.Grade{Score: 1, Verdict: task.Correct}
	old, ref := []float32{-1, -0.5, -0.2}, told{logProb: []float32{-1.2, -0.4, -0.2}}
	kl := func(m *PPO) { m.KL, m.Whiten = 0.05, false }
	e := answered(2, right, old...)
	estimated(t, ref, func(m *PPO) { kl(m); m.Lambda = 0 }, e) // with lambda and V 0 an advantage is the token's own reward
	if got := sampledOf(t, e, engine.ChanAdvantage); !nearly(got, []float64{-0.010, 0.005, 1}) {
		t.Errorf("rewards %v", got)
	}
	ref.value = []float32{0.4, 0.5, 0.7}
	e = answered(2, right, old...)
	estimated(t, ref, kl, e)
	adv := sampledOf(t, e, engine.ChanAdvantage)
	for k, want := range []float64{0.5555, 0.49, 0.3} {
		if math.Abs(adv[k]-want) > 5e-5 {
			t.Errorf("advantage %d: %g, want %g", k, adv[k], want)
		}
	}
	ret := sampledOf(t, e, engine.ChanReturn)
	for k, want := range []float64{0.9555, 0.99, 1} {
		if math.Abs(ret[k]-want) > 5e-5 {
			t.Errorf("return %d: %g, want %g", k, ret[k], want)
		}
	}
}

// Check 2, with the grades that countdown really gives: what stands on the last token, and that nothing stands elsewhere.
func TestReFTPartial(t *testing.T) {
	c, err := task.Open(task.Ref{Name: "countdown"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := task.NewStream(c.(task.Generator), 1, task.Train, 0).At(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		text string
		cut  bool
		want float64
	}{{p.Answer, false, 1}, {"1+1", false, 0.1}, {"who knows", false, 0}, {"", false, 0}, {"1+1", true, 0.1}, {p.Answer, true, 1}} {
		e := answered(3, reward.Grade{}, -1, -1, -1, -1)
		e.Problem, e.Text = p, x.text
		if x.cut {
			e.Segs[0].Stop = engine.StopLength
		}
		if err := (rollout.TaskGrader{Task: c}).Grade(context.Background(), []*rollout.Group{{Episodes: []*rollout.Episode{e}}}); err != nil {
			t.Fatal(err)
		}
		estimated(t, told{}, func(m *PPO) { m.KL, m.Lambda, m.Whiten = 0, 0, false }, e)
		if got := sampledOf(t, e, engine.ChanAdvantage); !nearly(got, []float64{0, 0, 0, x.want}) {
			t.Errorf("%q: rewards %v, want %g on the last token", x.text, got, x.want)
		}
	}
}

// Check 3: before the first update a token's derivative is -A_t over its answer's length and the number of answers, that of its value 5 (V - R)
// over the same; there is no third term, so the penalty has no gradient of its own.
func TestReFTGradient(t *testing.T) {
	s, streams := lastBatch(t, "reft")
	batch, err := engine.Normalise(streams)
	if err != nil {
		t.Fatal(err)
	}
	if len(batch.Streams) != 2 || batch.Streams[0].Name != "rl" || batch.Streams[1].Name != "value" {
		t.Fatalf("streams %+v", batch.Streams)
	}
	lengths := map[int]bool{}
	for i := range batch.Streams {
		st := &batch.Streams[i]
		for row, v := range scored(t, s.Engine, st, st.Rows) {
			st.Obj.Eval([]engine.View{v}, nil)
			seq, n := v.Row.Seq, float64(v.Row.Seq.Count(engine.KindSampled)*len(st.Rows))
			lengths[seq.Count(engine.KindSampled)] = true
			for k := range seq.Tokens {
				rl, value := 0.0, 0.0
				if v.Row.Mask[k] && i == 0 {
					rl = -float64(seq.Channel(engine.ChanAdvantage)[k]) / n
				} else if v.Row.Mask[k] {
					value = 5 * (float64(v.Value[k]) - float64(seq.Channel(engine.ChanReturn)[k])) / n
				}
				if math.Abs(v.DLogProb[k]-rl) > 1e-9 || math.Abs(v.DValue[k]-value) > 1e-9 {
					t.Fatalf("%s, row %d token %d: derivatives %g and %g, want %g and %g", st.Name, row, k, v.DLogProb[k], v.DValue[k], rl, value)
				}
			}
		}
	}
	if len(lengths) < 2 {
		t.Error("all answers have one length: token mean and mean over answers are the same")
	}
	_, without := lastBatch(t, "reft", "rl.kl=0") // lastBatch gives both the same advantages
	a, _ := gradient(t, s.Engine.(*local.Engine), streams[:1], nil)
	b, _ := gradient(t, s.Engine.(*local.Engine), without[:1], nil)
	if !sameBits(a, b) {
		t.Errorf("the penalty changes the gradient by %g at equal advantages", relative(a, b))
	}
}

// Check 4, on given and on sampled answers.
func TestReFTReinforce(t *testing.T) {
	plain := func(m *PPO) { m.KL, m.Lambda, m.Whiten = 0, 1, false }
	a, b := answered(1, reward.Grade{Score: 1, Verdict: task.Correct}, -1, -2, -3), answered(4, reward.Grade{Verdict: task.Wrong}, -1, -2)
	estimated(t, told{}, plain, a, b)
	if x, y := sampledOf(t, a, engine.ChanAdvantage), sampledOf(t, b, engine.ChanAdvantage); !nearly(x, []float64{1, 1, 1}) || !nearly(y, []float64{0.1, 0.1}) {
		t.Errorf("advantages %v and %v", x, y)
	}
	s := launch(t, "reft", t.TempDir(), "rl.kl=0", "rl.lambda=1", "rl.whiten=false")
	defer s.Run.Close()
	streams, err := s.FirstBatch(context.Background(), &s.Plan.Nodes[2])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[float32]bool{}
	for _, r := range streams[0].Rows {
		adv := r.Seq.Channel(engine.ChanAdvantage)
		score := adv[len(adv)-1]
		seen[score] = true
		for k, m := range r.Mask {
			if m && adv[k] != score {
				t.Errorf("token %d has %g, the last one %g", k, adv[k], score)
			}
		}
	}
	for score := range seen {
		if score != 0 && score != 0.1 && score != 1 {
			t.Errorf("advantage %g", score)
		}
	}
	if len(seen) < 2 {
		t.Errorf("advantages %v show little", seen)
	}
}

// Check 5: mean 0 and variance 1 over sampled tokens alone, whatever the prompts' lengths; returns are those of before whitening.
func TestReFTWhitening(t *testing.T) {
	grades := []reward.Grade{{Score: 1, Verdict: task.Correct}, {Verdict: task.Wrong}, {Verdict: task.Unparsed}}
	run := func(prompts ...int) (adv, ret []float64) {
		var answers []*rollout.Episode
		for i, p := range prompts {
			answers = append(answers, answered(p, grades[i], []float32{-1, -0.3, -2}[:i+1]...))
		}
		estimated(t, told{logProb: []float32{-0.5, -1, -1}, value: []float32{0.2, 0.3, 0.1}}, func(*PPO) {}, answers...)
		for _, e := range answers {
			adv, ret = append(adv, sampledOf(t, e, engine.ChanAdvantage)...), append(ret, sampledOf(t, e, engine.ChanReturn)...)
		}
		return adv, ret
	}
	adv, ret := run(1, 2, 3)
	sum, square := 0.0, 0.0
	for _, a := range adv {
		sum, square = sum+a, square+a*a
	}
	if n := float64(len(adv)); n != 6 || math.Abs(sum/n) > 1e-6 || math.Abs(square/(n-1)-1) > 1e-5 {
		t.Errorf("%d advantages with mean %g and variance %g", len(adv), sum/n, square/(n-1))
	}
	if other, same := run(7, 1, 5); !slices.Equal(other, adv) || !slices.Equal(same, ret) {
		t.Errorf("longer prompts change advantages: %v and %v", adv, other)
	}
	if want := 1 - 0.02*(-1+0.5); math.Abs(ret[0]-want) > 1e-6 {
		t.Errorf("return %g of the answer of one token, want %g", ret[0], want)
	}
}

// Check 6, and the other side: with right answers both halves are there, and wrong answers teach nothing.
func TestReFTOnline(t *testing.T) {
	s := launch(t, "reft", t.TempDir(), "arm=online")
	defer s.Run.Close()
	n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
	m := n.Method.(*SelfTraining)
	if _, err := s.FirstBatch(context.Background(), n); err != nil { // prepares
		t.Fatal(err)
	}
	st := &train.Step{Env: &s.Env, Node: n, Seed: 1}
	groups, err := m.Collect(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	graded := func(v task.Verdict) []engine.Stream {
		for i, e := range rollout.Episodes(groups) {
			if e.Grade.Verdict = task.Wrong; i%3 == 0 {
				e.Grade.Verdict = v
			}
			e.Segs[0].Stop = engine.StopEOS
		}
		streams, err := m.Streams(context.Background(), st, groups)
		if err != nil {
			t.Fatal(err)
		}
		return streams
	}
	e := s.Engine.(*local.Engine)
	streams := graded(task.Unparsed)
	if len(streams[0].Rows) != 0 {
		t.Errorf("%d rows of right answers where there are none", len(streams[0].Rows))
	}
	half, _ := gradient(t, e, streams, nil)
	var demos []*rollout.Group
	for _, g := range groups {
		for _, row := range m.SFT.rows {
			if row.ID.Problem == g.Key {
				demos = append(demos, &rollout.Group{Episodes: []*rollout.Episode{{Segs: []*engine.Sequence{row}}}})
			}
		}
	}
	if len(demos) < len(groups) {
		t.Fatalf("%d demonstrations of %d questions", len(demos), len(groups))
	}
	sft, err := m.SFT.Streams(context.Background(), st, demos)
	if err != nil {
		t.Fatal(err)
	}
	whole, _ := gradient(t, e, sft, nil)
	for i := range whole {
		whole[i] *= 0.5
	}
	if !sameBits(half, whole) || relative(half, make([]float32, len(half))) != 1 {
		t.Errorf("without right answers the gradient is %g away from half of SFT's", relative(half, whole))
	}
	streams = graded(task.Correct)
	if len(streams[0].Rows) != (len(groups)+2)/3 || streams[0].Coef != 0.5 || streams[1].Coef != 0.5 || len(streams[1].Rows) < len(groups) {
		t.Errorf("%d rows of right answers of %d, %d of demonstrations", len(streams[0].Rows), len(groups), len(streams[1].Rows))
	}
	if both, _ := gradient(t, e, streams, nil); relative(both, half) < far {
		t.Error("right answers change nothing")
	}
}

// What offline self-training keeps: the demonstrations once, then right answers that ended and differ from the demonstration and each other.
func TestRejectionSampling(t *testing.T) {
	s := launch(t, "reft", t.TempDir(), "arm=offline", "sft.valid=0.2")
	defer s.Run.Close()
	n := &s.Plan.Nodes[2]
	m := n.Method.(*RejectionSampling)
	demo := m.SFT.rows[0]
	written := s.Env.Format.Tok.Decode(answerIDs(demo, nil), true)
	g := &rollout.Group{Key: demo.ID.Problem}
	for i, c := range []struct {
		text    string
		verdict task.Verdict
		stop    engine.StopReason
	}{
		{" " + written, task.Correct, engine.StopEOS}, {"a way", task.Correct, engine.StopEOS}, {"a  way", task.Correct, engine.StopEOS},
		{"a long way", task.Correct, engine.StopLength}, {"no way", task.Wrong, engine.StopEOS}, {"2 ways", task.Correct, engine.StopEOS},
	} {
		e := answered(2, reward.Grade{Verdict: c.verdict}, -1, -1)
		e.Text, e.Segs[0].Stop, e.Segs[0].ID.Sample = c.text, c.stop, i
		g.Episodes = append(g.Episodes, e)
	}
	for step := range 2 {
		st := &train.Step{Env: &s.Env, Node: n, Index: step}
		kept, err := n.Keep(st, []*rollout.Group{g})
		if err != nil {
			t.Fatal(err)
		}
		demos := 0
		if step == 0 {
			if demos = len(m.SFT.rows) + len(m.SFT.held); len(m.SFT.held) == 0 || demos != 40 {
				t.Fatalf("%d demonstrations, %d of them held out", demos, len(m.SFT.held))
			}
		}
		if len(kept) != demos+2 || kept[demos].ID.Sample != 1 || kept[demos+1].ID.Sample != 5 || kept[demos].Count(engine.KindDemo) != 2 {
			t.Errorf("step %d: kept %d rows, want %d and the answers 1 and 5", step, len(kept), demos+2)
		}
	}
}

// The questions are those of the rows that the warm-up learns: none that is held out for a validation loss, each once an epoch. The offline arm
// asks each once.
func TestReFTQuestions(t *testing.T) {
	s := launch(t, "reft", t.TempDir(), "sft.valid=0.3")
	defer s.Run.Close()
	rows := s.Plan.Nodes[1].Method.(*SFT).rows
	n := &s.Plan.Nodes[2]
	want, orders := map[string]bool{}, [2][]string{}
	for _, r := range rows {
		want[r.ID.Problem] = true
	}
	for epoch := range orders {
		for i := range len(want) {
			p, err := n.Source.At(epoch*len(want) + i)
			if err != nil {
				t.Fatal(err)
			}
			if !want[p.ID] || slices.Contains(orders[epoch], p.ID) {
				t.Errorf("epoch %d: question %s is not one of the rows', or comes twice", epoch, p.ID)
			}
			orders[epoch] = append(orders[epoch], p.ID)
		}
	}
	if len(want) < 10 || len(want) > 36 || slices.Equal(orders[0], orders[1]) {
		t.Errorf("%d questions, the same order twice: %t", len(want), slices.Equal(orders[0], orders[1]))
	}
	off := launch(t, "reft", t.TempDir(), "arm=offline", "sft.valid=0.3", "rl.problems=7")
	defer off.Run.Close()
	build := &off.Plan.Nodes[2]
	asked := 0
	for step := range build.Steps {
		asked += min(7, build.Method.(*RejectionSampling).questions-7*step)
	}
	if asked != len(want) {
		t.Errorf("the build node asks %d questions of %d", asked, len(want))
	}
}

// Every arm makes as many updates, and goes on from an interruption at every step to the same bytes.
func TestReFTArms(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	for arm, nodes := range map[string]int{"reft": 3, "sft": 3, "online": 3, "grpo": 3, "offline": 4} {
		s := launch(t, "reft", t.TempDir(), "arm="+arm)
		updates := 0
		for _, n := range s.Plan.Nodes {
			if n.Kind == train.Train {
				updates += n.Steps * max(1, n.Passes) * max(1, n.Minibatches)
			}
		}
		if updates != 3+2*2*2 || len(s.Plan.Nodes) != nodes {
			t.Errorf("%s: %d updates in %d nodes", arm, updates, len(s.Plan.Nodes))
		}
		if arm == "reft" { // TestResume stops it
			s.Run.Close()
			continue
		}
		dir := exec(t, s)
		sameBytes(t, dir, piecewise(t, "reft", "arm="+arm))
		if arm != "offline" {
			continue
		}
		if s.Plan.Nodes[2].Kind != train.Build || s.Plan.Nodes[2].From != "" || s.Plan.Nodes[3].From != "base" {
			t.Error("answers come from the end of the warm-up, and the base model learns them")
		}
		learn := s.Plan.Nodes[3].Method.(*SFT)
		lines := bytes.Count([]byte(read(t, dir, "rows", "samples.jsonl")), []byte("\n"))
		if lines != len(learn.rows) || lines < 40 {
			t.Errorf("%d rows were kept, %d learned", lines, len(learn.rows))
		}
	}
}

func TestReFTSettings(t *testing.T) {
	for _, bad := range []string{"arm=none", "samples=0", "group=1", "share=1.5", "rl.task=chain_sum", "rl.questions=3", "rl.norm=sum", "rl.lambda=2", "rl.problems=0"} {
		if _, _, err := Parse("reft", "", nil, []string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, _, err := Parse("reft", "", nil, []string{"arm=grpo", "group=7"}); err == nil {
		t.Error("64 answers in groups of 7")
	}
	g := launch(t, "reft", t.TempDir(), "arm=grpo")
	if m := g.Plan.Nodes[2].Method.(*onDemos); m.Problems != 3 || m.GroupSize != 4 || m.critic() {
		t.Errorf("grpo asks %d questions %d times", m.Problems, m.GroupSize)
	}
	g.Run.Close()
	_, cfg, err := Parse("reft", "", nil, []string{"sft.data=rows.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(context.Background(), cfg, nil, io.Discard); err == nil || !strings.Contains(err.Error(), "sft.data=rows.jsonl") {
		t.Errorf("a file without a check: %v", err)
	}
}

func TestReFTClaim(t *testing.T) {
	checkClaim(t, "reft")
	for _, arm := range reftClaim.Arms { // every plan can be made
		_, cfg, err := Parse("reft", "", nil, slices.Concat(reftClaim.Common, arm.Settings))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Start(context.Background(), cfg, nil, io.Discard); err != nil || len(s.Plan.Nodes) < 3 {
			t.Errorf("arm %s: %v", arm.Name, err)
		}
	}
	for _, c := range []struct {
		sft, offline, online, reft, beta float64
		want                             Verdict
	}{
		{.20, .22, .24, .30, .28, Reproduced},
		{.20, .22, .19, .30, .28, Undecided}, // online below offline
		{.30, .22, .24, .29, .29, Contradicted},
		{.32, .22, .24, .30, .33, Contradicted}, // the interval lies below 0
		{.29, .22, .24, .2905, .28, Undecided},
		{.20, .22, .24, math.NaN(), .28, Void},
	} {
		table := &Table{Claim: &reftClaim}
		for seed := range uint64(3) {
			for name, v := range map[string]float64{"sft": c.sft, "offline": c.offline, "online": c.online, "reft": c.reft, "reft beta 0.05": c.beta} {
				noise := 0.002 * float64(seed) * float64(len(name)%3)
				table.Outcomes = append(table.Outcomes, &Outcome{Arm: name, Seed: seed, Final: map[string]float64{"accuracy": v + noise}})
			}
		}
		if d := table.Decide(); d.Verdict != c.want {
			t.Errorf("%+v: %s (%s)", c, d.Verdict, d.Why)
		}
	}
}
