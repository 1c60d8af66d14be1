package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/tensor"
)

type trainStepsVerb struct{ modelFlags }

func (trainStepsVerb) Help() string {
	return `One line is a small training run: "kind" (sft, dpo, grpo), "optimizer", "steps", optionally "probes" (sequences scored after the last update),
"decayed" (names of the tensors that weight decay applies to, compared with hone's), and for dpo "beta", for grpo "beta", "clip_range",
"advantage_eps", "updates_per_batch". Every line starts from the weights in the files; nothing is written to disk. docs/tool.md has all fields.

  $ jq -c .input ../shared/models/trajectories/sft-llama/trajectory.json | hone tool train-steps --model ../shared/models/tiny/llama
  {"steps":[{"loss":11.170,"grad_norm":13.157,"lr":0.00066667}, ...],"probes":[{"logprobs":[null,-3.1, ...]}, ...],"param_norms":{...}}`
}

type trainRequest struct {
	Kind            string       `json:"kind"`
	Optimizer       trainOptim   `json:"optimizer"`
	Steps           []trainBatch `json:"steps"`
	Beta            *float64     `json:"beta,omitempty"`
	ClipRange       *float64     `json:"clip_range,omitempty"`
	AdvantageEps    *float64     `json:"advantage_eps,omitempty"`
	UpdatesPerBatch *int         `json:"updates_per_batch,omitempty"`
	Probes          [][]int32    `json:"probes,omitempty"`
	Decayed         *[]string    `json:"decayed,omitempty"`
}

type trainOptim struct {
	LR          float64 `json:"lr"`
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	WeightDecay float64 `json:"weight_decay"`
	Clip        float64 `json:"clip"`
	Schedule    string  `json:"schedule"`
	WarmupSteps int     `json:"warmup_steps"`
	TotalSteps  int     `json:"total_steps"`
	MinLR       float64 `json:"min_lr"`
}

// trainBatch is one step: sequences (sft, grpo) or pairs (dpo).
type trainBatch struct {
	Sequences    []trainSequence `json:"sequences,omitempty"`
	MicroBatches [][]int         `json:"micro_batches,omitempty"`
	Pairs        []trainPair     `json:"pairs,omitempty"`
}

type trainSequence struct {
	Tokens  []int32    `json:"tokens"`
	Weights []float64  `json:"weights"`
	Sampled []*float64 `json:"sampled,omitempty"` // log-probs at sampling time, null in the prompt
	Reward  *float64   `json:"reward,omitempty"`
	Group   *int64     `json:"group,omitempty"`
}

type trainPair struct {
	Chosen   trainSequence `json:"chosen"`
	Rejected trainSequence `json:"rejected"`
}

type trainReply struct {
	Steps      []map[string]any   `json:"steps"`
	Probes     []probeReply       `json:"probes"`
	ParamNorms map[string]float64 `json:"param_norms"`
}

type probeReply struct {
	LogProbs []*float64 `json:"logprobs"`
}

func (v *trainStepsVerb) Run(a *app) error {
	e, err := openToolEngine(v.modelFlags)
	if err != nil {
		return badCall{err}
	}
	defer e.Close()
	if adapter := e.Model().Adapter(); adapter != nil {
		adapter.DropoutOff() // docs/tool.md: dropout is off
	}
	var start bytes.Buffer // every line begins from the weights in the files
	if err := e.Save(a.ctx, &start); err != nil {
		return err
	}
	fresh := true
	return a.serve(func(line []byte) (any, error) {
		var req trainRequest
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		if !fresh {
			if err := e.Load(a.ctx, bytes.NewReader(start.Bytes())); err != nil {
				return nil, err
			}
		}
		fresh = false
		t := &trainRun{ctx: a.ctx, e: e, req: &req}
		return t.run()
	})
}

// trainRun serves one line.
type trainRun struct {
	ctx context.Context
	e   *local.Engine
	req *trainRequest

	schedule tensor.Schedule
	reply    trainReply
}

