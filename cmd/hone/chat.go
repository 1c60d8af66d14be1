package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

type chatCmd struct {
	Settings []string `arg:"" optional:"" name:"key=value" help:"model and the others below."`
	JSON     bool     `name:"json" help:"End in one JSON object with the whole conversation; nothing else on standard output."`
}

func (chatCmd) Help() string {
	var b strings.Builder
	b.WriteString(`Talks with a model. Each line of input is one message; /reset forgets the conversation, /exit or Ctrl-D ends it.

  hone chat model=runs/sft-12ab
  hone chat model=SmolLM2-135M-Instruct.Q4_1.gguf temperature=0
  echo "3 5 7 -> 26" | hone chat model=runs/grpo-7f3a --json

Settings and their defaults:

`)
	for _, k := range config.Keys(defaultChat()) {
		fmt.Fprintf(&b, "  %-18s %-6s %s\n", k.Path, k.Default, k.Help)
	}
	return b.String()
}

// chatSettings are what hone chat takes.
type chatSettings struct {
	Model       string  `yaml:"model" help:"nano, a Hugging Face folder, a .gguf file, or runs/ID[@step or @node@step]"`
	Adapter     string  `yaml:"adapter" help:"PEFT adapter folder"`
	Quantised   bool    `yaml:"keep_quantised" help:"keep the quantised weights of a .gguf file as they are: less memory, faster, the same numbers"`
	System      string  `yaml:"system" help:"system turn"`
	Temperature float64 `yaml:"temperature" help:"0 = always the most probable token"`
	TopK        int     `yaml:"top_k" help:"draw from the k most probable tokens; 0 = all"`
	TopP        float64 `yaml:"top_p" help:"draw from the most probable tokens that make up this share; 1 = all"`
	MinP        float64 `yaml:"min_p" help:"drop tokens less probable than this share of the best; 0 = none"`
	Penalty     float64 `yaml:"repetition_penalty" help:"1 = off"`
	MaxTokens   int     `yaml:"max_tokens" help:"longest answer"`
	Precision   string  `yaml:"precision" help:"f32 or bf16; empty = the run's"`
	Seed        uint64  `yaml:"seed" help:"the same seed and messages give the same answers"`
}

func defaultChat() *chatSettings {
	return &chatSettings{Model: "nano", Temperature: 0.7, TopP: 0.95, Penalty: 1, MaxTokens: 512, Seed: 1}
}

// Validate implements config's range check.
func (s *chatSettings) Validate() error {
	switch {
	case !(s.Temperature >= 0):
		return config.Errorf("temperature", "must be 0 or more, got %g", s.Temperature)
	case s.TopK < 0:
		return config.Errorf("top_k", "must be 0 or more, got %d", s.TopK)
	case !(s.TopP > 0 && s.TopP <= 1):
		return config.Errorf("top_p", "must be above 0 and at most 1, got %g", s.TopP)
	case !(s.MinP >= 0 && s.MinP < 1):
		return config.Errorf("min_p", "must be at least 0 and below 1, got %g", s.MinP)
	case !(s.Penalty > 0):
		return config.Errorf("repetition_penalty", "must be above 0, got %g", s.Penalty)
	case s.MaxTokens < 1:
		return config.Errorf("max_tokens", "must be at least 1, got %d", s.MaxTokens)
	}
	if s.Precision == "" {
		return nil
	}
	return config.OneOf("precision", s.Precision, "f32", "bf16")
}

func (c *chatCmd) Run(a *app) error {
	s := defaultChat()
	if err := config.Load(s, "", nil, c.Settings); err != nil {
		return badCall{err}
	}
	stored, err := recipe.StoredSettings(s.Model)
	if err != nil {
		return err
	}
	if stored != nil && s.System == "" {
		s.System = stored.Shared().System
	}
	if stored != nil && s.Precision == "" {
		s.Precision = stored.Shared().Precision
	}
	common := train.DefaultCommon()
	common.Model, common.Adapter, common.System, common.Quantised = s.Model, s.Adapter, s.System, s.Quantised
	if s.Precision != "" {
		common.Precision = s.Precision
	}
	loaded, err := recipe.LoadModel(&common)
	if err != nil {
		return err
	}
	e, err := loaded.Engine(a.ctx, &common)
	if err != nil {
		return err
	}
	defer e.Close()
	if note := recipe.PrecisionNote(&common, e); note != "" {
		fmt.Fprintln(a.errOut, note)
	}
	t := &talk{a: a, e: e, f: loaded.Format, s: s, quiet: c.JSON}
	if f, ok := a.in.(*os.File); ok && isatty.IsTerminal(f.Fd()) && !c.JSON {
		t.prompt = "> "
		info := e.Info()
		fmt.Fprintf(a.out, "%s, %s parameters, context %d. /reset forgets, /exit ends.\n", s.Model, count(info.Params), info.Context)
	}
	if err := t.loop(); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"model": s.Model, "messages": append([]chat.Message{}, t.messages...)})
	}
	return nil
}

