package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/run/progress"
)

type pretrainCmd struct {
	Nano pretrainNanoCmd `cmd:"" help:"Train the embedded nano model again from random weights."`
}

type pretrainNanoCmd struct {
	Steps int    `help:"Updates; 0 = as for the embedded weights."`
	Out   string `default:"nano-model" help:"Folder to write the model to."`
	Force bool   `help:"Write into a folder that is not empty."`
	JSON  bool   `name:"json" help:"End in one JSON object."`
}

func (pretrainNanoCmd) Help() string {
	return `Trains on text that hone generates (docs/nano.md) and ends by comparing the result with the weights in this binary, byte for byte. With the
settings of the embedded weights, a difference ends in exit status 1.

  hone pretrain nano
  hone pretrain nano --steps 100 --out /tmp/nano`
}

// pretrained is what "hone pretrain nano --json" ends in.
type pretrained struct {
	Out      string  `json:"out"`
	Steps    int     `json:"steps"`
	Loss     float64 `json:"loss"` // running mean over about 50 steps, nats a token
	Seconds  float64 `json:"seconds"`
	SHA256   string  `json:"sha256"`   // of model.safetensors
	Embedded string  `json:"embedded"` // of the weights in the binary
	Same     bool    `json:"same"`
}

// Run trains and compares.
func (c *pretrainNanoCmd) Run(a *app) error {
	p := nano.Default()
	if c.Steps < 0 {
		return badCallf("--steps %d: give 1 or more, or 0 for the %d of the embedded weights", c.Steps, p.Steps)
	}
	if c.Steps > 0 {
		p.Steps = c.Steps
	}
	if err := (&writeFlags{Force: c.Force}).vacant(c.Out); err != nil { // before the minutes of training, not after
		return err
	}
	r := pretrained{Out: c.Out, Steps: p.Steps}
	m, err := c.train(a, p, &r)
	if err != nil {
		return err
	}
	if err := m.SaveHF(c.Out, safetensors.BF16); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(c.Out, "model.safetensors"))
	if err != nil {
		return err
	}
	r.SHA256, r.Embedded = fmt.Sprintf("%x", sha256.Sum256(b)), fmt.Sprintf("%x", sha256.Sum256(nano.Weights()))
	r.Same = r.SHA256 == r.Embedded
	return c.tell(a, r, p == nano.Default())
}

// train shows progress while the model learns, and fills in how it went.
func (c *pretrainNanoCmd) train(a *app, p nano.Pretraining, r *pretrained) (*model.Model, error) {
	d := progress.New(a.errOut)
	defer d.Close()
	bar := d.Stage("nano", p.Steps)
	begin := time.Now()
	m, err := nano.Pretrain(a.ctx, p, func(step int, loss float64) {
		r.Loss += (loss - r.Loss) / float64(min(step, 50))
		rate := float64(step*p.Rows*nano.RowTokens) / time.Since(begin).Seconds()
		bar.Set(step, progress.Field{Name: "loss", Text: fmt.Sprintf("%.3f", r.Loss)}, progress.Field{Text: progress.Count(rate) + " tok/s"})
	})
	if err != nil {
		return nil, err
	}
	r.Seconds = time.Since(begin).Seconds()
	bar.Done(fmt.Sprintf("loss %.3f", r.Loss))
	return m, nil
}

// tell prints the verdict. whole says that the settings are those of the embedded weights, so that a difference is an error.
func (c *pretrainNanoCmd) tell(a *app, r pretrained, whole bool) error {
	if c.JSON {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out, "written to %s, sha256 %s\n", r.Out, r.SHA256)
		switch {
		case r.Same:
			fmt.Fprintln(a.out, "same: the bytes of the embedded weights")
		case !whole:
			fmt.Fprintf(a.out, "different from the embedded weights, as is to be expected: those took %d steps\n", nano.Default().Steps)
		}
	}
	if whole && !r.Same {
		return fmt.Errorf("different: the embedded weights have sha256 %s. Kernels without AVX2 round otherwise (hone doctor names the kernels); on AVX2 or AVX-512 the engine or the corpus has changed: if that is meant, replace nano/nano.safetensors by the file in %s", r.Embedded, r.Out)
	}
	return nil
}
