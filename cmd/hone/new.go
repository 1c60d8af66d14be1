package main

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed skeleton/*.tmpl
var skeletons embed.FS

type newCmd struct {
	Name string `arg:"" help:"The recipe's name: small letters, digits and hyphens, such as my-method."`
	Dir  string `default:"." help:"The source tree: the folder with recipe/ and docs/."`
}

func (newCmd) Help() string {
	return `Writes three files: recipe/NAME.go with a method that so far is supervised fine-tuning, its test, and its page docs/recipes/NAME.md. They compile and pass; every generic test covers the new recipe at once. docs/new-recipe.md goes through an example.

  hone new my-method
  go test ./recipe -run 'TestEveryRecipe/my-method|TestMyMethod'`
}

// Run writes the files; none is overwritten.
func (c *newCmd) Run(a *app) error {
	if !regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`).MatchString(c.Name) {
		return badCallf("%q: want small letters, digits and hyphens, such as my-method", c.Name)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "recipe", "recipe.go")); err != nil {
		return badCallf("%s has no recipe/recipe.go: call this in hone's source tree, or name it with --dir", c.Dir)
	}
	file := strings.ReplaceAll(c.Name, "-", "_")
	data := struct{ Name, File, Type string }{c.Name, file, camel(c.Name)}
	targets := map[string]string{
		"recipe.go.tmpl": filepath.Join("recipe", file+".go"), "recipe_test.go.tmpl": filepath.Join("recipe", file+"_test.go"), "page.md.tmpl": filepath.Join("docs", "recipes", c.Name+".md"),
	}
	for _, to := range targets {
		if _, err := os.Stat(filepath.Join(c.Dir, to)); err == nil {
			return badCallf("%s is there already: choose another name, or remove it", to)
		}
	}
	t, err := template.ParseFS(skeletons, "skeleton/*.tmpl")
	if err != nil {
		return err
	}
	for from, to := range targets {
		var text bytes.Buffer
		if err := t.ExecuteTemplate(&text, from, data); err != nil {
			return err
		}
		content := text.Bytes()
		if strings.HasSuffix(to, ".go") { // columns depend on the name's length
			if content, err = format.Source(content); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(c.Dir, to), content, 0o666); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "wrote %s, %s and %s\nnext: go test ./recipe -run 'TestEveryRecipe/%s|Test%s'   go run ./cmd/hone run %s --dry-run\n",
		targets["recipe.go.tmpl"], targets["recipe_test.go.tmpl"], targets["page.md.tmpl"], c.Name, data.Type, c.Name)
	return nil
}

// camel turns my-method into MyMethod.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