// talk is one conversation. What was sampled stays as tokens; later turns are appended to it.
type talk struct {
	a      *app
	e      engine.Engine
	f      *rollout.Format
	s      *chatSettings
	prompt string // shown before each message; "" when input is no terminal
	quiet  bool

	messages []chat.Message
	tokens   []int32 // of the conversation so far, the last answer included
	text     string  // the same as text
	answers  uint64
}

func (t *talk) loop() error {
	lines := inputLines(t.a.ctx, t.a.in)
	for {
		fmt.Fprint(t.a.out, t.prompt)
		var line inputLine
		select {
		case line = <-lines:
		case <-t.a.ctx.Done():
			return t.a.ctx.Err()
		}
		if line.err != nil && line.err != io.EOF {
			return fmt.Errorf("standard input: %w", line.err)
		}
		switch message := strings.TrimSpace(line.text); message {
		case "":
		case "/exit", "/quit":
			return nil
		case "/reset":
			t.messages, t.tokens, t.text = nil, nil, ""
		default:
			if err := t.turn(message); err != nil {
				return err
			}
		}
		if line.err == io.EOF {
			return nil
		}
	}
}

type inputLine struct {
	text string
	err  error
}

// inputLines reads on the side, so that Ctrl-C ends a wait for input.
func inputLines(ctx context.Context, in io.Reader) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		for r := bufio.NewReader(in); ; {
			text, err := r.ReadString('\n')
			select {
			case lines <- inputLine{text, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// turn answers one message.
func (t *talk) turn(message string) error {
	t.messages = append(t.messages, chat.Message{Role: "user", Content: message})
	if err := t.ask(message); err != nil {
		return err
	}
	info := t.e.Info()
	if len(t.tokens) >= info.Context {
		return fmt.Errorf("the conversation has %d tokens and the model's context is %d: start anew with /reset", len(t.tokens), info.Context)
	}
	params := t.f.Stops(engine.Params{Temperature: float32(t.s.Temperature), Greedy: t.s.Temperature == 0, TopK: t.s.TopK, TopP: float32(t.s.TopP), MinP: float32(t.s.MinP),
		RepetitionPenalty: float32(t.s.Penalty), MaxTokens: min(t.s.MaxTokens, info.Context-len(t.tokens))})
	prompt := engine.Prompt{Seq: &engine.Sequence{Tokens: t.tokens}, N: 1, Params: params, Key: engine.NewKey(t.s.Seed, "chat", t.answers)}
	t.answers++
	live := &echo{out: t.a.out, tok: t.f.Tok, from: len(t.tokens)}
	if !t.quiet {
		prompt.Rules = []engine.Rule{live}
	}
	got, err := t.e.Sample(t.a.ctx, []engine.Prompt{prompt})
	if err != nil {
		return err
	}
	s := got[0][0]
	answer := t.f.Tok.Decode(s.Tokens[len(t.tokens):], true)
	t.text += t.f.Tok.Decode(s.Tokens[len(t.tokens):], false)
	t.tokens = s.Tokens
	if !t.quiet {
		live.finish(answer)
		if s.Stop == engine.StopLength || s.Stop == engine.StopContext {
			fmt.Fprintf(t.a.errOut, "(cut off after %d tokens: raise max_tokens)\n", params.MaxTokens)
		}
	}
	t.messages = append(t.messages, chat.Message{Role: "assistant", Content: answer})
	return nil
}

// ask appends a message and the opening of the answer to the tokens. Where the template renders the conversation so far otherwise than it
// went (it strips thoughts, say), the whole is rendered and encoded again.
func (t *talk) ask(message string) error {
	if t.f.Template == nil { // no turns: every message is completed by itself
		t.text = message
		t.tokens = t.f.Tok.Encode(message, token.EncodeOptions{AddSpecial: true})
		return nil
	}
	messages := t.messages
	if t.f.System != "" {
		messages = append([]chat.Message{{Role: "system", Content: t.f.System}}, messages...)
	}
	text, err := t.f.Template.Render(messages, chat.RenderOptions{AddGenerationPrompt: true})
	if err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(text, t.text); ok && t.text != "" {
		t.tokens = append(t.tokens, token.Continue(t.f.Tok, t.tokens, rest, token.EncodeOptions{Special: true})...)
		t.text = text
		return nil
	}
	t.text = text
	t.tokens, err = chat.PromptTokens(t.f.Tok, t.f.Template, messages, nil)
	return err
}

// echo is a sampling rule that changes nothing and prints what was drawn so far, a character as soon as all of its bytes are there.
type echo struct {
	out     io.Writer
	tok     token.Tokenizer
	from    int
	printed int // bytes of the answer
}

// Apply implements engine.Rule.
func (e *echo) Apply(seq *engine.Sequence, _ []float32) {
	text := e.tok.Decode(seq.Tokens[e.from:], true)
	text = strings.TrimRight(text, "\ufffd") // perhaps the beginning of a character
	e.print(text)
}

func (e *echo) finish(text string) {
	e.print(text)
	fmt.Fprintln(e.out)
}

func (e *echo) print(text string) {
	if len(text) > e.printed {
		fmt.Fprint(e.out, text[e.printed:])
		e.printed = len(text)
	}
}
