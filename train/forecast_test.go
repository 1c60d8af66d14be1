package train

import (
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/machine"
)

// What does not fit is refused with what to change, what fits only by swapping is a warning, and what is unknown is let through.
func TestForecastFits(t *testing.T) {
	const gib = 1 << 30
	f := Forecast{Node: "grpo", Planned: true, Memory: engine.Memory{Weights: 1 * gib, Optimiser: 3 * gib, Activations: 6 * gib}}
	c := DefaultCommon()
	for _, tc := range []struct {
		name    string
		f       Forecast
		m       machine.Memory
		held    int64
		warning bool
		err     bool
	}{
		{"fits", f, machine.Memory{Total: 16 * gib, Free: 12 * gib}, gib, false, false},
		{"what is held counts", f, machine.Memory{Total: 16 * gib, Free: 9 * gib}, gib, false, false},
		{"does not fit", f, machine.Memory{Total: 16 * gib, Free: 8 * gib}, gib, false, true},
		{"swaps", f, machine.Memory{Total: 16 * gib, Free: 8 * gib, Swap: 2 * gib}, gib, true, false},
		{"too little swap", f, machine.Memory{Total: 16 * gib, Free: 8 * gib, Swap: gib - 1}, gib, false, true},
		{"unknown", f, machine.Memory{}, 0, false, false},
		{"only the whole is known", f, machine.Memory{Total: 9 * gib}, 5 * gib, false, true},
		{"only the whole is known, and enough", f, machine.Memory{Total: 11 * gib}, 0, false, false},
		{"no plan", Forecast{}, machine.Memory{Total: gib, Free: 1}, 0, false, false},
	} {
		warning, err := tc.f.fits(tc.m, tc.held, c)
		if (warning != "") != tc.warning || (err != nil) != tc.err {
			t.Errorf("%s: warning %q, error %v", tc.name, warning, err)
		}
		if err == nil {
			continue
		}
		for _, want := range []string{"node grpo needs 10.0 GiB of memory (weights 1024.0 MiB, gradients and moments 3072.0 MiB, activations 6144.0 MiB)",
			"lower micro_tokens (now 4096)", "recompute=true", "shorten context", "lower slots (now 64)", "lora.rank=16"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nlacks %q", tc.name, err, want)
			}
		}
	}
	c.Recompute, c.LoRA.Rank = true, 8 // what is done already is not advised
	if _, err := f.fits(machine.Memory{Total: gib, Free: 1}, 0, c); err == nil || strings.Contains(err.Error(), "recompute") || strings.Contains(err.Error(), "adapter") {
		t.Errorf("%v", err)
	}
}

// Garbage is a tenth of a large plan, 64 MiB of a small one, and Go's own share where nothing is planned.
func TestGarbage(t *testing.T) {
	for mib, want := range map[int64]int{1: 100, 64: 100, 128: 50, 320: 20, 640: 10, 1 << 20: 10} {
		if got := (Forecast{Planned: true, Memory: engine.Memory{Weights: mib << 20}}).garbage(); got != want {
			t.Errorf("%d MiB: %d %%, want %d", mib, got, want)
		}
	}
	if got := (Forecast{}).garbage(); got != 100 {
		t.Errorf("without a plan: %d %%", got)
	}
}
