package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// stateHeader stands before the raw float32 numbers (little endian) of a saved state: the trained weights, then, when Updates > 0, their two
// moments, then the trained weights of each frozen model that is not read again from where it came, then the gradient buffers that hold something.
type stateHeader struct {
	Format  string        `json:"format"`
	Base    string        `json:"base,omitempty"` // hash of the weights under an adapter
	Updates int64         `json:"updates"`
	Critic  int64         `json:"critic,omitempty"` // updates done when the value head joined
	Tensors []stateTensor `json:"tensors"`          // a value head's stand last
	Frozen  []stateFrozen `json:"frozen,omitempty"`
	Buffers []stateBuffer `json:"buffers,omitempty"`
}

type stateBuffer struct {
	Name   string `json:"name"`
	Filled bool   `json:"filled"`
}

type stateTensor struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

type stateFrozen struct {
	Name    string `json:"name"`
	Off     bool   `json:"off,omitempty"`     // the adapter is switched off
	Ref     string `json:"ref,omitempty"`     // opened from there
	Hash    string `json:"hash,omitempty"`    // of the weights there
	Blended bool   `json:"blended,omitempty"` // opened, then changed: its weights are in the state
	Value   bool   `json:"value,omitempty"`   // it has a value head
}

// stored reports whether the state holds the model's weights.
func (f stateFrozen) stored() bool { return f.Ref == "" || f.Blended }

const stateFormat = "hone engine state 1"

// Save implements engine.Engine.
func (e *Engine) Save(ctx context.Context, w io.Writer) error {
	if err := e.mu.enter(); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if err := e.settled("Save"); err != nil {
		return err
	}
	h, params := e.header(), e.live.m.Params()
	b := bufio.NewWriterSize(w, 1<<20)
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	b.Write(append(line, '\n'))
	put := floatWriter(b) // errors of bufio stay until Flush
	for _, p := range params {
		put(p.Data)
	}
	if h.Updates > 0 {
		for _, s := range e.adam.Slots {
			put(s.M)
			put(s.V)
		}
	}
	for i, n := range e.order {
		if h.Frozen[i].stored() {
			for _, p := range e.frozen[n].m.Params() {
				put(p.Data)
			}
		}
	}
	for _, g := range h.Buffers {
		for i := range params {
			if g.Filled {
				put(e.buffer(g.Name).data[i])
			}
		}
	}
	return b.Flush()
}

// header describes the engine as it is now.
func (e *Engine) header() stateHeader {
	h := stateHeader{Format: stateFormat, Base: e.baseHash()}
	for _, p := range e.live.m.Params() {
		h.Tensors = append(h.Tensors, stateTensor{p.Name, len(p.Data)})
	}
	if e.adam != nil {
		h.Updates = e.adam.Steps
	}
	for _, s := range e.criticSlots() {
		h.Critic = s.Joined
	}
	for _, n := range e.order {
		f := e.frozen[n]
		s := stateFrozen{Name: n, Off: n == Base && f.m.Adapter() != nil, Ref: f.ref, Hash: f.hash, Blended: f.blended && f.ref != ""}
		s.Value = s.stored() && f.m.ValueHead() != nil
		h.Frozen = append(h.Frozen, s)
	}
	for _, n := range slices.Sorted(maps.Keys(e.buffers)) {
		h.Buffers = append(h.Buffers, stateBuffer{n, e.buffers[n].filled})
	}
	return h
}

// value reports whether the state's model has a value head.
func (h *stateHeader) value() bool {
	n := len(h.Tensors)
	return n > 0 && h.Tensors[n-1].Name == tensor.ValueBiasName
}

// shape gives a model a value head or takes it away.
func shape(m *model.Model, value bool) {
	if value {
		m.AddValueHead()
	} else {
		m.DropValueHead()
	}
}

// Load implements engine.Engine.
func (e *Engine) Load(ctx context.Context, r io.Reader) error { return e.read(ctx, r, true) }

// LoadWeights implements engine.Engine.
func (e *Engine) LoadWeights(ctx context.Context, r io.Reader) error { return e.read(ctx, r, false) }

func (e *Engine) read(ctx context.Context, r io.Reader, all bool) error {
	if err := e.mu.replace(ctx); err != nil {
		return err
	}
	defer e.mu.changed()
	if err := e.settled("Load"); err != nil {
		return err
	}
	b := bufio.NewReaderSize(r, 1<<20)
	h, err := e.readHeader(b)
	if err != nil {
		return err
	}
	opened := map[string]*model.Model{} // before anything changes
	for _, f := range h.Frozen {
		if !all || f.Ref == "" {
			continue
		}
		m, err := e.open(f.Name, f.Ref)
		if err != nil {
			return fmt.Errorf("state: %w", err)
		}
		if hash := hashOf(m); hash != f.Hash {
			return fmt.Errorf("state: frozen model %q: the weights at %s have the hash %.12s, those of the run %.12s: put the file back", f.Name, f.Ref, hash, f.Hash)
		}
		opened[f.Name] = m
	}
	e.mu.broken = nil
	if err := e.readBody(b, h, opened, all); err != nil {
		e.mu.broken = fmt.Errorf("state: it ends early or is damaged: %w: take an earlier checkpoint", err)
		return e.mu.broken
	}
	return nil
}