// preparedStep is one step in the engine's types.
type preparedStep struct {
	streams []engine.Stream
	parts   [][]int        // numbers of sequences by micro-batch; nil = one
	extra   map[string]any // reported with the step's first update
}

func (t *trainRun) run() (any, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	steps := make([]preparedStep, len(t.req.Steps))
	for i := range steps { // before the first update: references are the start weights'
		var err error
		if steps[i], err = t.prepare(&t.req.Steps[i]); err != nil {
			return nil, fmt.Errorf("steps[%d]: %w", i, err)
		}
	}
	updates := 1
	if t.req.UpdatesPerBatch != nil {
		updates = *t.req.UpdatesPerBatch
	}
	t.reply.Steps = []map[string]any{}
	for i := range steps {
		for u := range updates {
			row, err := t.update(&steps[i])
			if err != nil {
				return nil, fmt.Errorf("steps[%d]: %w", i, err)
			}
			if u == 0 {
				for k, v := range steps[i].extra {
					row[k] = v
				}
			}
			t.reply.Steps = append(t.reply.Steps, row)
		}
	}
	return t.finish()
}

func (t *trainRun) check() error {
	r, o := t.req, t.req.Optimizer
	for _, f := range []struct {
		name       string
		given      bool
		only, need string
	}{
		{"beta", r.Beta != nil, "dpo grpo", "dpo grpo"},
		{"clip_range", r.ClipRange != nil, "grpo", "grpo"},
		{"advantage_eps", r.AdvantageEps != nil, "grpo", "grpo"},
		{"updates_per_batch", r.UpdatesPerBatch != nil, "grpo", ""},
	} {
		kinds := func(list string) bool { return slices.Contains(strings.Fields(list), r.Kind) }
		if f.given && !kinds(f.only) {
			return fmt.Errorf("field %q belongs to kind %s, and kind is %q", f.name, f.only, r.Kind)
		}
		if !f.given && kinds(f.need) {
			return fmt.Errorf("field %q is missing: kind %s needs it", f.name, r.Kind)
		}
	}
	if r.Kind != "sft" && r.Kind != "dpo" && r.Kind != "grpo" {
		return fmt.Errorf("kind %q: give sft, dpo or grpo", r.Kind)
	}
	if r.UpdatesPerBatch != nil && (*r.UpdatesPerBatch < 1 || *r.UpdatesPerBatch > 1000) {
		return fmt.Errorf("updates_per_batch is %d: give 1 to 1000", *r.UpdatesPerBatch)
	}
	if o.Schedule != "constant" && o.Schedule != "cosine" {
		return fmt.Errorf("optimizer.schedule %q: give constant or cosine", o.Schedule)
	}
	if o.Beta1 < 0 || o.Beta1 >= 1 || o.Beta2 < 0 || o.Beta2 >= 1 || o.Eps < 0 || o.WeightDecay < 0 || o.Clip < 0 {
		return errors.New("optimizer: give 0 <= beta1, beta2 < 1 and eps, weight_decay, clip of at least 0")
	}
	t.schedule = tensor.Schedule{Kind: o.Schedule, LR: o.LR, MinLR: o.MinLR, Warmup: o.WarmupSteps, Total: o.TotalSteps}
	if err := t.schedule.Check(); err != nil {
		return fmt.Errorf("optimizer: %w", err)
	}
	for i, p := range r.Probes {
		if err := checkTokens(t.e.Info(), fmt.Sprintf("probes[%d]", i), p); err != nil {
			return err
		}
	}
	return t.checkDecayed()
}

