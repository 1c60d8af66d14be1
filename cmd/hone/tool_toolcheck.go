package main

import (
	"encoding/json"
	"errors"

	"github.com/hone-lm/hone/task/toolcall"
)

type toolcheckVerb struct {
	Bfcl string `required:"" placeholder:"DIR" help:"Folder with BFCL_v4_CATEGORY.json (questions with functions) and possible_answer/BFCL_v4_CATEGORY.json."`
}

func (toolcheckVerb) Help() string {
	return `Fields: "category" (simple_python, multiple, parallel, parallel_multiple, irrelevance, simple_java, simple_javascript, and live_simple,
live_multiple, live_parallel, live_parallel_multiple, live_irrelevance, live_relevance), "id" of a row of DIR, and "calls", the decoded call
list [{name: {parameter: value}}]. The verdict is that of BFCL v4's AST checker, error types and quirks included; Java and JavaScript rows
take every value as a text with code. Categories that need an environment (multi_turn_base ...) are answered {"unsupported": CATEGORY}.

  $ echo '{"category": "simple_python", "id": "simple_python_0", "calls": [{"calculate_triangle_area": {"base": "10", "height": 5}}]}' |
      hone tool toolcheck --bfcl DIR
  {"valid":false,"error_type":"type_error:simple"}`
}

func (v *toolcheckVerb) Run(a *app) error {
	bench, err := toolcall.OpenBench(v.Bfcl)
	if err != nil {
		return badCall{err}
	}
	return a.serve(func(line []byte) (any, error) {
		var req struct {
			Category string          `json:"category"`
			ID       string          `json:"id"`
			Calls    json.RawMessage `json:"calls"`
		}
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		q, err := bench.Question(req.Category, req.ID)
		var u *toolcall.UnsupportedError
		if errors.As(err, &u) {
			return nil, unsupported(u.Category)
		}
		if err != nil {
			return nil, err
		}
		calls, err := toolcall.DecodeJSON(string(req.Calls))
		if err != nil {
			return nil, err
		}
		j, err := q.Judge(calls)
		if err != nil {
			return nil, err
		}
		reply := toolcheckReply{Valid: j.Valid}
		if j.ErrorType != "" {
			reply.ErrorType = &j.ErrorType
		}
		return reply, nil
	})
}

type toolcheckReply struct {
	Valid     bool    `json:"valid"`
	ErrorType *string `json:"error_type"` // null = none
}
