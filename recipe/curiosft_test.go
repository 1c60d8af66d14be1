package recipe

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// curioSettings are the recipe's defaults with more settings.
func curioSettings(t *testing.T, settings ...string) *CurioSFT {
	t.Helper()
	_, cfg, err := Parse("curiosft", "", nil, settings)
	if err != nil {
		t.Fatal(err)
	}
	m := &cfg.(*CurioSFTConfig).SFT.CurioSFT
	m.state.Pivot = m.Pivot
	return m
}

// curioToken is the loss of a token of a model and its teacher that have the same row of logits, and the derivative by its log-prob.
func curioToken(m *CurioSFT, logits []float32) (tau, lp, lq, loss, slope float64) {
	sum := 0.0
	for _, z := range logits {
		sum += math.Exp(float64(z))
	}
	seq := &engine.Sequence{Tokens: []int32{0, 0}, Kind: []engine.Kind{engine.KindPrompt, engine.KindDemo}}
	row := engine.LogitRow{Seq: seq, T: 1, Logits: logits, LSE: float32(math.Log(sum))}
	temps := seq.SetChannel(objective.ChanTemperature, nil)
	q := objective.TemperedLogProb{Temp: m.temperature(), Kind: engine.KindDemo}.Value(row)
	seq.SetChannel("logp_heated", []float32{0, q})
	at := func(lp float64) (loss, slope float64) {
		v := engine.View{Row: &engine.Row{Seq: seq, Mask: []bool{false, true}, Scale: 1}, To: 2, LogProb: make([]float32, 2), DLogProb: make([]float64, 2),
			Wide: &engine.Wide{LogProb: []float64{0, lp}, Chan: map[string][]float64{"logp_heated": {0, float64(q)}}}}
		loss = objective.CrossEntropy{}.Eval([]engine.View{v}, nil)
		v.Row.Scale = m.Alpha
		return loss + objective.KL{Estimator: objective.K2, Ref: "logp_heated"}.Eval([]engine.View{v}, nil), v.DLogProb[1]
	}
	lp = float64(logits[0]) - math.Log(sum)
	loss, slope = at(lp)
	const h = 1e-4
	up, _ := at(lp + h)
	down, _ := at(lp - h)
	if d := (up - down) / (2 * h); math.Abs(d-slope) > 1e-7 {
		slope = math.NaN() // any comparison fails
	}
	return float64(temps[1]), lp, float64(q), loss, slope
}

// curiosft, checks 1, 2 and 4: the temperature, the loss and the weight 1 - alpha (lp - lq), by formula and by differences.
func TestCurioSFTToken(t *testing.T) {
	for _, c := range []struct {
		settings             []string
		logits               []float32
		tau, p, q, loss, wgt float64
	}{
		{nil, []float32{2, 1, 0, -1}, 1.4386, 0.6439, 0.5341, 0.4577, 0.8130},
		{[]string{"sft.alpha=0.5"}, []float32{2, 1, 0, -1}, 1.4386, 0.6439, 0.5341, 0.4402 + 0.5*0.0175, 0.9065},
		{[]string{"sft.tau=1.3"}, []float32{2, 1, 0, -1}, 1.3, 0.6439, 0.5626, 0.4402 + 0.0091, 0.8649},
		{[]string{"sft.tau=1"}, []float32{2, 1, 0, -1}, 1, 0.6439, 0.6439, 0.4402, 1},
		{nil, []float32{0, 0, 0, 0}, 1.5, 0.25, 0.25, 1.3863, 1},
		{nil, []float32{8, 0, 0, 0}, 1.1, 0.9990, 0.9979, 0.0010, 0.9989},
	} {
		m := curioSettings(t, append(c.settings, "sft.pivot=1.2")...)
		tau, lp, lq, loss, slope := curioToken(m, c.logits)
		for _, x := range []struct {
			name      string
			got, want float64
		}{{"tau", tau, c.tau}, {"probability", math.Exp(lp), c.p}, {"heated probability", math.Exp(lq), c.q}, {"loss", loss, c.loss}, {"weight", -slope, c.wgt},
			{"weight by formula", 1 - m.Alpha*(lp-lq), c.wgt}} {
			if !(math.Abs(x.got-x.want) <= 6e-5) {
				t.Errorf("%v %v: %s %.5f, want %.4f", c.settings, c.logits, x.name, x.got, x.want)
			}
		}
		if c.logits[0] == 8 && tau != float64(float32(1.1)) {
			t.Errorf("a sure token's temperature is %v, want 1.1 exactly", tau)
		}
	}
}