// checkDecayed compares the names that the request expects to decay with those that do.
func (t *trainRun) checkDecayed() error {
	if t.req.Decayed == nil {
		return nil
	}
	want := slices.Clone(*t.req.Decayed)
	slices.Sort(want)
	for _, p := range t.e.Model().Params() {
		i, listed := slices.BinarySearch(want, p.Name)
		if listed {
			want = slices.Delete(want, i, i+1)
		}
		if p.Decay != listed {
			return fmt.Errorf("decayed: %s is decayed by hone: %t, by the request: %t", p.Name, p.Decay, listed)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("decayed: %q is no trained tensor", want[0])
	}
	return nil
}

// update makes one update and returns its figures.
func (t *trainRun) update(s *preparedStep) (map[string]any, error) {
	batch, err := engine.Normalise(s.streams)
	if err != nil {
		return nil, err
	}
	if batch.Empty() {
		return nil, errors.New("no token behind the first of its sequence has a weight: there is nothing to train on")
	}
	var tally engine.Tally
	if t.req.Kind == "grpo" && *t.req.Beta == 0 { // the stream is dropped, its figure is still reported
		if err := t.tallyKL(s.streams[0].Rows, &tally); err != nil {
			return nil, err
		}
	}
	loss := 0.0
	for _, part := range s.split(batch) {
		stats, err := t.e.Backward(t.ctx, part)
		if err != nil {
			return nil, err
		}
		loss += stats.Loss()
		for _, st := range stats.Streams {
			for _, it := range st.Tally.Items {
				if it.Weight != 0 {
					tally.Add(it.Name, it.Sum/it.Weight, it.Weight)
				}
			}
		}
	}
	o := t.req.Optimizer
	u, err := t.e.Step(t.ctx, engine.Optim{LR: t.schedule.At(len(t.reply.Steps)), Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, Clip: o.Clip})
	if err != nil {
		return nil, err
	}
	row := map[string]any{"loss": loss, "grad_norm": u.Norm, "lr": u.LR}
	for _, f := range reportedTallies[t.req.Kind] {
		if v, ok := tally.Mean(f.tally); ok {
			row[f.field] = v
		}
	}
	return row, nil
}

// reportedTallies are the diagnostics of the objectives that a reply holds, by kind.
var reportedTallies = map[string][]struct{ field, tally string }{
	"dpo":  {{"reward_chosen", "reward_chosen"}, {"reward_rejected", "reward_rejected"}, {"accuracy", "accuracy"}},
	"grpo": {{"kl", "kl"}, {"ratio_mean", "ratio"}, {"clip_fraction", "clip_fraction"}},
}

// split cuts a normalised batch into the micro-batches that the request gives. Scales stay those of the whole batch.
func (s *preparedStep) split(batch *engine.Batch) []*engine.Batch {
	if s.parts == nil {
		return []*engine.Batch{batch}
	}
	number := map[*engine.Sequence]int{} // rows may have been dropped by Normalise
	for i, r := range s.streams[0].Rows {
		number[r.Seq] = i
	}
	var out []*engine.Batch
	for _, part := range s.parts {
		b := &engine.Batch{}
		for _, st := range batch.Streams {
			rows := st.Rows
			st.Rows = nil
			for _, r := range rows {
				if slices.Contains(part, number[r.Seq]) {
					st.Rows = append(st.Rows, r)
				}
			}
			if len(st.Rows) > 0 {
				b.Streams = append(b.Streams, st)
			}
		}
		if !b.Empty() {
			out = append(out, b)
		}
	}
	return out
}

func (t *trainRun) finish() (any, error) {
	t.reply.Probes = []probeReply{}
	if len(t.req.Probes) > 0 {
		seqs := make([]*engine.Sequence, len(t.req.Probes))
		for i, p := range t.req.Probes {
			seqs[i] = &engine.Sequence{Tokens: p}
		}
		scores, err := t.e.Score(t.ctx, seqs, engine.Want{})
		if err != nil {
			return nil, err
		}
		for _, s := range scores {
			t.reply.Probes = append(t.reply.Probes, probeReply{perToken(s.LogProb).nullable()})
		}
	}
	t.reply.ParamNorms = map[string]float64{}
	for _, p := range t.e.Model().Params() {
		sum := 0.0
		for _, x := range p.Data {
			sum += float64(x) * float64(x)
		}
		t.reply.ParamNorms[p.Name] = math.Sqrt(sum)
	}
	return &t.reply, nil
}
