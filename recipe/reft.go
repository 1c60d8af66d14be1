package recipe

import (
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/train"
)

// ReFT: reasoning with reinforced fine-tuning (2024, arXiv 2401.08967): a short SFT on one demonstration a question, then PPO on the same
// questions, one answer to each.
//
//	r    = 1 right, 0.1 wrong but readable, 0 no answer, on the last sampled token
//	rho_t = r [t is last] - beta (logp_old_t - logp_ref_t),   ref = the end of the warm-up; no gradient flows through it
//	A_t  = delta_t + gamma lambda A_(t+1),  delta_t = rho_t + gamma V_(t+1) - V_t,  R_t = A_t + V_t   (A whitened over the step afterwards)
//	loss = mean over answers of the mean over tokens of [ - min(u A, clip(u, 1-0.2, 1+0.2) A) + 5/2 max((V - R)^2, (clip V - R)^2) ]
//
// It is the method ppo with these settings. The other arms are the paper's baselines, which make as many updates from the same warm-up on the
// same questions: sft goes on with the demonstrations, offline learns them and the right answers that the warm-up's end gave, from the base model;
// online learns right answers of the current model and demonstrations, half and half. grpo is not the paper's: it compares Group answers to a
// question with each other in place of values, as many answers a step in all. Left out: votes and a reranker when answering, the best
// checkpoint of all epochs, dropout.
type ReFT struct {
	train.Common `yaml:",inline"`
	Arm          string   `yaml:"arm" help:"reft; or a baseline of as many updates: sft, offline (self-training once), online (self-training at every step) or grpo (groups in place of values)"`
	Warmup       Stage    `yaml:"warmup"`
	SFT          SFT      `yaml:"sft"`
	RL           PPOStage `yaml:"rl"`
	Samples      int      `yaml:"samples" help:"offline: answers to each question"`
	Share        float64  `yaml:"share" help:"online: weight of right answers; demonstrations have the rest"`
	Group        int      `yaml:"group" help:"grpo: answers to each question, of as many answers a step in all as reft has"`
}

// onDemos is PPO on the questions of demonstrations, which are part of what it is.
type onDemos struct {
	SFT SFT `yaml:"sft"`
	PPO `yaml:",inline"`
}

// Shared implements Config.
func (c *ReFT) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *ReFT) EvalTask() string { return taskOf(c.SFT.Data.Path) }

// Validate implements config's range check.
func (c *ReFT) Validate() error {
	switch {
	case c.Samples < 1:
		return &config.FieldError{Field: "samples", Msg: fmt.Sprintf("%d: want at least one answer to each question", c.Samples)}
	case !(c.Share >= 0 && c.Share <= 1):
		return &config.FieldError{Field: "share", Msg: fmt.Sprintf("%g: want a share in [0, 1]", c.Share)}
	case c.Group < 2 || c.Arm == "grpo" && c.RL.Problems*c.RL.GroupSize%c.Group != 0:
		return &config.FieldError{Field: "group", Msg: fmt.Sprintf("%d: want at least 2, and whole groups in the %d answers of a step", c.Group, c.RL.Problems*c.RL.GroupSize)}
	case c.RL.Task != "" && c.RL.Task != c.SFT.Data.Path:
		return &config.FieldError{Field: "rl", Msg: fmt.Sprintf("task %s: the questions are those of sft.data (%s): leave rl.task empty", c.RL.Task, c.SFT.Data.Path)}
	case c.RL.Questions != 0 && c.RL.Questions != c.SFT.Data.Rows:
		return &config.FieldError{Field: "rl", Msg: fmt.Sprintf("questions %d: they are those of the demonstrations: set sft.rows", c.RL.Questions)}
	}
	if err := oneOf("arm", c.Arm, []string{"reft", "sft", "offline", "online", "grpo"}); err != nil {
		return err
	}
	return c.Common.Validate()
}

