package recipe

import (
	"fmt"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/train"
)

// PEARConfig are the settings of `hone run pear`. The teacher, the policy that is fitted on the demonstrations and the student all begin from
// the same model; only the student goes on to GRPO.
type PEARConfig struct {
	train.Common `yaml:",inline"`
	Teacher      SFTStage      `yaml:"teacher"`
	Demos        PEARDemos     `yaml:"demos"`
	Behaviour    PEARBehaviour `yaml:"behaviour"`
	SFT          PEARStage     `yaml:"sft"`
	GRPO         GRPOStage     `yaml:"grpo"`
}

// PEARDemos says where demonstrations come from.
type PEARDemos struct {
	Source       string `yaml:"source" help:"teacher: sampled by the teacher stage (0 steps: by the model itself) or by demos.teacher; data: those of sft.data"`
	Steps        int    `yaml:"steps" help:"steps of sampling at most"`
	TeacherDemos `yaml:",inline"`
}

// PEARBehaviour says whose log-probs stand below the ratio.
type PEARBehaviour struct {
	From  string      `yaml:"from" help:"sampled: those of sampling; teacher: the teacher scores the rows; fitted: a model fitted on the rows does; start: the model that SFT starts with does"`
	Steps int         `yaml:"steps" help:"fitted: updates"`
	Batch int         `yaml:"batch" help:"fitted: rows a step"`
	Optim train.Optim `yaml:",inline"`
}

// PEARStage is weighted SFT as a stage.
type PEARStage struct {
	Steps int         `yaml:"steps"`
	Optim train.Optim `yaml:",inline"`
	PEAR  `yaml:",inline"`
}

// Shared implements Config.
func (c *PEARConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *PEARConfig) EvalTask() string { return c.GRPO.Task }

// Validate implements config's range check.
func (c *PEARConfig) Validate() error {
	if err := oneOf("demos.source", c.Demos.Source, []string{"teacher", "data"}); err != nil {
		return err
	}
	from := c.Behaviour.From
	if err := oneOf("behaviour.from", from, []string{"sampled", "teacher", "fitted", "start"}); err != nil {
		return err
	}
	sampled := c.Demos.Source == "teacher"
	msg := ""
	switch {
	case from == "sampled" && !sampled:
		msg = "rows of a file have no log-probs of sampling: use fitted, start or teacher"
	case from == "sampled" && c.Demos.Foreign > 0:
		msg = "the expert's rows (demos.foreign) have no log-probs of sampling: use fitted or teacher"
	case from == "start" && sampled:
		msg = "start is for rows of a file: sampled rows have a teacher, use sampled, teacher or fitted"
	case from == "teacher" && c.Teacher.Steps == 0 && c.Demos.Teacher == "":
		msg = "there is no teacher: set teacher.steps, or name a model in demos.teacher"
	case from == "fitted" && (c.Behaviour.Steps < 1 || c.Behaviour.Batch < 1):
		msg = "fitted wants steps and a batch of at least one"
	}
	if msg != "" {
		return &config.FieldError{Field: "behaviour.from", Msg: msg}
	}
	if sampled {
		if err := c.refuseRows(); err != nil {
			return err
		}
	}
	if sampled && c.Demos.Steps < 1 {
		return &config.FieldError{Field: "demos.steps", Msg: fmt.Sprintf("%d: want at least one step of sampling", c.Demos.Steps)}
	}
	return c.Common.Validate()
}

// refuseRows refuses settings of rows where the teacher writes them.
func (c *PEARConfig) refuseRows() error {
	const instead = "demos.source=teacher makes the rows: set demos.source=data to read sft.data, or change demos.*"
	d, normal := c.SFT.Data, defaultSFT().Data
	return refuse(unread{"sft.data", d.Path, normal.Path, instead}, unread{"sft.prompt", d.Prompt, normal.Prompt, instead}, unread{"sft.completion", d.Completion, normal.Completion, instead},
		unread{"sft.rows", fmt.Sprint(d.Rows), fmt.Sprint(normal.Rows), instead}, unread{"sft.form", d.Form, normal.Form, instead},
		unread{"sft.train_on", d.TrainOn, normal.TrainOn, instead}, unread{"sft.too_long", d.TooLong, normal.TooLong, instead})
}

// Plan implements Config.
func (c *PEARConfig) Plan(b *Build) (train.Plan, error) {
	plan := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	add := func(n train.Node, err error) error {
		plan.Nodes = append(plan.Nodes, n)
		return err
	}
	built, from := "", c.Behaviour.From
	if c.Teacher.Steps > 0 && c.Demos.Teacher == "" && (c.Demos.Source == "teacher" || from == "teacher") {
		if err := add(c.Teacher.SFT.node(b, "teacher", c.Teacher.Steps, c.Teacher.Optim)); err != nil {
			return plan, err
		}
	}
	if c.Demos.Source == "teacher" {
		built = "demos"
		if err := add(c.Demos.TeacherDemos.node(b, built, c.Demos.Steps)); err != nil {
			return plan, err
		}
	}
	scorer := ScoredRows{Built: built, Data: c.SFT.Data}
	if from == "fitted" {
		fit := &SFT{Data: c.SFT.Data, Batch: c.Behaviour.Batch, Norm: c.SFT.Norm, ValidEvery: 1, built: built}
		n, err := fit.node(b, "behaviour", c.Behaviour.Steps, c.Behaviour.Optim)
		n.From = "base"
		if err := add(n, err); err != nil {
			return plan, err
		}
	} else {
		scorer.Scorer = c.Demos.Teacher
	}
	if from == "fitted" || from == "teacher" {
		built = "scored"
		if err := add(scorer.node(b, built, c.Demos.Rows)); err != nil {
			return plan, err
		}
	}
	c.SFT.built, c.SFT.frozen = built, from == "start"
	sft, err := c.SFT.SFT.node(b, "sft", c.SFT.Steps, c.SFT.Optim)
	sft.From, sft.Method = "base", &c.SFT.PEAR
	if err := add(sft, err); err != nil || c.GRPO.Steps == 0 {
		return plan, err
	}
	return plan, add(c.GRPO.GRPO.node(b, "grpo", c.GRPO.Steps, c.GRPO.Passes, c.GRPO.Minibatches, c.GRPO.Optim))
}

func defaultPEAR() *PEARConfig {
	c := &PEARConfig{Common: train.DefaultCommon(),
		Teacher: SFTStage{Steps: 600, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()},
		Demos: PEARDemos{Source: "teacher", Steps: 300, TeacherDemos: TeacherDemos{Task: "countdown", Rows: 2000, Problems: 16, Samples: 4,
			Keep: "correct", MaxTokens: 48, Temperature: 1, ForeignForm: "planned"}},
		Behaviour: PEARBehaviour{From: "sampled", Steps: 100, Batch: 64, Optim: train.DefaultOptim(1e-3)},
		SFT: PEARStage{Steps: 90, Optim: train.DefaultOptim(1e-3), PEAR: PEAR{SFT: defaultSFT(), Weights: "token", Block: 4, Gamma: 0.999,
			Low: -0.08, High: 0.3, LogMin: -10, LogMax: 5}},
		GRPO: GRPOStage{Steps: 100, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), GRPO: defaultGRPO()}}
	c.Teacher.Data.Form = "verbose" // weights are products over what follows: answers of some length show them
	c.GRPO.Problems, c.GRPO.MaxTokens = 16, 48
	c.Eval.PassAt, c.Eval.PassProblems = 8, 200
	return c
}
