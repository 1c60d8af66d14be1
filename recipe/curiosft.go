package recipe

import (
	"context"
	"errors"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// CurioSFT: Learning While Staying Curious: Entropy-Preserving Supervised Fine-Tuning via Adaptive Self-Distillation for Large Reasoning Models
// (2026, arXiv 2602.02244).
//
// SFT for an RL stage that still wants to explore: each demonstrated token y is also pulled towards a slightly older copy of the model whose
// logits z are divided by a temperature, high where the copy is unsure and low where it is sure:
//
//	loss = sum_t [ -lp_t + alpha (lp_t - lq_t)^2 / 2 ] / demonstrated tokens of the step,   lq_t = log softmax(z_t / tau_t)[y_t]
//	tau_t in [1.1, 1.5]:  entropy(softmax(z_t / tau_t)) = H_t + d(H_t),   objective.EntropyTemperature
//
// so that a token has the weight 1 - alpha (lp - lq). Every Sync updates the copy becomes Share of the model and 1 - Share of itself. Then GRPO.
// Reconstructed: the pivot for small vocabularies (the 80th percentile of the model's own entropies), the strength of the entropy bonus. Left
// out: nothing. Added: a supervised warm-up for models that do not know the answers' form, and the KL divergence over the whole vocabulary.
type CurioSFT struct {
	SFT        `yaml:",inline"`
	Alpha      float64 `yaml:"alpha" help:"weight of the distillation; 0 = plain supervised fine-tuning"`
	Divergence string  `yaml:"divergence" help:"k2 (half the squared log-ratio at the demonstrated token) or kl (teacher to model, over the whole vocabulary)"`
	Tau        float64 `yaml:"tau" help:"temperature of every token; 0 = chosen for each by its entropy (the paper's)"`
	TauLow     float64 `yaml:"tau_low" help:"lowest chosen temperature"`
	TauHigh    float64 `yaml:"tau_high" help:"highest chosen temperature"`
	Pivot      float64 `yaml:"pivot" help:"nats from which temperatures rise (the paper: 1.2); 0 = the 80th percentile of the entropies at the stage's start"`
	TopK       int     `yaml:"top_k" help:"most probable tokens of which entropies are taken; 0 = all"`
	Sync       int     `yaml:"sync" help:"updates between moves of the teacher; 1 with share=1 = the model is its own teacher"`
	Share      float64 `yaml:"share" help:"the model's share when the teacher moves"`
	Entropy    float64 `yaml:"entropy" help:"weight of an entropy bonus beside the loss (a baseline); 0 = off"`
	EntropyTop float64 `yaml:"entropy_top" help:"share of a step's tokens, those of highest entropy, that get the bonus"`

	skip  int // batches of demonstrations that are the warm-up's, used or not
	state curioState
}

type curioState struct {
	Pivot float64  // nats
	Valid sftState // what early stopping remembers
}

const teacherName = "teacher"

// State is the pivot and what early stopping remembers.
func (m *CurioSFT) State() any { return &m.state }

// Need asks for the teacher, and for entropies where they count.
func (m *CurioSFT) Need() train.Need {
	var n train.Need
	if m.Alpha > 0 {
		n.Frozen = []string{teacherName}
		n.Caps = []engine.Capability{engine.CapFrozen, engine.CapBlend, engine.CapRowTerms}
	}
	if m.Entropy > 0 || m.Alpha > 0 && m.Tau == 0 {
		n.Caps = append(n.Caps, engine.CapEntropy)
	}
	return n
}

// Prepare finds the pivot where the stage begins; a resume brings it in the state.
func (m *CurioSFT) Prepare(ctx context.Context, s *train.Step) error {
	if err := m.SFT.Prepare(ctx, s); err != nil || s.Index > 0 {
		return err
	}
	m.state = curioState{Pivot: m.Pivot}
	if m.Alpha == 0 || m.Tau > 0 || m.Pivot > 0 {
		return nil
	}
	h, err := rollout.Entropies(ctx, s.Engine, m.rows[:min(256, len(m.rows))], engine.KindDemo)
	if err == nil && len(h) == 0 {
		err = errors.New("the pivot cannot be measured: no row has a demonstrated token; set pivot, or change train_on")
	}
	if err != nil {
		return err
	}
	slices.Sort(h)
	m.state.Pivot = max(float64(h[len(h)*4/5]), sureEntropy)
	return nil
}

// sureEntropy is where the method takes a token for decided, in nats: no pivot lies below.
const sureEntropy = 0.03

// temperature is how the teacher's logits are divided.
func (m *CurioSFT) temperature() objective.Temperature {
	if m.Tau > 0 {
		return objective.FixedTemperature(m.Tau)
	}
	e := objective.AroundPivot(m.state.Pivot)
	e.Low, e.High, e.TopK, e.Sure = m.TauLow, m.TauHigh, m.TopK, sureEntropy
	return e
}

// Collect takes the rows that follow those planned for the warm-up.
func (m *CurioSFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	at := *s
	at.Index += m.skip
	return m.SFT.Collect(ctx, &at)
}

// Streams puts the distillation and the entropy bonus beside SFT's loss. With their weights 0 they cost nothing.
func (m *CurioSFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	streams, err := m.SFT.Streams(ctx, s, groups)
	if err != nil {
		return nil, err
	}
	sft := streams[0]
	if m.Alpha > 0 {
		distil := sft
		distil.Name, distil.Coef = "distil", m.Alpha
		if distil.Obj, err = m.distil(ctx, s, sft.Rows); err != nil {
			return nil, err
		}
		streams = append(streams, distil)
	}
	if m.Entropy > 0 {
		bonus := sft
		bonus.Name, bonus.Coef, bonus.Obj, bonus.Rows = "entropy", m.Entropy, objective.EntropyBonus{}, slices.Clone(sft.Rows)
		if m.EntropyTop < 1 {
			if err := (rollout.Order{By: "top"}).Keep(ctx, s.Engine, bonus.Rows, m.EntropyTop); err != nil {
				return nil, err
			}
		}
		streams = append(streams, bonus)
	}
	return streams, nil
}

// distil returns the loss towards the heated teacher. Of the default it scores the targets, which are then constants.
func (m *CurioSFT) distil(ctx context.Context, s *train.Step, rows []engine.Row) (engine.Objective, error) {
	teacher, err := s.FrozenModel(teacherName)
	if err != nil {
		return nil, err
	}
	if m.Divergence == "kl" {
		return objective.TermLoss{Term: objective.KLTerm{Frozen: teacher, Forward: true, Heat: m.temperature()}}, nil
	}
	const target = "logp_heated"
	for _, r := range rows {
		r.Seq.SetChannel(objective.ChanTemperature, nil)
	}
	if err := rollout.ScoreTerm(ctx, teacher, rows, objective.TemperedLogProb{Temp: m.temperature(), Kind: engine.KindDemo}, target); err != nil {
		return nil, err
	}
	for _, r := range rows {
		for t, in := range r.Mask {
			if in {
				s.Note("temperature", float64(r.Seq.Channel(objective.ChanTemperature)[t]))
			}
		}
	}
	return objective.KL{Estimator: objective.K2, Ref: target}, nil
}

// Observe moves the teacher, and looks at the validation loss as SFT does.
func (m *CurioSFT) Observe(ctx context.Context, s *train.Step, u engine.Update) (train.Signal, error) {
	if m.Alpha > 0 && (s.Index+1)%m.Sync == 0 {
		teacher, err := s.FrozenModel(teacherName)
		if err == nil {
			err = teacher.Blend(ctx, 1-m.Share)
		}
		if err != nil {
			return train.Continue, err
		}
	}
	m.SFT.state = m.state.Valid
	signal, err := m.SFT.Observe(ctx, s, u)
	m.state.Valid = m.SFT.state
	return signal, err
}

func init() {
	quick := []string{"warmup.steps=2", "sft.steps=5", "sft.rows=40", "sft.batch=4", "sft.warmup=1", "sft.sync=2", "grpo.steps=3", "grpo.problems=3", "grpo.group_size=4", "grpo.max_tokens=8", "grpo.overlong=7", "grpo.temperature=1.5"}
	Register(Paper{Name: "curiosft", Title: "Learning While Staying Curious: Entropy-Preserving Supervised Fine-Tuning via Adaptive Self-Distillation for Large Reasoning Models",
		ArXiv: "2602.02244", Org: "City University of Hong Kong, HKUST, CUHK", Date: "2026-02-02",
		About: "SFT that also stays near its own heated older copy, so that RL finds something to explore", OnPolicy: true, Quick: quick, Claim: curioClaim,
		Reduces: []Reduction{
			{With: []string{"sft.alpha=0", "warmup.steps=0", "sft.steps=6", "grpo.steps=0"}, To: "sft", ToWith: []string{"schedule=cosine", "min_lr=1e-7", "warmup=1"}},
			{With: []string{"sft.alpha=0", "warmup.steps=0", "sft.steps=4", "grpo.steps=4"}, To: "warmup-grpo", ToWith: []string{"sft.schedule=cosine", "sft.min_lr=1e-7", "sft.warmup=1"}}},
		Config: func() Config {
			c := &CurioSFTConfig{Common: train.DefaultCommon(), Warmup: Stage{50, train.DefaultOptim(1e-3)},
				SFT: CurioStage{Steps: 200, Optim: train.DefaultOptim(1e-3), CurioSFT: CurioSFT{SFT: defaultSFT(), Alpha: 1, Divergence: "k2",
					TauLow: 1.1, TauHigh: 1.5, TopK: 512, Sync: 5, Share: 0.99, EntropyTop: 1}},
				GRPO: GRPOStage{Steps: 100, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), GRPO: defaultGRPO()}}
			c.SFT.Optim.Schedule, c.SFT.Optim.MinLR, c.SFT.Data.Rows, c.SFT.Batch, c.GRPO.Problems = "cosine", 1e-7, 2000, 32, 16
			return c
		}})
}