// Plan implements Config.
func (c *ReFT) Plan(b *Build) (train.Plan, error) {
	plan := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	if c.EvalTask() == "" {
		return plan, fmt.Errorf("sft.data=%s: reft samples answers to the demonstrations' questions, so it wants a task that can check them, such as countdown?level=3 or gsm8k?path=FILE", c.SFT.Data.Path)
	}
	warm := c.SFT
	sft, err := warm.node(b, "warmup", c.Warmup.Steps, c.Warmup.Optim)
	if err != nil {
		return plan, err
	}
	if c.Warmup.Steps > 0 {
		plan.Nodes = append(plan.Nodes, sft)
	}
	rl := &onDemos{warm, c.RL.PPO}
	rl.Task, rl.Questions, rl.answered = c.SFT.Data.Path, c.SFT.Data.Rows, warm.rows
	n, err := rl.node(b, "rl", c.RL.Steps, c.RL.Passes, c.RL.Minibatches, c.RL.Optim)
	if err != nil {
		return plan, err
	}
	n.Method = rl
	nodes, err := c.arm(b, rl, n)
	plan.Nodes = append(plan.Nodes, nodes...)
	return plan, err
}

// arm returns the stages behind the warm-up; n is that of reft itself.
func (c *ReFT) arm(b *Build, rl *onDemos, n train.Node) ([]train.Node, error) {
	learn := rl.SFT
	imitate := train.Node{Name: "sft", Kind: train.Train, Method: &learn, Steps: n.Steps * max(1, n.Passes) * max(1, n.Minibatches), Optim: c.Warmup.Optim}
	switch c.Arm {
	case "sft":
		return []train.Node{imitate}, nil
	case "offline":
		t, list, err := b.Asked(rl.Task, rl.Questions, rl.answered)
		if err != nil {
			return nil, err
		}
		build := &RejectionSampling{SFT: rl.SFT, Problems: rl.Problems, Samples: c.Samples}
		learn.built, learn.rows, learn.held = "samples", nil, nil
		imitate.Name, imitate.From = "offline", "base"
		return []train.Node{build.node("samples", t, list, n.Params), imitate}, nil
	case "grpo":
		n.Name = "grpo"
		rl.Estimator, rl.Problems, rl.GroupSize = string(objective.EstGRPO), rl.Problems*rl.GroupSize/c.Group, c.Group
		if err := dealable("arm=grpo", n.Minibatches, rl.Problems); err != nil {
			return nil, err // it would make fewer updates than the other arms
		}
	case "online":
		n.Name, n.Method, n.Optim = "online", &SelfTraining{SFT: rl.SFT, Problems: rl.Problems, GroupSize: rl.GroupSize, Share: c.Share}, c.Warmup.Optim
	}
	return []train.Node{n}, nil
}

func init() {
	quick := []string{"warmup.steps=3", "warmup.warmup=1", "sft.data=chain_sum?levels=2&digits=1-2", "sft.rows=40", "sft.batch=4", "rl.steps=2", "rl.problems=12", "rl.max_tokens=8", "rl.temperature=1.5", "samples=2", "group=4"}
	same := []string{"task=chain_sum?levels=2&digits=1-2", "questions=40", "steps=2", "minibatches=2", "problems=12", "group_size=1", "norm=seq_mean", "value_coef=5", "lr=3e-4"}
	Register(Paper{Name: "reft", Title: "ReFT: Reasoning with Reinforced Fine-Tuning", ArXiv: "2401.08967", Org: "ByteDance Research", Date: "2024-01-16",
		About: "a short SFT, then PPO on the questions of the same demonstrations", OnPolicy: true, Quick: quick, Claim: &reftClaim,
		Reduces: []Reduction{
			{With: []string{"warmup.steps=0"}, To: "ppo", ToWith: same},
			{With: []string{"arm=sft", "warmup.steps=0", "rl.steps=6", "rl.passes=1", "rl.minibatches=1"}, To: "sft", ToWith: []string{"data=chain_sum?levels=2&digits=1-2", "warmup=1"}}},
		Config: func() Config {
			c := &ReFT{Common: train.DefaultCommon(), Arm: "reft", Warmup: Stage{80, train.DefaultOptim(1e-3)}, SFT: defaultSFT(),
				RL: PPOStage{100, 2, 2, train.DefaultOptim(3e-4), defaultPPO()}, Samples: 8, Share: 0.5, Group: 8}
			c.SFT.Data.Rows = 500
			c.RL.Task, c.RL.GroupSize, c.RL.Partial, c.RL.ValueCoef, c.RL.Norm = "", 1, 0.1, 5, string(engine.SeqMean)
			return c
		}})
}
