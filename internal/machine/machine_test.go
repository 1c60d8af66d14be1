package machine

import (
	"runtime"
	"testing"
	"time"
)

// TestMemory: what a process holds shows in its peak, and the peak does not fall.
func TestMemory(t *testing.T) {
	m := ReadMemory()
	total, free := m.Total, m.Free
	before := PeakRSS()
	if runtime.GOOS == "linux" && (total < 64<<20 || free <= 0 || free > total || before <= 0) {
		t.Errorf("memory %d, free %d, peak %d", total, free, before)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = byte(i)
	}
	if after := PeakRSS(); before > 0 && after < before+32<<20 {
		t.Errorf("the peak grew from %d to %d while %d bytes were written", before, after, len(block))
	}
	runtime.KeepAlive(block)
}

// TestCPUTime: work counts, waiting does not.
func TestCPUTime(t *testing.T) {
	begin := CPUTime()
	if begin == 0 {
		t.Skip("not known on this system")
	}
	time.Sleep(50 * time.Millisecond)
	idle := CPUTime() - begin
	for CPUTime()-begin < idle+20*time.Millisecond {
	}
	if idle > 40*time.Millisecond {
		t.Errorf("a sleep of 50 ms used %v of the processor", idle)
	}
}
