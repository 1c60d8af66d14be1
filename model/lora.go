package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor"
)

// LoRASpec describes a new low-rank adapter (Hu et al. 2021, arXiv 2106.09685).
type LoRASpec struct {
	Rank    int      // r
	Alpha   float64  // the update is Alpha/Rank * B A
	RSLoRA  bool     // Alpha/sqrt(Rank) instead (Kalajdzievski 2023, arXiv 2312.03732)
	Targets []string // names of projections, such as q_proj; empty: all projections of all layers
	Seed    uint64   // of A
}

// lora is the update of one projection: y += scale (x a) b. In the file A is [r][in] and B [out][r].
type lora struct {
	a, b  *tensor.Tensor // [in][r], [r][out]; b of a fused projection holds its parts one after another
	scale float32
}

// Adapter is a set of low-rank updates, with tensors that it replaces as a whole.
type Adapter struct {
	config  adapterConfig
	params  []Param // in the order of the model's table: A and B of each projection, replaced tensors
	stored  []entry // how each of params lies in a file
	replace map[*tensor.Tensor]*tensor.Tensor
	head    *tensor.Tensor // replaces the head
}

// Adapter returns the attached adapter, or nil.
func (m *Model) Adapter() *Adapter { return m.adapter }

// peftPrefix stands before every name in an adapter's file.
const peftPrefix = "base_model.model."

// AddLoRA attaches a new adapter: A uniform within 1/sqrt(in) as in peft, depending on the seed and the projection's name alone, B zero. The model's output does not change yet.
func (m *Model) AddLoRA(s LoRASpec) error {
	if m.adapter != nil {
		return errors.New("the model has an adapter already: merge it first")
	}
	if s.Rank < 1 || s.Rank > maxWidth || !(s.Alpha > 0) || math.IsInf(s.Alpha, 0) {
		return fmt.Errorf("LoRA rank %d and alpha %g: both must be positive", s.Rank, s.Alpha)
	}
	c := adapterConfig{rank: s.Rank, alpha: s.Alpha, rslora: s.RSLoRA, bias: "none", base: m.Path, targets: matcher{all: len(s.Targets) == 0, list: s.Targets}}
	for _, want := range s.Targets {
		if !slices.ContainsFunc(m.specs, func(sp spec) bool { return sp.projection() && nameMatches(sp.module(), want) }) {
			return fmt.Errorf("LoRA target %q is no projection of this model; its projections are %s", want, strings.Join(m.projections(), ", "))
		}
	}
	a, err := m.buildAdapter(c, nil, func(e *entry, p *tensor.Tensor, isA bool) error {
		if !isA {
			return nil
		}
		key := rng.New(s.Seed, "lora").Sub(e.hf)
		bound := 1 / math.Sqrt(float64(e.in))
		values := make([]float32, len(p.Data)) // in the file's order
		for i := range values {
			values[i] = float32((2*key.Float64(uint64(i)) - 1) * bound)
		}
		e.fromFile(p.Data, values, false)
		return nil
	})
	if err != nil {
		return err
	}
	m.attach(a)
	return nil
}

// projection reports whether the spec is the weight of a projection.
func (s *spec) projection() bool { return s.proj != nil && s.layout != vector }

// module returns the name of the module that a tensor belongs to: its name without ".weight" or ".bias".
func (e *entry) module() string { return e.hf[:strings.LastIndexByte(e.hf, '.')] }

