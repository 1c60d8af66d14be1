package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/hone-lm/hone/model"
)

// stateHeader stands before the raw float32 numbers (little endian) of a saved state: the trained weights, then, when Updates > 0, their two
// moments, then each frozen copy's trained weights.
type stateHeader struct {
	Format  string        `json:"format"`
	Base    string        `json:"base,omitempty"` // hash of the weights under an adapter
	Updates int64         `json:"updates"`
	Tensors []stateTensor `json:"tensors"`
	Frozen  []stateFrozen `json:"frozen,omitempty"`
}

type stateTensor struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

type stateFrozen struct {
	Name string `json:"name"`
	Off  bool   `json:"off,omitempty"`
}

const stateFormat = "hone engine state 1"

// Save implements engine.Engine.
func (e *Engine) Save(ctx context.Context, w io.Writer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := stateHeader{Format: stateFormat, Base: e.baseHash()}
	params := e.live.m.Params()
	for _, p := range params {
		h.Tensors = append(h.Tensors, stateTensor{p.Name, len(p.Data)})
	}
	if e.adam != nil {
		h.Updates = e.adam.Steps
	}
	for _, n := range e.order {
		h.Frozen = append(h.Frozen, stateFrozen{Name: n, Off: n == Base && e.frozen[n].m.Adapter() != nil})
	}
	b := bufio.NewWriterSize(w, 1<<20)
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	b.Write(append(line, '\n'))
	put := func(x []float32) { binary.Write(b, binary.LittleEndian, x) } // errors of bufio stay until Flush
	for _, p := range params {
		put(p.Data)
	}
	if h.Updates > 0 {
		for _, s := range e.adam.Slots {
			put(s.M)
			put(s.V)
		}
	}
	for _, n := range e.order {
		for _, p := range e.frozen[n].m.Params() {
			put(p.Data)
		}
	}
	return b.Flush()
}

// Load implements engine.Engine.
func (e *Engine) Load(ctx context.Context, r io.Reader) error { return e.read(r, true) }

// LoadWeights implements engine.Engine.
func (e *Engine) LoadWeights(ctx context.Context, r io.Reader) error { return e.read(r, false) }

func (e *Engine) read(r io.Reader, all bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := bufio.NewReaderSize(r, 1<<20)
	line, err := b.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("state: no header: %w", err)
	}
	var h stateHeader
	if err := json.Unmarshal(line, &h); err != nil || h.Format != stateFormat {
		return fmt.Errorf("state: this is not a %q (%v): it was written by another version of hone, or is damaged", stateFormat, err)
	}
	params := e.live.m.Params()
	if err := sameTensors(params, h.Tensors); err != nil {
		return err
	}
	if base := e.baseHash(); base != h.Base {
		return fmt.Errorf("state: it was trained on another base model (hash %.12s, this one %.12s): name the same model", h.Base, base)
	}
	get := func(x []float32) {
		if err == nil {
			err = binary.Read(b, binary.LittleEndian, x)
		}
	}
	for _, p := range params {
		get(p.Data)
	}
	e.adam, e.grads = nil, false
	if all {
		e.frozen, e.order = map[string]*Frozen{}, nil
		if h.Updates > 0 {
			if err := e.trainable(); err != nil {
				return err
			}
			for _, s := range e.adam.Slots {
				get(s.M)
				get(s.V)
			}
			e.adam.Steps = h.Updates
		}
		for _, f := range h.Frozen {
			k := e.keep(f.Name, e.live.m.Clone())
			k.m.DisableAdapter(f.Off)
			for _, p := range k.m.Params() {
				get(p.Data)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("state: it ends early: %w: take an earlier checkpoint", err)
	}
	return nil
}

func sameTensors(params []model.Param, want []stateTensor) error {
	if len(params) != len(want) {
		return fmt.Errorf("state: it holds %d trained tensors, this model trains %d: check model and lora settings", len(want), len(params))
	}
	for i, p := range params {
		if p.Name != want[i].Name || len(p.Data) != want[i].N {
			return fmt.Errorf("state: tensor %s of %d numbers where the model has %s of %d: check model and lora settings", want[i].Name, want[i].N, p.Name, len(p.Data))
		}
	}
	return nil
}

// baseHash names the weights that are not trained; "" when all are.
func (e *Engine) baseHash() string {
	if e.live.m.Adapter() == nil || e.base != "" {
		return e.base
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(sum, 1<<20)
	for _, p := range e.live.m.Weights() {
		binary.Write(w, binary.LittleEndian, p.Data)
	}
	w.Flush()
	e.base = hex.EncodeToString(sum.Sum(nil))
	return e.base
}