// curioBatch is the first batch of the supervised stage.
func curioBatch(t *testing.T, settings ...string) (*train.Session, []engine.Stream) {
	t.Helper()
	return lastBatch(t, "curiosft", append([]string{"warmup.steps=0", "grpo.steps=0"}, settings...)...)
}

// Check 3: with every temperature 1 and the teacher equal to the model, loss and gradient are SFT's to the bit; with alpha 0 there is no
// teacher at all (that the steps are those of sft is among the reductions).
func TestCurioSFTIsSFT(t *testing.T) {
	s, streams := curioBatch(t, "sft.tau=1")
	e := s.Engine.(*local.Engine)
	if len(streams) != 2 {
		t.Fatalf("%d streams", len(streams))
	}
	plain, want := gradient(t, e, streams[:1], nil)
	both, got := gradient(t, e, streams, nil)
	if !sameBits(plain, both) || want.Loss() != got.Loss() || relative(plain, both) != 0 {
		t.Errorf("loss %v, SFT's %v; gradients are %g apart", got.Loss(), want.Loss(), relative(plain, both))
	}
	s, streams = curioBatch(t, "sft.alpha=0")
	if _, ok := s.Engine.(*local.Engine).Kept(teacherName); ok || len(streams) != 1 {
		t.Errorf("alpha 0: a teacher is there (%v), %d streams", ok, len(streams))
	}
}

// Check 4 on the engine: the gradient is that of SFT with each token's weight 1 - alpha (lp - lq) held constant, so that none flows through
// the teacher; without the weights it is another.
func TestCurioSFTGradient(t *testing.T) {
	const alpha = 3
	s, streams := curioBatch(t, "sft.alpha=3")
	e := s.Engine.(*local.Engine)
	whole, _ := gradient(t, e, streams, nil)
	weighted := streams[0]
	weighted.Rows = nil
	for _, r := range streams[0].Rows {
		scores, err := e.Score(context.Background(), []*engine.Sequence{r.Seq}, engine.Want{})
		if err != nil {
			t.Fatal(err)
		}
		r.Weight = make([]float32, len(r.Mask))
		for k, in := range r.Mask {
			if in {
				r.Weight[k] = 1 - alpha*(scores[0].LogProb[k]-r.Seq.Channel("logp_heated")[k])
			}
		}
		weighted.Rows = append(weighted.Rows, r)
	}
	if g, _ := gradient(t, e, []engine.Stream{weighted}, nil); relative(whole, g) > far {
		t.Errorf("the gradient of weighted tokens is %g away", relative(whole, g))
	}
	if g, _ := gradient(t, e, streams[:1], nil); relative(whole, g) < 1e-3 {
		t.Error("SFT has the same gradient: this shows nothing")
	}
}

// The KL divergence over the whole vocabulary pulls at all logits, not at the demonstrated token's alone.
func TestCurioSFTDivergence(t *testing.T) {
	s, k2 := curioBatch(t)
	e := s.Engine.(*local.Engine)
	a, _ := gradient(t, e, k2[1:], nil)
	s, kl := curioBatch(t, "sft.divergence=kl")
	b, stats := gradient(t, s.Engine.(*local.Engine), kl[1:], nil)
	if mean, ok := stats.Streams[0].Tally.Mean("term"); !ok || !(mean > 1e-3) {
		t.Errorf("a mean divergence of %g to the heated teacher", mean)
	}
	if relative(a, b) < 0.1 {
		t.Error("k2 and kl have the same gradient")
	}
	s, kl = curioBatch(t, "sft.divergence=kl", "sft.tau=1")
	if g, stats := gradient(t, s.Engine.(*local.Engine), kl[1:], nil); math.Abs(stats.Loss()) > 1e-6 || relative(a, g) < 0.9 {
		t.Errorf("a teacher like the model: divergence %g", stats.Loss())
	}
}

