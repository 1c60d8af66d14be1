package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/tensor"
)

type doctorCmd struct {
	JSON bool   `name:"json" help:"One JSON object instead of text."`
	Dir  string `default:"." help:"Folder whose disk is measured; runs go to runs/ in it."`
}

func (doctorCmd) Help() string {
	return `Prints what hone found on this machine and, under "look at", what would make runs slow or fail.

  hone doctor
  hone doctor --json | jq .kernels`
}

// diagnosis is what hone doctor --json prints.
type diagnosis struct {
	Build        buildInfo `json:"build"`
	CPU          string    `json:"cpu"` // name, where the system tells it
	Features     []string  `json:"cpu_features"`
	Kernels      string    `json:"kernels"`   // avx512, avx2 or go
	Precision    []string  `json:"precision"` // what the setting can be here
	Cores        int       `json:"cores"`
	Threads      int       `json:"threads"` // GOMAXPROCS
	MemoryTotal  int64     `json:"memory_total_bytes"`
	MemoryFree   int64     `json:"memory_free_bytes"` // 0 = unknown
	MemoryLimit  int64     `json:"memory_limit_bytes,omitempty"`
	DiskFree     int64     `json:"disk_free_bytes"` // 0 = unknown
	DiskFolder   string    `json:"disk_folder"`
	DiskWritable bool      `json:"disk_writable"`
	LookAt       []string  `json:"look_at"`
}

func (c *doctorCmd) Run(a *app) error {
	d := diagnose(c.Dir)
	if c.JSON {
		return a.printJSON(d)
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(a.out, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("hone", "%s, %s, %s", d.Build.Version, d.Build.Go, d.Build.Platform)
	if d.CPU != "" {
		row("cpu", "%s", d.CPU)
	}
	row("features", "%s", orNone(strings.Join(d.Features, " ")))
	row("kernels", "%s", d.Kernels)
	row("precision", "%s", strings.Join(d.Precision, " or "))
	row("threads", "%d of %d cores", d.Threads, d.Cores)
	row("memory", "%s free of %s", sizeOrUnknown(d.MemoryFree), sizeOrUnknown(d.MemoryTotal))
	row("disk", "%s free in %s", sizeOrUnknown(d.DiskFree), d.DiskFolder)
	for _, s := range d.LookAt {
		row("look at", "%s", s)
	}
	if len(d.LookAt) == 0 {
		row("verdict", "nothing is in the way")
	}
	return nil
}

func diagnose(dir string) diagnosis {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	d := diagnosis{Build: readBuildInfo(), CPU: machine.CPU(), Features: machine.Features(), Kernels: tensor.KernelLevel(), Cores: runtime.NumCPU(), Threads: runtime.GOMAXPROCS(0), DiskFolder: dir, LookAt: []string{}}
	d.Precision = []string{"f32"}
	if tensor.HasBF16() {
		d.Precision = append(d.Precision, "bf16")
	}
	memory := machine.ReadMemory()
	d.MemoryTotal, d.MemoryFree = memory.Total, memory.Free
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 {
		d.MemoryLimit = limit
	}
	if free, ok := run.Free(dir); ok {
		d.DiskFree = free
	}
	if f, err := os.CreateTemp(dir, ".hone-doctor-*"); err == nil {
		d.DiskWritable = true
		f.Close()
		os.Remove(f.Name())
	} else {
		d.look("%s cannot be written (%v): runs need a folder for their files", dir, err)
	}
	if d.Kernels == "go" {
		d.look("no assembly kernels for this processor or build: the portable ones give the same results to rounding, many times slower")
	}
	if d.Threads < d.Cores {
		d.look("GOMAXPROCS is %d, the machine has %d cores: unset it to use all", d.Threads, d.Cores)
	}
	if d.MemoryFree > 0 && d.MemoryFree < 1<<30 {
		d.look("only %s of memory are free: the nano model fits, larger ones will not", size(d.MemoryFree))
	}
	if d.DiskFree > 0 && d.DiskFree < 1<<30 {
		d.look("only %s are free in %s: a run keeps several checkpoints", size(d.DiskFree), dir)
	}
	return d
}

func (d *diagnosis) look(format string, args ...any) {
	d.LookAt = append(d.LookAt, fmt.Sprintf(format, args...))
}

func sizeOrUnknown(bytes int64) string {
	if bytes <= 0 {
		return "unknown"
	}
	return size(bytes)
}

// size writes bytes in binary units.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(bytes), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, units[u])
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

func orNone(s string) string {
	if s == "" {
		return "none that the kernels use"
	}
	return s
}
