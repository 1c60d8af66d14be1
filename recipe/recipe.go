// Package recipe holds one file per method. A recipe says which sequences the model looks at and how much each token counts; the loop, the
// engine and the files are somebody else's business.
package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/train"
)

// Paper is a registered recipe: what it is, its settings, and the plan that they make.
type Paper struct {
	Name, Title, ArXiv, Org, Date string
	About                         string // one line for lists
	Config                        func() Config
	Arms                          map[string]func(Config) (train.Plan, error) // variants by name, for claims
	Claims                        []Claim
	OnPolicy                      bool // samples from the policy
}

// Config is a pointer to a recipe's settings.
type Config interface {
	// Shared returns the settings that every recipe has.
	Shared() *train.Common
	// Plan builds the stages. It may read files and open tasks; it does no work on the model.
	Plan(b *Build) (train.Plan, error)
	// EvalTask names the task that is evaluated when the settings name none; "" = no evaluation.
	EvalTask() string
}

// Claim is what a paper says, as data: arm A beats arm B on a metric under an equal budget.
type Claim struct{ A, B, Metric, Budget, Rule string }

var registry = map[string]Paper{}

// Register adds a recipe; files call it from init. A name that is taken is a programming error.
func Register(p Paper) {
	if _, taken := registry[p.Name]; taken {
		panic("recipe: " + p.Name + " is registered twice")
	}
	registry[p.Name] = p
}

// Names lists the registered recipes.
func Names() []string {
	var names []string
	for n := range registry {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Get finds a recipe.
func Get(name string) (Paper, error) {
	if p, ok := registry[name]; ok {
		return p, nil
	}
	return Paper{}, fmt.Errorf("there is no recipe %q: choose one of %s", name, strings.Join(Names(), ", "))
}