// observed tells the method of a supervised stage that the update of a step is done.
func observed(t *testing.T, s *train.Session, index int) {
	t.Helper()
	n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
	if _, err := n.Method.Observe(context.Background(), &train.Step{Env: &s.Env, Node: n, Seed: s.Common.Seed, Index: index}, engine.Update{}); err != nil {
		t.Fatal(err)
	}
}

// teacherWeights are the numbers that an engine's state ends with.
func teacherWeights(t *testing.T, e *local.Engine) []float32 {
	t.Helper()
	var b bytes.Buffer
	if err := e.Save(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range e.Model().Params() {
		n += len(p.Data)
	}
	w := make([]float32, n)
	if err := binary.Read(bytes.NewReader(b.Bytes()[b.Len()-4*n:]), binary.LittleEndian, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// Check 5: a teacher of zeros becomes 0.99 of a model of ones after every fifth update, before the sixth, and does not move at others.
func TestCurioSFTSync(t *testing.T) {
	s, _ := curioBatch(t, "sft.sync=5")
	e := s.Engine.(*local.Engine)
	teacher, err := (&train.Step{Env: &s.Env, Node: &s.Plan.Nodes[1]}).FrozenModel(teacherName)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(v float32) {
		for _, p := range e.Model().Params() {
			for i := range p.Data {
				p.Data[i] = v
			}
		}
	}
	fill(0)
	if err := teacher.Blend(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	fill(1)
	want := float32(0)
	for update := 1; update <= 10; update++ {
		observed(t, s, update-1)
		switch update {
		case 5:
			want = 0.99
		case 10:
			want = 0.9999
		}
		for i, w := range teacherWeights(t, e) {
			if w != want {
				t.Fatalf("after update %d weight %d of the teacher is %v, want %v", update, i, w, want)
			}
		}
	}
}

// With sync 1 and share 1 the model is its own teacher: after an update the targets are its own heated log-probs. With the defaults they are not.
func TestCurioSFTLive(t *testing.T) {
	ctx := context.Background()
	for _, own := range []bool{true, false} {
		settings := []string{"sft.sync=5"}
		if own {
			settings = []string{"sft.sync=1", "sft.share=1"}
		}
		s, streams := curioBatch(t, settings...)
		batch, err := engine.Normalise(streams)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Engine.Backward(ctx, batch); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Engine.Step(ctx, engine.Optim{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}); err != nil {
			t.Fatal(err)
		}
		observed(t, s, 0)
		n := &s.Plan.Nodes[1]
		m := n.Method.(*CurioSFT)
		if _, err := m.distil(ctx, &train.Step{Env: &s.Env, Node: n}, streams[0].Rows); err != nil {
			t.Fatal(err)
		}
		seq := streams[0].Rows[0].Seq
		scores, err := s.Engine.Score(ctx, []*engine.Sequence{seq}, engine.Want{Term: objective.TemperedLogProb{Temp: m.temperature(), Kind: engine.KindDemo}})
		if err != nil {
			t.Fatal(err)
		}
		if same := sameBits(scores[0].Term, seq.Channel("logp_heated")); same != own {
			t.Errorf("%v: the targets are the model's own: %v", settings, same)
		}
	}
}

// Without a setting the pivot is the 80th percentile of the entropies that the stage begins with; a resume does not measure it again.
func TestCurioSFTPivot(t *testing.T) {
	s, _ := curioBatch(t)
	n := &s.Plan.Nodes[1]
	m := n.Method.(*CurioSFT)
	h, err := rollout.Entropies(context.Background(), s.Engine, m.rows, engine.KindDemo)
	if err != nil {
		t.Fatal(err)
	}
	below := 0
	for _, x := range h {
		if float64(x) < m.state.Pivot {
			below++
		}
	}
	if share := float64(below) / float64(len(h)); len(h) < 100 || math.Abs(share-0.8) > 0.01 {
		t.Errorf("%d tokens, %.3f of them below the pivot %g", len(h), share, m.state.Pivot)
	}
	if e := m.temperature().(objective.EntropyTemperature); e.Pivot != m.state.Pivot || math.Abs(e.Slope*e.Pivot-2.4) > 1e-12 || e.Low != 1.1 || e.High != 1.5 || e.TopK != 512 || e.Sure != 0.03 {
		t.Errorf("%+v", e)
	}
	m.state.Pivot = 7
	if err := m.Prepare(context.Background(), &train.Step{Env: &s.Env, Node: n, Index: 2}); err != nil || m.state.Pivot != 7 {
		t.Errorf("in the middle of the stage the pivot became %g, %v", m.state.Pivot, err)
	}
	s, _ = curioBatch(t, "sft.pivot=1.2")
	if m := s.Plan.Nodes[1].Method.(*CurioSFT); m.state.Pivot != 1.2 {
		t.Errorf("pivot %g of a setting of 1.2", m.state.Pivot)
	}
}

// The entropy bonus speaks of all tokens, or of the share of highest entropy; either is divided by all of them.
func TestCurioSFTBonus(t *testing.T) {
	for _, top := range []string{"1", "0.2"} {
		s, streams := curioBatch(t, "sft.alpha=0", "sft.entropy=0.25", "sft.entropy_top="+top)
		batch, err := engine.Normalise(streams)
		if err != nil {
			t.Fatal(err)
		}
		sft, bonus := batch.Streams[0], batch.Streams[1]
		if sft.Denom != bonus.Denom || bonus.Coef != 0.25 || len(batch.Streams) != 2 {
			t.Errorf("denominators %g and %g, coefficient %g", sft.Denom, bonus.Denom, bonus.Coef)
		}
		var least, most float32 = 100, 0 // entropy with the bonus, without
		with := 0
		for _, r := range bonus.Rows {
			scores, err := s.Engine.Score(context.Background(), []*engine.Sequence{r.Seq}, engine.Want{Entropy: true})
			if err != nil {
				t.Fatal(err)
			}
			for k, in := range r.Mask {
				switch h := scores[0].Entropy[k]; {
				case in && r.WeightAt(k) == 1:
					with++
					least = min(least, h)
				case in:
					most = max(most, h)
				}
			}
		}
		want := int(sft.Denom)
		if top != "1" {
			want = int(math.Round(0.2 * sft.Denom))
		}
		if with != want || least < most {
			t.Errorf("top %s: %d of %g tokens have the bonus, entropies from %g; without up to %g", top, with, sft.Denom, least, most)
		}
		for _, r := range sft.Rows {
			if r.Weight != nil {
				t.Fatal("the bonus weighs the loss of SFT")
			}
		}
	}
}

// Stopped at every step, those between two moves of the teacher included, a run has the bytes of one that never stopped; another share of the
// teacher gives others, so that a lost teacher would show.
func TestCurioSFTResume(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	common := []string{"sft.sync=3", "grpo.steps=0"}
	for _, settings := range [][]string{{"lora.rank=2"}, {"sft.divergence=kl", "sft.entropy=0.1", "sft.entropy_top=0.5", "sft.valid=0.3", "sft.valid_every=2"}} {
		settings = append(settings, common...)
		want := whole(t, "curiosft", append(settings, "sft.share=0.3")...)
		sameBytes(t, want, piecewise(t, "curiosft", append(settings, "sft.share=0.3")...))
		other := whole(t, "curiosft", append(settings, "sft.share=0.9")...)
		if lasting(t, want)[run.MetricsFile] == lasting(t, other)[run.MetricsFile] {
			t.Errorf("%v: the teacher's share changes nothing", settings)
		}
	}
}

// Metrics hold the temperatures; a stage's end with pass@k holds the entropy of what was drawn.
func TestCurioSFTMetrics(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	s := launch(t, "curiosft", t.TempDir(), "grpo.steps=0", "eval.pass_at=4", "eval.pass_problems=3")
	exec(t, s)
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	temps, entropies := 0, 0
	for _, row := range rows {
		if v, ok := row.Get("temperature"); ok && row.Stage == "sft" && v >= 1.1 && v <= 1.5 {
			temps++
		}
		if v, ok := row.Get(run.Entropy); ok && row.Kind == run.KindEval && v > 0.01 && v < 6 {
			entropies++
		}
	}
	if temps != 5 || entropies != 3 {
		t.Errorf("%d steps of 5 have a temperature, %d evaluations of 3 an entropy", temps, entropies)
	}
}

func TestCurioSFTSettings(t *testing.T) {
	for _, bad := range []string{"sft.alpha=-1", "sft.alpha=.inf", "sft.divergence=l2", "sft.tau=0.01", "sft.tau_low=0", "sft.tau_high=1", "sft.pivot=-1", "sft.top_k=1", "sft.sync=0", "sft.share=1.1",
		"sft.entropy=-0.1", "sft.entropy_top=0", "sft.batch=0", "sft.curiosity=1"} {
		field, _, _ := strings.Cut(bad, "=")
		if _, _, err := Parse("curiosft", "", nil, []string{bad}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	checkClaim(t, "curiosft")
	for _, a := range curioClaim.Arms { // every arm has the same stages
		s := launch(t, "curiosft", t.TempDir(), append(append([]string{}, a.Settings...), "sft.rows=40")...)
		names := ""
		for _, n := range s.Plan.Nodes {
			names += n.Name + " "
		}
		if names != "base warmup sft grpo " {
			t.Errorf("arm %s: stages %s", a.Name, names)
		}
		s.Run.Close()
	}
}

// The verdict follows the rule's text.
func TestCurioSFTClaim(t *testing.T) {
	type arm struct{ entropy, before, after float64 }
	for _, c := range []struct {
		sft, curio arm
		bonus      float64
		want       Verdict
	}{
		{arm{.30, .40, .45}, arm{.40, .41, .50}, .46, Reproduced},
		{arm{.30, .40, .45}, arm{.40, .30, .50}, .46, Undecided}, // less accurate after SFT
		{arm{.30, .40, .45}, arm{.29, .41, .50}, .46, Undecided}, // no more entropy
		{arm{.30, .40, .45}, arm{.40, .41, .50}, .51, Contradicted},
		{arm{.30, .40, .45}, arm{.40, .41, .42}, .30, Contradicted},
		{arm{.30, .40, .45}, arm{.29, .41, .42}, .30, Undecided},
		{arm{.30, .40, .45}, arm{.40, .41, .4503}, .30, Undecided},
		{arm{.30, .40, .45}, arm{math.NaN(), .41, .50}, .46, Void},
	} {
		table := &Table{Claim: curioClaim}
		for seed := range uint64(3) {
			for name, v := range map[string]arm{"sft": c.sft, "curiosft": c.curio, "entropy bonus": {.4, .4, c.bonus}, "entropy bonus, top 20 %": {.4, .4, .2}} {
				noise := 0.001 * float64(seed) * float64(len(name)%3)
				table.Outcomes = append(table.Outcomes, &Outcome{Arm: name, Seed: seed, Before: map[string]float64{"accuracy": v.before + noise, "entropy": v.entropy + noise},
					Final: map[string]float64{"accuracy": v.after + noise, "entropy": 0}})
			}
		}
		if d := table.Decide(); d.Verdict != c.want {
			t.Errorf("%+v: %s (%s)", c, d.Verdict, d.Why)
		}
	}
}

// The stage's rows are those behind the steps planned for the warm-up, as the page says, also where patience may end it before.
func TestCurioSFTFollows(t *testing.T) {
	s := launch(t, "curiosft", t.TempDir(), "warmup.steps=3", "sft.valid=0.3", "sft.valid_every=1", "sft.patience=1")
	defer s.Run.Close()
	m, warm := s.Plan.Nodes[2].Method.(*CurioSFT), s.Plan.Nodes[1].Method.(*SFT)
	got, err := m.Collect(context.Background(), &train.Step{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for index := range 4 {
		rows, err := warm.Collect(context.Background(), &train.Step{Seed: 1, Index: index})
		if err != nil {
			t.Fatal(err)
		}
		if same := got[0].Key == rows[0].Key; same != (index == 3) {
			t.Errorf("the first rows are those of step %d of the warm-up: %v", index, same)
		}
	}
}
