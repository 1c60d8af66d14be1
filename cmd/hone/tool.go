package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

// toolCmd holds the line tools. A verb only parses its fields and calls the package that the other commands use.
type toolCmd struct {
	Encode     encodeVerb     `cmd:"" help:"Text to token ids."`
	Decode     decodeVerb     `cmd:"" help:"Token ids to text."`
	Render     renderVerb     `cmd:"" help:"Render a chat template."`
	Logprobs   logprobsVerb   `cmd:"" help:"Log-probs and entropies of token ids."`
	Generate   generateVerb   `cmd:"" help:"Continue token ids."`
	TrainSteps trainStepsVerb `cmd:"" help:"Train on given batches and report every update."`
	Score      scoreVerb      `cmd:"" help:"Score answers to generated puzzles."`
	Inspect    inspectVerb    `cmd:"" help:"List the tensors of a safetensors or GGUF file."`
	Loss       lossVerb       `cmd:"" help:"Losses and advantages as other trainers compute them."`
	Grade      gradeVerb      `cmd:"" help:"Grade answers (not built yet)."`
	Follow     followVerb     `cmd:"" help:"Check instructions (not built yet)."`
	Toolcheck  toolcheckVerb  `cmd:"" help:"Judge tool calls as the Berkeley Function-Calling Leaderboard does."`
	EnvStep    envStepVerb    `cmd:"" help:"Step an environment (not built yet)."`
	Schema     schemaVerb     `cmd:"" help:"Validate JSON against a schema (not built yet)."`
}

func (toolCmd) Help() string {
	return `Every verb reads one JSON object a line on standard input and writes one a line on standard output, in the same order, flushed per
line. A line that cannot be served gets {"error": "..."}, something that is not built yet {"unsupported": "NAME"}; both count as answered.
The exit status is 0 when every line was answered and 2 for a bad call. docs/tool.md describes all verbs.`
}

// unsupported is what is known by name but not built yet.
type unsupported string

func (u unsupported) Error() string { return string(u) + " is not built yet" }

// serve answers every line of a.in. A panic while serving a line is answered as an error too: the lines behind it are still served.
func (a *app) serve(verb func(line []byte) (any, error)) error {
	in := bufio.NewReaderSize(a.in, 1<<20)
	out := bufio.NewWriterSize(a.out, 1<<20)
	for {
		line, readErr := in.ReadBytes('\n') // no limit on a line's length
		if readErr != nil && readErr != io.EOF {
			return fmt.Errorf("standard input: %w", readErr)
		}
		if len(line) > 0 {
			if _, err := out.Write(a.answer(verb, bytes.TrimRight(line, "\r\n"))); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
			if err := out.Flush(); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
		}
		if readErr == io.EOF {
			return nil
		}
		if err := a.ctx.Err(); err != nil {
			return err
		}
	}
}

// answer serves one line and returns the reply with its line feed.
func (a *app) answer(verb func([]byte) (any, error), line []byte) (reply []byte) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(a.errOut, "hone: fault while serving a line: %v\n%s", r, debug.Stack())
			reply = encodeReply(errorReply{fmt.Sprintf("fault in hone while serving this line: %v; please report it with the line", r)})
		}
	}()
	v, err := verb(line)
	var u unsupported
	switch {
	case errors.As(err, &u):
		return encodeReply(unsupportedReply{string(u)})
	case err != nil:
		return encodeReply(errorReply{oneLine(err.Error())})
	}
	return encodeReply(v)
}

type errorReply struct {
	Error string `json:"error"`
}

type unsupportedReply struct {
	Unsupported string `json:"unsupported"`
}

// encodeReply writes numbers with enough digits to read back the same float64. A result that is not finite is an error.
func encodeReply(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		b.Reset()
		msg := fmt.Sprintf("the result cannot be written: %v", err)
		if errors.As(err, new(*json.UnsupportedValueError)) {
			msg = "the result is not finite (" + strings.TrimPrefix(err.Error(), "json: unsupported value: ") + "); check the inputs"
		}
		_ = enc.Encode(errorReply{msg})
	}
	return b.Bytes()
}
