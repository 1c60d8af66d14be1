package par

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counter counts the visits of each part and runs another job inside when there is one.
type counter struct {
	hits  []atomic.Int32
	inner Job
}

func newCounter(n int) *counter { return &counter{hits: make([]atomic.Int32, n)} }

func (c *counter) Part(i int) {
	if c.inner != nil {
		Do(3, c.inner)
	}
	c.hits[i].Add(1)
}

// wrong returns the first part that did not run want times, or -1.
func (c *counter) wrong(want int32) int {
	for i := range c.hits {
		if c.hits[i].Load() != want {
			return i
		}
	}
	return -1
}

func threads(t *testing.T, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

func TestEveryPartOnce(t *testing.T) {
	threads(t, 4)
	before := Sections()
	for round := range 3000 {
		n := round % 17
		c := newCounter(n)
		Do(n, c)
		if i := c.wrong(1); i >= 0 {
			t.Fatalf("round %d: part %d of %d ran %d times", round, i, n, c.hits[i].Load())
		}
	}
	if Sections() == before {
		t.Error("no section ran in parallel")
	}
}

// plainSum has no atomics: the race detector must see that Do orders the parts before its return.
type plainSum struct{ parts [64]int }

func (s *plainSum) Part(i int) { s.parts[i]++ }

func TestDoOrdersMemory(t *testing.T) {
	threads(t, 3)
	s := new(plainSum)
	for round := range 2000 {
		Do(len(s.parts), s)
		if s.parts[round%64] != round+1 {
			t.Fatalf("round %d: part saw %d", round, s.parts[round%64])
		}
	}
}

// rendezvous needs two goroutines at the same time, so it ends only if a worker comes.
type rendezvous struct{ here atomic.Int32 }

func (r *rendezvous) Part(int) {
	r.here.Add(1)
	for end := time.Now().Add(10 * time.Second); r.here.Load() < 2; runtime.Gosched() {
		if time.Now().After(end) {
			panic("no worker came")
		}
	}
}

func TestParkedWorkerWakes(t *testing.T) {
	threads(t, 2)
	for range 20 {
		Do(2, new(rendezvous))
		time.Sleep(2 * time.Millisecond) // long enough to park
	}
	for pause := time.Duration(0); pause < 200*time.Microsecond; pause += 2 * time.Microsecond {
		Do(2, new(rendezvous))
		for end := time.Now().Add(pause); time.Now().Before(end); { // around the moment of parking
		}
	}
}

func TestNestedAndConcurrent(t *testing.T) {
	threads(t, 2)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				inner, outer := newCounter(3), newCounter(5)
				outer.inner = inner
				Do(5, outer)
				if inner.wrong(5) >= 0 || outer.wrong(1) >= 0 {
					t.Errorf("inner part 0 ran %d times, outer part 4 %d times", inner.hits[0].Load(), outer.hits[4].Load())
				}
			}
		})
	}
	wg.Wait()
}

func TestProcessorsChange(t *testing.T) {
	threads(t, 1)
	for round := range 400 {
		runtime.GOMAXPROCS(1 + round%4)
		c := newCounter(9)
		Do(9, c)
		if i := c.wrong(1); i >= 0 {
			t.Fatalf("round %d: part %d ran %d times", round, i, c.hits[i].Load())
		}
	}
}

type thrower struct{ ran atomic.Int32 }

func (p *thrower) Part(i int) {
	p.ran.Add(1)
	if i == 3 {
		panic("boom")
	}
}

func TestPanicReachesCaller(t *testing.T) {
	for _, n := range []int{1, 2} {
		threads(t, n)
		for range 50 {
			func() {
				defer func() {
					if v := recover(); v != "boom" {
						t.Errorf("GOMAXPROCS %d: recovered %v", n, v)
					}
				}()
				Do(8, new(thrower))
			}()
			c := newCounter(4)
			Do(4, c)
			if c.wrong(1) >= 0 {
				t.Fatal("the pool is dead after a panic")
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	threads(t, 2)
	c := newCounter(4)
	Do(4, c)
	if n := testing.AllocsPerRun(100, func() { Do(4, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSplit(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 100, 1000} {
		for _, align := range []int{1, 8, 48} {
			for parts := 1; parts < 5; parts++ {
				at := 0
				for i := range parts {
					lo, hi := Split(n, parts, i, align)
					if lo != at || hi < lo || hi != n && hi%align != 0 {
						t.Fatalf("n %d parts %d align %d: range %d is [%d, %d) after %d", n, parts, align, i, lo, hi, at)
					}
					at = hi
				}
				if at != n {
					t.Fatalf("n %d parts %d align %d: covers %d", n, parts, align, at)
				}
			}
		}
	}
}

// BenchmarkHandOver is the cost of an empty section of two parts.
func BenchmarkHandOver(b *testing.B) {
	c := newCounter(2)
	for b.Loop() {
		Do(2, c)
	}
}

// slowLast keeps a worker inside longer than the caller looks before it sleeps.
type slowLast struct{ ran atomic.Int32 }

func (s *slowLast) Part(i int) {
	if s.ran.Add(1) == 2 {
		time.Sleep(time.Duration(i%3) * 100 * time.Microsecond)
	}
	time.Sleep(50 * time.Microsecond)
}

func TestCallerSleepsForSlowWorker(t *testing.T) {
	threads(t, 2)
	for range 300 {
		s := new(slowLast)
		Do(3, s)
		if n := s.ran.Load(); n != 3 {
			t.Fatalf("Do returned after %d of 3 parts", n)
		}
	}
}
