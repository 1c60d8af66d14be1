// Command hone post-trains language models: supervised fine-tuning, preference optimisation and reinforcement learning on one engine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line; the order of its fields is the order of the help.
type cli struct {
	Run        runCmd        `cmd:"" help:"Train a model by a recipe."`
	Resume     resumeCmd     `cmd:"" help:"Go on with a run that was stopped or killed."`
	Eval       evalCmd       `cmd:"" help:"Measure a model on held-out problems."`
	Chat       chatCmd       `cmd:"" help:"Talk with a model."`
	Pretrain   pretrainCmd   `cmd:"" help:"Train the embedded nano model again."`
	Models     modelsCmd     `cmd:"" help:"Look into, convert and merge checkpoints."`
	Data       dataCmd       `cmd:"" help:"Look at training rows as tokens with weights, and check them."`
	Runs       runsCmd       `cmd:"" help:"List, show, compare and export runs."`
	Recipes    recipesCmd    `cmd:"" help:"List recipes, show their pages and settings."`
	Sweep      sweepCmd      `cmd:"" help:"Run a recipe over a grid of settings and seeds: one table, resumable."`
	Claim      claimCmd      `cmd:"" help:"Put what a paper says to the test: arms, seeds, one budget, a verdict."`
	New        newCmd        `cmd:"" help:"Write the skeleton of a new recipe: file, test, page."`
	Bench      benchCmd      `cmd:"" help:"Measure this machine and how much of it hone uses."`
	Doctor     doctorCmd     `cmd:"" help:"Show what this machine offers and what is in the way."`
	Tool       toolCmd       `cmd:"" help:"Line tools for scripts: one JSON object a line in, one out."`
	Completion completionCmd `cmd:"" help:"Print a completion script for bash, zsh or fish."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"Candidates for a word; called by the completion scripts."`
	Version    versionCmd    `cmd:"" help:"Show the version, its build and its settings."`
}

// app is what a command may touch of the outside world.
type app struct {
	ctx    context.Context // ends at Ctrl-C
	kong   *kong.Kong
	in     io.Reader
	out    io.Writer // results
	errOut io.Writer // progress, logs, errors
}

// badCall marks an error of the caller: a flag, a key or a path given on the command line. Exit status 2.
type badCall struct{ error }

func (b badCall) Unwrap() error { return b.error }

func badCallf(format string, args ...any) error { return badCall{fmt.Errorf(format, args...)} }

// exitCode leaves the parser, which ends --help by calling an exit function.
type exitCode int

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(hone(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// hone runs one command line and returns the exit status: 0 done, 1 failed, 2 called wrongly.
func hone(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			c, ok := r.(exitCode)
			if !ok {
				panic(r)
			}
			code = int(c)
		}
	}()
	k, err := newParser(out, errOut)
	if err != nil { // a fault in the command structs themselves; the tests parse every command
		fmt.Fprintln(errOut, "hone:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := k.Parse(args)
	if err != nil {
		fmt.Fprintf(errOut, "hone: %s\n", oneLine(explainParse(k, err)))
		return 2
	}
	a := &app{ctx: ctx, kong: k, in: in, out: out, errOut: errOut}
	if err := parsed.Run(a); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		fmt.Fprintf(errOut, "hone: %s\n", oneLine(err.Error()))
		if errors.As(err, new(badCall)) {
			return 2
		}
		return 1
	}
	return 0
}

func newParser(out, errOut io.Writer) (*kong.Kong, error) {
	return kong.New(&cli{},
		kong.Name("hone"),
		kong.Description("hone post-trains language models on this machine: one program, no Python, no network unless asked.\n\nhone COMMAND --help shows a command with examples."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 120}),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
	)
}

// explainParse adds the remedy to an error of the command line.
func explainParse(k *kong.Kong, err error) string {
	command := "hone"
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil {
		for _, p := range pe.Context.Path {
			if p.Command != nil {
				command += " " + p.Command.Name
			}
		}
	}
	return fmt.Sprintf("%v; %s --help shows what it takes", err, command)
}

// oneLine keeps an error on one line, as scripts expect.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " | ")
}

// printJSON writes the one object that a command ends in under --json.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
