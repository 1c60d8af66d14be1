package main

import (
	"fmt"

	"github.com/hone-lm/hone/tensor"
)

type benchPeakCmd struct {
	benchFlags
}

func (benchPeakCmd) Help() string {
	return `A loop of fused multiply-adds on registers, the best matrix product, and reading of more memory than caches hold: what all other figures are
ratios to.

  hone bench peak
  hone bench peak --threads 1 --json`
}

// benchPeaks is what hone bench peak --json prints.
type benchPeaks struct {
	Case    string  `json:"case"`
	Kernels string  `json:"kernels"`
	Threads int     `json:"threads"`
	FMA     float64 `json:"fma_gflops"` // of the loop; 0 where kernels are plain Go
	FMABF16 float64 `json:"fma_bf16_gflops,omitempty"`
	Product float64 `json:"product_gflops"` // of the best product
	PeakGF  float64 `json:"peak_gflops"`
	PeakGB  float64 `json:"peak_gb_per_s"`
}

// Run measures the limits.
func (c *benchPeakCmd) Run(a *app) error {
	b, err := c.begin(a)
	if err != nil {
		return err
	}
	defer b.end()
	p := b.limits()
	if c.JSON {
		return a.printJSON(p)
	}
	fmt.Fprintf(a.out, "%s kernels, %s\n", p.Kernels, plural(p.Threads, "thread"))
	fmt.Fprintf(a.out, "f32 multiply-adds  %8.1f GFLOP/s\n", p.FMA)
	if p.FMABF16 > 0 {
		fmt.Fprintf(a.out, "bf16 multiply-adds %8.1f GFLOP/s\n", p.FMABF16)
	}
	fmt.Fprintf(a.out, "best product       %8.1f GFLOP/s\n", p.Product)
	_, err = fmt.Fprintf(a.out, "memory read        %8.1f GB/s\n", p.PeakGB)
	return err
}

// limits measures what this machine can do.
func (b *bencher) limits() benchPeaks {
	p := benchPeaks{Case: "peak, " + plural(b.threads, "thread"), Kernels: tensor.KernelLevel(), Threads: b.threads, FMA: tensor.PeakFMA(b.threads), FMABF16: peakBF16(b.threads), Product: b.bestProduct(), PeakGB: b.bandwidth()}
	p.PeakGF = max(p.FMA, p.Product)
	return p
}

// peakBF16 is the limit of products of bf16 numbers in GFLOP/s; 0 where there are no kernels for them.
func peakBF16(threads int) float64 {
	if !tensor.HasBF16() {
		return 0
	}
	return tensor.PeakBF16(threads)
}