// projections lists the short names of the projections of a layer.
func (m *Model) projections() []string {
	var names []string
	for i := range m.specs {
		if s := &m.specs[i]; s.projection() {
			module := s.module()
			if name := module[strings.LastIndexByte(module, '.')+1:]; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// buildAdapter makes the tensors that the configuration asks for: A, B (isA tells which) and replaced tensors (e.proj is nil). check, which may be nil,
// is asked before memory is allocated; load fills the tensor.
func (m *Model) buildAdapter(c adapterConfig, check func(e *entry) error, load func(e *entry, p *tensor.Tensor, isA bool) error) (*Adapter, error) {
	a := &Adapter{config: c, replace: map[*tensor.Tensor]*tensor.Tensor{}}
	add := func(e entry, decay bool, isA bool) (*tensor.Tensor, error) {
		if check != nil {
			if err := check(&e); err != nil {
				return nil, err
			}
		}
		rows, cols := e.size()
		p := tensor.NewParam(e.hf, rows, cols)
		a.params, a.stored = append(a.params, Param{p, decay}), append(a.stored, e)
		return p, load(&e, p, isA)
	}
	for i := range m.specs {
		s := &m.specs[i]
		if err := c.refuseTarget(s); err != nil {
			return nil, err
		}
		if c.replaces(s) {
			e := s.entry
			e.hf, e.proj = peftPrefix+c.biasName(s), nil
			p, err := add(e, s.layout != vector, false)
			if err != nil {
				return nil, err
			}
			if old := *m.slot(s); old == m.head && old != m.embed {
				a.head = p
			} else {
				a.replace[old] = p
			}
			continue
		}
		if !s.projection() || !c.adapts(s.module()) {
			continue
		}
		if err := a.addLoRA(s, add); err != nil {
			return nil, err
		}
	}
	if err := m.replaceTiedHead(a, add); err != nil {
		return nil, err
	}
	if len(a.params) == 0 {
		return nil, fmt.Errorf("target_modules %s fits no projection of this model; its projections are %s", c.targets.describe(), strings.Join(m.projections(), ", "))
	}
	return a, nil
}

// addLoRA makes A and B of one projection. They find their place in the model when the adapter is attached.
func (a *Adapter) addLoRA(s *spec, add func(e entry, decay, isA bool) (*tensor.Tensor, error)) error {
	module := s.module()
	r := a.config.rankOf(module)
	if r < 1 || r > maxWidth {
		return fmt.Errorf("%s has rank %d; expected a positive number", module, r)
	}
	name := peftPrefix + module
	if _, err := add(entry{hf: name + ".lora_A.weight", layout: outIn, in: s.in, out: r, proj: s.proj}, true, true); err != nil {
		return err
	}
	_, err := add(entry{hf: name + ".lora_B.weight", layout: outIn, in: r, out: s.out, parts: s.parts, proj: s.proj}, true, false)
	return err
}

// replaceTiedHead makes the replacement of a tied head, which has no entry of its own in the table. The embedding stays as it is.
func (m *Model) replaceTiedHead(a *Adapter, add func(e entry, decay, isA bool) (*tensor.Tensor, error)) error {
	if !m.Config.Tied || !slices.ContainsFunc(a.config.modulesToSave, func(want string) bool { return strings.HasSuffix("lm_head", want) }) {
		return nil
	}
	e := m.Config.head()
	e.hf, e.skip = peftPrefix+e.hf, false
	p, err := add(e, true, false)
	a.head = p
	return err
}

// attach puts an adapter's tensors in their places, switched on, and takes all gradient buffers away: Train gives the adapter its own.
func (m *Model) attach(a *Adapter) {
	m.adapter, m.off = a, false
	defer m.Freeze() // which cuts the views, too
	at := 0
	for i := range m.specs {
		s := &m.specs[i]
		if !s.projection() {
			continue
		}
		for at < len(a.params) && a.stored[at].proj == nil {
			at++ // a replaced tensor
		}
		module := peftPrefix + s.module() + ".lora_A.weight"
		if at >= len(a.params) || a.stored[at].hf != module {
			continue
		}
		up := &lora{a: a.params[at].Tensor, b: a.params[at+1].Tensor, scale: a.config.scaleOf(s.module())}
		at += 2
		l := &m.blocks[s.layer]
		s.proj(l).lora = up
		if s.parts > 1 {
			for _, p := range []*proj{&l.q, &l.k, &l.v} {
				p.lora = &lora{a: up.a, scale: up.scale}
			}
		}
	}
}

// DisableAdapter switches the adapter off (the base model) or on again.
func (m *Model) DisableAdapter(off bool) { m.off = off }

// Detach takes the adapter away, and all gradient buffers; the base weights are as they were.
func (m *Model) Detach() {
	m.Freeze()
	for i := range m.blocks {
		l := &m.blocks[i]
		for _, p := range []*proj{&l.q, &l.k, &l.v, &l.o, &l.qkv, &l.gate, &l.up, &l.down} {
			p.lora = nil
		}
	}
	m.adapter, m.off = nil, false
}

// Merge adds the adapter's updates to the weights, puts its replaced tensors in their place and detaches it. A head that was tied and has been replaced, or whose embedding has, is tied no more.
// Quantised weights become float32: their sums with an update do not fit the blocks.
func (m *Model) Merge() {
	a := m.adapter
	if a == nil {
		return
	}
	m.staleBase()
	m.Dequantise()
	if m.Config.Tied && (a.head != nil || a.replace[m.embed] != nil) {
		m.untie()
	}
	for i := range m.specs {
		s := &m.specs[i]
		if !s.projection() {
			continue
		}
		if p := s.proj(&m.blocks[s.layer]); p.lora != nil {
			p.lora.addTo(p.w.Data, s)
		}
	}
	for _, p := range m.base {
		if r := a.replace[p.Tensor]; r != nil {
			copy(p.Data, r.Data)
		}
	}
	if a.head != nil {
		copy(m.head.Data, a.head.Data)
	}
	m.Detach()
}

// untie gives the head its own copy of the embedding.
func (m *Model) untie() {
	m.Config.Tied = false
	m.head = nil
	e := m.Config.head()
	m.specs = append(m.specs, spec{e, -1})
	copy(m.allocate(&m.specs[len(m.specs)-1]).Data, m.embed.Data)
}

// addTo adds scale a b to w, which lies as the spec says. Sums over the rank are in float64 and rounded once.
func (u *lora) addTo(w []float32, s *spec) {
	parts := max(s.parts, 1)
	r, cols := u.a.Cols, s.out/parts
	sum := make([]float64, cols)
	for part := range parts {
		b := u.b.Data[part*r*cols:]
		for i := range s.in {
			clear(sum)
			for k, x := range u.a.Data[i*r : (i+1)*r] {
				for o, y := range b[k*cols : (k+1)*cols] {
					sum[o] += float64(x) * float64(y)
				}
			}
			row := w[(part*s.in+i)*cols:][:cols]
			for o := range row {
				row[o] = float32(float64(row[o]) + float64(u.scale)*sum[o])
			}
		}
	}
}

// Clone returns a frozen copy of the model as it is now, for scoring and sampling. With an adapter only the adapter is copied: the base weights, which training does not touch then, are shared.
func (m *Model) Clone() *Model {
	c := skeleton(m.Config)
	c.Path = m.Path
	for i, p := range m.base {
		t := *p.Tensor // quantised numbers never change, so that they are shared too
		t.Grad = nil
		if m.adapter == nil {
			t.Data = slices.Clone(p.Data)
		}
		*c.slot(&c.specs[i]) = &t
		c.base = append(c.base, Param{&t, p.Decay})
	}
	c.finish()
	if v := m.value.Load(); v != nil {
		c.AddValueHead()
		copy(c.value.Load().W.Data, v.W.Data)
		copy(c.value.Load().B.Data, v.B.Data)
	}
	if m.adapter == nil {
		return c
	}
	c.shareBF16(m)
	at := 0
	a, err := c.buildAdapter(m.adapter.config, nil, func(_ *entry, p *tensor.Tensor, _ bool) error {
		copy(p.Data, m.adapter.params[at].Data)
		at++
		return nil
	})
	if err != nil {
		panic("model: " + err.Error()) // the same configuration was built before
	}
	c.attach(a)
	c.off = m.off
	return c
}
