package main

import (
	"fmt"

	"github.com/hone-lm/hone/docs"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/recipe"
)

type recipesCmd struct {
	List recipesListCmd `cmd:"" default:"1" help:"List the recipes; what hone recipes alone does."`
	Show recipesShowCmd `cmd:"" help:"Show a recipe's page and its settings with defaults."`
}

func (recipesCmd) Help() string {
	return `A recipe is one paper, or one plain method, in one file of package recipe.

  hone recipes
  hone recipes show grpo
  hone run grpo group_size=16`
}

type recipesListCmd struct {
	JSON bool `name:"json" help:"One JSON object instead of a table."`
}

// recipeInfo is one recipe of "hone recipes list --json".
type recipeInfo struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Title string `json:"title"`
	ArXiv string `json:"arxiv,omitempty"`
	Org   string `json:"org,omitempty"`
	Date  string `json:"date,omitempty"`
}

func (c *recipesListCmd) Run(a *app) error {
	list := []recipeInfo{}
	for _, name := range recipe.Names() {
		p, err := recipe.Get(name)
		if err != nil {
			return err
		}
		list = append(list, infoOf(p))
	}
	if c.JSON {
		return a.printJSON(map[string]any{"recipes": list})
	}
	t := newTable(a.out)
	for _, r := range list {
		t.row(r.Name, r.About, r.ArXiv)
	}
	t.flush()
	fmt.Fprintln(a.out, "next: hone recipes show NAME   hone run NAME")
	return nil
}

func infoOf(p recipe.Paper) recipeInfo {
	return recipeInfo{Name: p.Name, About: p.About, Title: p.Title, ArXiv: p.ArXiv, Org: p.Org, Date: p.Date}
}

type recipesShowCmd struct {
	Name string `arg:"" help:"A recipe's name."`
	JSON bool   `name:"json" help:"One JSON object instead of text."`
}

// settingInfo is one setting of "hone recipes show --json".
type settingInfo struct {
	Key     string `json:"key"`
	Type    string `json:"type"`
	Default string `json:"default"`
	Help    string `json:"help,omitempty"`
}

func (c *recipesShowCmd) Run(a *app) error {
	p, err := recipe.Get(c.Name)
	if err != nil {
		return badCall{err}
	}
	keys := config.Keys(p.Config())
	if c.JSON {
		settings := []settingInfo{}
		for _, k := range keys {
			settings = append(settings, settingInfo{k.Path, k.Type, k.Default, k.Help})
		}
		return a.printJSON(struct {
			recipeInfo
			Settings []settingInfo `json:"settings"`
		}{infoOf(p), settings})
	}
	if page, err := docs.Recipe(p.Name); err == nil {
		fmt.Fprintf(a.out, "%s\n", page)
	} else {
		fmt.Fprintf(a.out, "%s: %s\n%s\n\n", p.Name, p.Title, p.About)
	}
	if p.ArXiv != "" {
		fmt.Fprintf(a.out, "%s, %s, https://arxiv.org/abs/%s\n\n", p.Org, p.Date, p.ArXiv)
	}
	t := newTable(a.out)
	for _, k := range keys {
		t.row("  "+k.Path, k.Type, k.Default, k.Help)
	}
	t.flush()
	fmt.Fprintf(a.out, "\nnext: hone run %s --dry-run\n", p.Name)
	return nil
}
