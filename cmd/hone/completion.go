package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/run"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `The scripts ask the program itself for candidates, so they never grow stale.

  bash   hone completion bash > ~/.local/share/bash-completion/completions/hone
  zsh    hone completion zsh > "${fpath[1]}/_hone"
  fish   hone completion fish > ~/.config/fish/completions/hone.fish`
}

var completionScripts = map[string]string{
	"bash": `_hone() {
  local IFS=$'\n'
  COMPREPLY=($(hone complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _hone hone
`,
	"zsh": `#compdef hone
_hone() {
  local -a found
  found=("${(@f)$(hone complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -- $found; else _files; fi
}
if [[ "$funcstack[1]" = "_hone" ]]; then _hone "$@"; else compdef _hone hone; fi
`,
	"fish": `complete -c hone -a '(hone complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
}

func (c *completionCmd) Run(a *app) error {
	_, err := fmt.Fprint(a.out, completionScripts[c.Shell])
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The words of the line so far; the last is the one to complete."`
}

func (c *completeCmd) Run(a *app) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, w := range candidates(a.kong.Model.Node, words) {
		fmt.Fprintln(a.out, w)
	}
	return nil
}

// candidates returns what may stand in place of the last word: subcommands, flags, or the values of an enumerated flag or argument.
// Nothing means that the shell offers files.
func candidates(node *kong.Node, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	before, last := words[:len(words)-1], words[len(words)-1]
	var given []string     // positional words of the command
	var pending *kong.Flag // a flag whose value is the next word
	for _, w := range before {
		switch {
		case pending != nil:
			pending = nil
		case strings.HasPrefix(w, "--"):
			if f := flagOf(node, w); f != nil && !f.IsBool() && !strings.Contains(w, "=") {
				pending = f
			}
		default:
			if child := childOf(node, w); child != nil {
				node, given = child, nil
			} else {
				given = append(given, w)
			}
		}
	}
	var all []string
	switch {
	case pending != nil:
		all = enumValues(pending.Value)
	case strings.HasPrefix(last, "-"):
		for n := node; n != nil; n = n.Parent {
			for _, f := range n.Flags {
				if !f.Hidden {
					all = append(all, "--"+f.Name)
				}
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				all = append(all, child.Name)
			}
		}
		if len(given) < len(node.Positional) {
			all = append(all, enumValues(node.Positional[len(given)])...)
		}
		all = append(all, names(node.FullPath(), given)...)
	}
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, last) })
}

// names returns the recipes, runs or settings that may follow.
func names(command string, given []string) []string {
	var keys []config.KeyInfo
	switch command {
	case "hone run", "hone recipes show":
		if len(given) == 0 {
			return recipe.Names()
		}
		p, err := recipe.Get(given[0])
		if err != nil || command != "hone run" {
			return nil
		}
		keys = config.Keys(p.Config())
	case "hone eval":
		keys = config.Keys(defaultEval())
	case "hone chat":
		keys = config.Keys(defaultChat())
	case "hone resume", "hone runs show", "hone runs compare", "hone runs export":
		ids, _ := run.List("runs") // no folder, nothing to offer
		return ids
	}
	var out []string
	for _, k := range keys {
		out = append(out, k.Path+"=")
	}
	return out
}

func enumValues(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

func childOf(node *kong.Node, name string) *kong.Node {
	for _, c := range node.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func flagOf(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
	for n := node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if f.Name == name {
				return f
			}
		}
	}
	return nil
}
