package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// modelFlags name the model of a verb.
type modelFlags struct {
	Model   string `required:"" type:"path" help:"Hugging Face folder or .gguf file."`
	Adapter string `type:"path" help:"Folder with adapter_config.json and adapter_model.safetensors."`
	Keep    bool   `name:"keep-quantised" help:"Keep the quantised weights of a .gguf file as they are; the numbers are the same."`
}

// openToolEngine opens the embedded engine on a model. Ids go in and out, so there is no tokenizer.
func openToolEngine(f modelFlags) (*local.Engine, error) {
	load := model.Load
	if f.Keep {
		load = model.LoadQuantised
	}
	m, err := load(f.Model)
	if err != nil {
		return nil, err
	}
	if f.Adapter != "" {
		if err := m.LoadAdapter(f.Adapter); err != nil {
			return nil, err
		}
	}
	return local.New(m, nil, local.Options{})
}

type logprobsVerb struct{ modelFlags }

func (logprobsVerb) Help() string {
	return `Fields: "tokens", and optionally "logits_last": true for the raw logits after the last token. Ids are used as given. Entry t of the reply
speaks of token t given those before it, in nats; entry 0 is null.

  $ echo '{"tokens": [5, 17, 3]}' | hone tool logprobs --model ../shared/models/tiny/llama
  {"logprobs":[null,-2.31,-0.08],"entropy":[null,1.7,0.4]}`
}

// perToken is one number a token; the first is null, because nothing precedes it.
type perToken []float32

func (p perToken) nullable() []*float64 {
	out := make([]*float64, len(p))
	for t := 1; t < len(p); t++ {
		v := float64(p[t])
		out[t] = &v
	}
	return out
}

type logprobsReply struct {
	LogProbs []*float64 `json:"logprobs"`
	Entropy  []*float64 `json:"entropy"`
	Logits   []float64  `json:"logits_last,omitempty"`
}

func (v *logprobsVerb) Run(a *app) error {
	e, err := openToolEngine(v.modelFlags)
	if err != nil {
		return badCall{err}
	}
	defer e.Close()
	return a.serve(func(line []byte) (any, error) {
		var req struct {
			Tokens     []int32 `json:"tokens"`
			LogitsLast bool    `json:"logits_last,omitempty"`
		}
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		if err := checkTokens(e.Info(), "tokens", req.Tokens); err != nil {
			return nil, err
		}
		scores, err := e.Score(a.ctx, []*engine.Sequence{{Tokens: req.Tokens}}, engine.Want{Entropy: true, Hidden: req.LogitsLast})
		if err != nil {
			return nil, err
		}
		reply := logprobsReply{LogProbs: perToken(scores[0].LogProb).nullable(), Entropy: perToken(scores[0].Entropy).nullable()}
		if req.LogitsLast {
			head := tensor.Head{W: e.Model().HeadWeight()}
			logits := make([]float32, head.W.Rows)
			head.Logits(logits, scores[0].Hidden[len(req.Tokens)-1], 1)
			for _, z := range logits {
				reply.Logits = append(reply.Logits, float64(z)) // a float32 printed short would read back as another float64
			}
		}
		return reply, nil
	})
}

// checkTokens refuses what the model cannot be given.
func checkTokens(info engine.Info, name string, tokens []int32) error {
	if len(tokens) == 0 {
		return fmt.Errorf("%s is empty: give at least one id", name)
	}
	if info.Context > 0 && len(tokens) > info.Context {
		return fmt.Errorf("%s has %d ids and the model's context is %d: give fewer", name, len(tokens), info.Context)
	}
	for t, id := range tokens {
		if id < 0 || int(id) >= info.VocabSize {
			return fmt.Errorf("%s[%d] is %d, and the model's ids go from 0 to %d", name, t, id, info.VocabSize-1)
		}
	}
	return nil
}

type generateVerb struct{ modelFlags }

func (generateVerb) Help() string {
	return `Fields: "tokens", "max_new_tokens", and optionally "temperature" (0, the default, is greedy; the lowest id wins an exact tie), "seed" (needed
above 0), "top_k", "top_p", "min_p", "stop_tokens" (it stops right after one of them; without them nothing stops it) and "n". The reply
holds the new tokens only.

  $ echo '{"tokens": [5, 17, 3], "max_new_tokens": 4, "temperature": 0}' | hone tool generate --model ../shared/models/tiny/llama
  {"tokens":[9,9,2,41]}
  $ echo '{"tokens": [5], "max_new_tokens": 2, "temperature": 1, "seed": 7, "n": 2}' | hone tool generate --model ../shared/models/tiny/llama
  {"samples":[[31,4],[18,250]]}`
}

