package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
}

func (pretrainNanoCmd) Help() string {
	return `Trains on text that hone generates (docs/nano.md) and ends by comparing the result with the weights in this binary, byte for byte.

  hone pretrain nano
  hone pretrain nano --steps 100 --out /tmp/nano`
}

// Run trains and compares.
func (c *pretrainNanoCmd) Run(a *app) error {
	p := nano.Default()
	whole := c.Steps == 0 || c.Steps == p.Steps
	if !whole {
		p.Steps = c.Steps
	}
	d := progress.New(a.errOut)
	defer d.Close()
	bar := d.Stage("nano", p.Steps)
	begin, mean := time.Now(), 0.0
	m, err := nano.Pretrain(a.ctx, p, func(step int, loss float64) {
		mean += (loss - mean) / float64(min(step, 50))
		rate := float64(step*p.Rows*nano.RowTokens) / time.Since(begin).Seconds()
		bar.Set(step, progress.Field{Name: "loss", Text: fmt.Sprintf("%.3f", mean)}, progress.Field{Text: progress.Count(rate) + " tok/s"})
	})
	if err != nil {
		return err
	}
	bar.Done(fmt.Sprintf("loss %.3f", mean))
	if err := m.SaveHF(c.Out, safetensors.BF16); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(c.Out, "model.safetensors"))
	if err != nil {
		return err
	}
	got, want := sha256.Sum256(b), sha256.Sum256(nano.Weights())
	fmt.Fprintf(a.out, "written to %s, sha256 %x\n", c.Out, got)
	switch {
	case got == want:
		fmt.Fprintln(a.out, "the same bytes as the embedded weights")
	case whole:
		return fmt.Errorf("the weights differ from the embedded ones (sha256 %x): another CPU level (hone doctor) or a changed engine; if the change is meant, replace nano/nano.safetensors", want)
	default:
		fmt.Fprintf(a.out, "not comparable with the embedded weights, which took %d steps\n", nano.Default().Steps)
	}
	return nil
}
