package main

import (
	"encoding/json"
	"errors"

	"github.com/hone-lm/hone/task"
)

type scoreVerb struct{}

func (scoreVerb) Help() string {
	return `Fields: "task" (countdown, chain_sum, knights_knaves, mini_sudoku; others are answered {"unsupported": TASK}), "question", "answer" and
"metadata" of one item, and "candidate", the answer to grade; null = none was given.

  $ echo '{"task": "chain_sum", "question": "4 + 3 =", "answer": "7", "metadata": {}, "candidate": " 7"}' | hone tool score
  {"score":1}`
}

func (scoreVerb) Run(a *app) error {
	return a.serve(func(line []byte) (any, error) {
		var req struct {
			Task      string          `json:"task"`
			Question  string          `json:"question"`
			Answer    *string         `json:"answer"`
			Metadata  json.RawMessage `json:"metadata"`
			Candidate *string         `json:"candidate"`
		}
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		answer := ""
		if req.Answer != nil {
			answer = *req.Answer
		}
		score, err := task.Score(req.Task, req.Question, answer, req.Metadata, req.Candidate)
		var u *task.UnsupportedError
		if errors.As(err, &u) {
			return nil, unsupported(req.Task)
		}
		return map[string]float64{"score": score}, err
	})
}
