package recipe

import "github.com/hone-lm/hone/train"

// Single are the settings of a recipe of one stage that learns from rows: how long, how it is optimised, and the method's own.
type Single[M any, P stage[M]] struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps" help:"optimiser updates"`
	Optim        train.Optim `yaml:",inline"`
	Method       M           `yaml:",inline"`
	name         string      // of the stage
}

// stage is a method that can be a stage by itself.
type stage[M any] interface {
	*M
	node(b *Build, name string, steps int, o train.Optim) (train.Node, error)
	path() string // of its rows
}

// single makes the settings with their defaults.
func single[M any, P stage[M]](name string, steps int, lr float64, method M) func() Config {
	return func() Config {
		return &Single[M, P]{Common: train.DefaultCommon(), Steps: steps, Optim: train.DefaultOptim(lr), Method: method, name: name}
	}
}

// Shared implements Config.
func (c *Single[M, P]) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *Single[M, P]) EvalTask() string { return taskOf(P(&c.Method).path()) }

// Plan implements Config.
func (c *Single[M, P]) Plan(b *Build) (train.Plan, error) {
	n, err := P(&c.Method).node(b, c.name, c.Steps, c.Optim)
	return train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}, n}}, err
}
