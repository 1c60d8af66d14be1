// Package docs embeds the pages that the program shows.
package docs

import "embed"

//go:embed recipes/*.md
var recipes embed.FS

// Recipe returns the page of a recipe.
func Recipe(name string) (string, error) {
	b, err := recipes.ReadFile("recipes/" + name + ".md")
	return string(b), err
}
