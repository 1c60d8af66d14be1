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
	OnPolicy                      bool        // samples from the policy
	Quick                         []string    // settings under which it runs in a second: what every generic test uses
	Reduces                       []Reduction // settings that turn it into a plain recipe, bit for bit
	Irreducible                   string      // why there are none
	Claim                         *Claim      // nil for methods without one
}

// Reduction names settings under which a recipe takes the very steps of a plainer one.
type Reduction struct {
	With   []string // on top of Quick
	To     string   // the plain recipe
	ToWith []string
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
