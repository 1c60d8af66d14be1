package main

import "strings"

// benchTarget is a row of the table: the command that measures it and what the project aims at.
type benchTarget struct {
	command  string
	one, all float64 // least ratio on one thread and on all cores; 0 = none
	onlyAll  bool    // not run on one thread
	onlyOne  bool    // run on one thread only
	products bool    // gemm: the targets hang on the shape, see productTargets
	bytes    float64 // most peak memory; 0 = none
}

const (
	gib              = 1 << 30
	benchGradingMost = 0.01     // of a GRPO step
	benchStartMost   = 0.2      // seconds
	benchBinaryMost  = 50e6     // bytes
	benchPlanMost    = 0.15     // peak memory off the plan,
	benchPlanBytes   = 64 << 20 // or so many bytes
)

// benchTargets are the rows in the order in which they run.
var benchTargets = []benchTarget{
	{command: "gemm", products: true},
	{command: "gemm --precision bf16", products: true},
	{command: "train --shape 5.4M", one: 0.60, all: 0.55},
	{command: "train --shape 1.0M", all: 0.45, onlyAll: true},
	{command: "train --shape 15.5M", all: 0.55},
	{command: "train --shape 135M", all: 0.55, bytes: 3.5 * gib},
	{command: "train --shape 135M --lora", all: 0.48, bytes: 1.5 * gib, onlyAll: true},
	{command: "train --shape 135M --precision bf16", bytes: 2.75 * gib, onlyAll: true},
	{command: "decode --shape 15.5M --prompt 16 --new 112", one: 0.80, all: 0.65},
	{command: "decode --shape 135M --prompt 16 --new 112", one: 0.80, all: 0.65},
	{command: "decode --shape 15.5M --prompt 16 --new 112 --precision bf16", one: 0.80, all: 0.65},
	{command: "decode --shape 135M --prompt 16 --new 112 --precision bf16", one: 0.80, all: 0.65},
	{command: "decode --shape 5.4M --streams 32 --prompt 16 --new 64", all: 0.40, onlyAll: true},
	{command: "decode --shape 5.4M --streams 32 --prompt 16 --new 240", all: 0.25, onlyAll: true},
	{command: "decode --shape 15.5M --streams 32 --prompt 16 --new 64", all: 0.40, onlyAll: true},
	{command: "decode --shape 15.5M --streams 32 --prompt 16 --new 240", all: 0.25, onlyAll: true},
	{command: "prefill --shape 135M --prompt 512", all: 0.60, onlyAll: true},
	{command: "grpo", all: 0.40, onlyAll: true},
}

// productTargets are those of matrix products by the beginning of their shape.
var productTargets = []struct {
	shape    string
	one, all float64
}{
	{"f32 512x576x1536", 0.80, 0.75},
	{"f32 2048x256x1024", 0.80, 0.75},
	{"f32 64x576x1536", 0.75, 0.60},
	{"f32 8x576x1536", 0.55, 0.55},
	{"f32 1x576x1536", 0.80, 0.80}, // of the bandwidth
	{"bf16 512x576x1536", 0.75, 0.65},
	{"bf16 2048x256x1024", 0.75, 0.65},
}

// target returns the least ratio for a case on so many threads; 0 = none.
func (row *benchTarget) target(name string, threads int) float64 {
	one, all := row.one, row.all
	if row.products {
		words := strings.Fields(strings.ReplaceAll(name, ",", "")) // gemm PRECISION FORM SHAPE N threads
		for _, p := range productTargets {
			if len(words) > 3 && p.shape == words[1]+" "+words[3] {
				one, all = p.one, p.all
			}
		}
	}
	if threads == 1 {
		return one
	}
	return all
}

// benchSpeedup compares the tokens a second of two rows. A row over itself compares all cores with one thread.
type benchSpeedup struct {
	command, over string
	target        float64
}

var benchSpeedups = []benchSpeedup{
	{"train --shape 5.4M", "train --shape 5.4M", 1.75},
	{"train --shape 15.5M", "train --shape 15.5M", 1.75},
	{"train --shape 135M", "train --shape 135M", 1.75},
	{"train --shape 135M --precision bf16", "train --shape 135M", 1.5},
}

func (s benchSpeedup) what(threads int) string {
	if s.command == s.over {
		return s.command + ": " + plural(threads, "thread")
	}
	return s.command
}

func (s benchSpeedup) whatOver() string {
	if s.command == s.over {
		return "one"
	}
	return s.over
}