type generateRequest struct {
	Tokens       []int32 `json:"tokens"`
	MaxNewTokens int     `json:"max_new_tokens"`
	Temperature  float64 `json:"temperature,omitempty"`
	Seed         *uint64 `json:"seed,omitempty"`
	TopK         int     `json:"top_k,omitempty"`
	TopP         float64 `json:"top_p,omitempty"`
	MinP         float64 `json:"min_p,omitempty"`
	StopTokens   []int32 `json:"stop_tokens,omitempty"`
	N            *int    `json:"n,omitempty"`
}

func (r *generateRequest) check(info engine.Info) error {
	if err := checkTokens(info, "tokens", r.Tokens); err != nil {
		return err
	}
	switch {
	case r.MaxNewTokens < 0:
		return fmt.Errorf("max_new_tokens is %d: give 0 or more", r.MaxNewTokens)
	case info.Context > 0 && len(r.Tokens)+r.MaxNewTokens > info.Context:
		return fmt.Errorf("%d tokens and max_new_tokens %d do not fit the model's context of %d: ask for fewer", len(r.Tokens), r.MaxNewTokens, info.Context)
	case r.Temperature < 0 || float32(r.Temperature) == 0 && r.Temperature != 0 || math.IsInf(float64(float32(r.Temperature)), 0):
		return fmt.Errorf("temperature is %g: give 0 (greedy) or a positive number", r.Temperature)
	case r.Temperature > 0 && r.Seed == nil:
		return errors.New(`temperature above 0 needs "seed", so that the line gives the same tokens again`)
	case r.TopK < 0:
		return fmt.Errorf("top_k is %d: give 1 or more, or 0 for off", r.TopK)
	case r.TopP < 0 || r.TopP > 1:
		return fmt.Errorf("top_p is %g: give a share between 0 and 1", r.TopP)
	case r.MinP < 0 || r.MinP > 1:
		return fmt.Errorf("min_p is %g: give a share between 0 and 1", r.MinP)
	case r.N != nil && (*r.N < 1 || *r.N > 100000):
		return fmt.Errorf("n is %d: give 1 to 100000 samples", *r.N)
	}
	return nil
}

func (v *generateVerb) Run(a *app) error {
	e, err := openToolEngine(v.modelFlags)
	if err != nil {
		return badCall{err}
	}
	defer e.Close()
	return a.serve(func(line []byte) (any, error) {
		var req generateRequest
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		if err := req.check(e.Info()); err != nil {
			return nil, err
		}
		samples, err := generate(a, e, &req)
		if err != nil {
			return nil, err
		}
		if len(samples) > 1 {
			return map[string][][]int32{"samples": samples}, nil
		}
		return map[string][]int32{"tokens": samples[0]}, nil
	})
}

func generate(a *app, e engine.Engine, req *generateRequest) ([][]int32, error) {
	n, seed := 1, uint64(0)
	if req.N != nil {
		n = *req.N
	}
	if req.Seed != nil {
		seed = *req.Seed
	}
	out := make([][]int32, n)
	if req.MaxNewTokens == 0 { // the engine reads 0 as "until the context is full"
		for i := range out {
			out[i] = []int32{}
		}
		return out, nil
	}
	got, err := e.Sample(a.ctx, []engine.Prompt{{
		Seq: &engine.Sequence{Tokens: req.Tokens},
		N:   n,
		Params: engine.Params{
			Temperature: float32(req.Temperature),
			Greedy:      req.Temperature == 0,
			TopK:        req.TopK,
			TopP:        float32(req.TopP),
			MinP:        float32(req.MinP),
			MaxTokens:   req.MaxNewTokens,
			StopIDs:     req.StopTokens,
		},
		Key: engine.NewKey(seed, "generate"),
	}})
	if err != nil {
		return nil, err
	}
	for i, s := range got[0] {
		out[i] = append([]int32{}, s.Tokens[len(req.Tokens):]...)
	}
	return out, nil
}