// readHeader reads the first line and refuses a state that does not fit this engine.
func (e *Engine) readHeader(b *bufio.Reader) (*stateHeader, error) {
	line, err := b.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("state: no header: %w", err)
	}
	h := &stateHeader{}
	if err := json.Unmarshal(line, h); err != nil {
		return nil, fmt.Errorf("state: damaged header: %w", err)
	}
	if h.Format != stateFormat {
		return nil, fmt.Errorf("state: format %q, this hone reads %q: it was written by another version", h.Format, stateFormat)
	}
	if err := sameTensors(e.live.m, h); err != nil {
		return nil, err
	}
	if h.Updates < 0 || h.Critic < 0 || h.Critic > h.Updates {
		return nil, fmt.Errorf("state: damaged header: %d updates, value head since %d", h.Updates, h.Critic)
	}
	if base := e.baseHash(); base != h.Base {
		return nil, fmt.Errorf("state: it was trained on another base model (hash %.12s, this one %.12s): name the same model", h.Base, base)
	}
	return h, nil
}

// readBody fills weights and, when all is set, moments and frozen models. After an error the engine holds a mixture.
func (e *Engine) readBody(b *bufio.Reader, h *stateHeader, opened map[string]*model.Model, all bool) error {
	get := floatReader(b)
	shape(e.live.m, h.value())
	clear(e.buffers)
	e.live.forget()
	for _, p := range e.live.m.Params() {
		if err := get(p.Data); err != nil {
			return err
		}
	}
	e.adam, e.grads = nil, false
	if !all {
		return nil
	}
	if h.Updates > 0 {
		if err := e.trainable(); err != nil {
			return err
		}
		for _, s := range e.adam.Slots {
			if err := errors.Join(get(s.M), get(s.V)); err != nil {
				return err
			}
		}
		e.adam.Steps = h.Updates
		for i := range e.criticSlots() {
			e.criticSlots()[i].Joined = h.Critic
		}
	}
	if err := e.readFrozen(h, opened, get); err != nil {
		return err
	}
	for _, g := range h.Buffers {
		for _, x := range e.buffer(g.Name).data {
			if g.Filled {
				if err := get(x); err != nil {
					return err
				}
			}
		}
		e.buffers[g.Name].filled = g.Filled
	}
	if _, err := b.ReadByte(); err != io.EOF {
		return errors.New("there are bytes after its end")
	}
	return nil
}

// readFrozen makes the frozen models of a state; opened ones are there already.
func (e *Engine) readFrozen(h *stateHeader, opened map[string]*model.Model, get func([]float32) error) error {
	before := e.frozen
	e.frozen, e.order = map[string]*Frozen{}, nil
	for _, f := range h.Frozen {
		m := opened[f.Name]
		if m == nil {
			m = e.live.m.Clone()
			m.DisableAdapter(f.Off)
		}
		shape(m, f.Value)
		k := e.keep(f.Name, m)
		k.ref, k.hash, k.blended = f.Ref, f.Hash, f.Blended
		if held := before[f.Name]; held != nil { // whoever holds the one of this name holds the loaded one
			*held = *k
			e.frozen[f.Name] = held
		}
		if !f.stored() {
			continue
		}
		for _, p := range m.Params() {
			if err := get(p.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameTensors compares what the model trains with what the state holds; a value head may be in either alone.
func sameTensors(m *model.Model, h *stateHeader) error {
	params, want := m.Params(), h.Tensors
	if m.ValueHead() != nil {
		params = params[:len(params)-2]
	}
	if h.value() {
		if len(want) < 2 || want[len(want)-2] != (stateTensor{tensor.ValueWeightName, m.Config.Hidden}) || want[len(want)-1].N != 1 {
			return fmt.Errorf("state: its value head is for another width than the model's %d: check model", m.Config.Hidden)
		}
		want = want[:len(want)-2]
	}
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
	if m := e.live.m; m.Adapter() == nil && !m.Quantised() || e.base != "" {
		return e.base
	}
	e.base = hashOf(e.live.m)
	return e.base
}

// floatWriter returns a function that writes numbers to w, little endian, a piece at a time: binary.Write would make room for all of them.
func floatWriter(w io.Writer) func([]float32) {
	buf := make([]byte, 1<<16)
	return func(x []float32) {
		for len(x) > 0 {
			n := min(len(x), len(buf)/4)
			for i, v := range x[:n] {
				binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
			}
			w.Write(buf[:4*n])
			x = x[n:]
		}
	}
}

// floatReader returns the inverse of floatWriter.
func floatReader(r io.Reader) func([]float32) error {
	buf := make([]byte, 1<<16)
	return func(x []float32) error {
		for len(x) > 0 {
			n := min(len(x), len(buf)/4)
			if _, err := io.ReadFull(r, buf[:4*n]); err != nil {
				return err
			}
			for i := range x[:n] {
				x[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
			}
			x = x[n:]
		}
		return nil
	}
}

// hashOf names a model's weights, its adapter left out. Weights that are kept quantised have the name of the dequantised ones: a state fits either.
func hashOf(m *model.Model) string {
	sum := sha256.New()
	put := floatWriter(sum)
	for _, p := range m.Weights() {
		p.Widen(put)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
