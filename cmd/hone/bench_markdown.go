package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/hone-lm/hone/internal/machine"
)

// markdown prints the rows as the table of docs/BENCHMARKS.md.
func (t *benchTable) markdown() error {
	b := readBuildInfo()
	if err := t.say("\n%s, hone %s, %s.\n\n| command | measured | target | |\n|---|---|---|---|\n", machineName(), b.Version, time.Now().Format("2006-01-02")); err != nil {
		return err
	}
	for _, l := range t.rows {
		measured := l.NotYet + l.Failed
		if measured == "" {
			measured = l.measured()
		}
		aimed, verdict := l.aimed(), ""
		if i := strings.LastIndexByte(aimed, ' '); i > 0 {
			aimed, verdict = aimed[:i], aimed[i+1:]
		}
		if err := t.say("| `%s`%s | %s | %s | %s |\n", strings.TrimPrefix(l.Command, "hone "), l.detail(), measured, aimed, verdict); err != nil {
			return err
		}
	}
	return nil
}

// detail is what the command alone does not say: which of its products, or what is compared.
func (l benchLine) detail() string {
	switch {
	case strings.HasPrefix(l.Command, "hone bench gemm") && l.Case != "":
		words := strings.Fields(l.Case)
		return " " + words[2] + " " + strings.TrimSuffix(words[3], ",")
	case l.Of == "speed-up":
		_, over, _ := strings.Cut(l.Case, " over ")
		return " over " + over
	case l.Of == "bytes" && l.TokensPerSec > 0:
		return " memory"
	case l.Of == "bytes":
		return " " + l.Case
	}
	return ""
}

// measured is the value with the speed behind it.
func (l benchLine) measured() string {
	s := l.shown(l.Value)
	switch {
	case l.Of != "peak" && l.Of != "bandwidth":
		return s
	case l.StepSeconds > 0:
		return fmt.Sprintf("%s, %.2f s a step", s, l.StepSeconds)
	case l.TokensPerSec > 0:
		return fmt.Sprintf("%s, %.0f tokens/s", s, l.TokensPerSec)
	case l.GBytes > 0:
		return fmt.Sprintf("%s, %.1f GB/s", s, l.GBytes)
	}
	return fmt.Sprintf("%s, %.0f GFLOP/s", s, l.GFlops)
}

// machineName is the processor's name with its number of cores.
func machineName() string {
	name := machine.CPU()
	if name == "" {
		name = runtime.GOOS + "/" + runtime.GOARCH
	}
	return fmt.Sprintf("%s, %s", name, plural(runtime.NumCPU(), "core"))
}
