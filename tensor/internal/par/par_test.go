package par

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

type counter struct {
	hits []atomic.Int32
	also Job
}

func (c *counter) Part(i int) {
	if c.also != nil {
		Do(3, c.also)
	}
	c.hits[i].Add(1)
}

func threads(t *testing.T, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

func TestEveryPartOnce(t *testing.T) {
	threads(t, 4)
	before := Sections()
	for round := range 2000 {
		n := round % 17
		c := &counter{hits: make([]atomic.Int32, n)}
		Do(n, c)
		for i := range c.hits {
			if got := c.hits[i].Load(); got != 1 {
				t.Fatalf("round %d: part %d ran %d times", round, i, got)
			}
		}
	}
	if Sections() == before {
		t.Error("no section ran in parallel")
	}
}

func TestNestedAndConcurrent(t *testing.T) {
	threads(t, 2)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 200 {
				inner := &counter{hits: make([]atomic.Int32, 3)}
				outer := &counter{hits: make([]atomic.Int32, 5), also: inner}
				Do(5, outer)
				if inner.hits[0].Load() != 5 || outer.hits[4].Load() != 1 {
					t.Errorf("inner %d, outer %d", inner.hits[0].Load(), outer.hits[4].Load())
				}
			}
		}()
	}
	wg.Wait()
}

type thrower struct{}

func (thrower) Part(i int) {
	if i == 3 {
		panic("boom")
	}
}

func TestPanicReachesCaller(t *testing.T) {
	threads(t, 2)
	defer func() {
		if v, _ := recover().(string); !strings.Contains(v, "boom") {
			t.Errorf("recovered %q", v)
		}
		c := &counter{hits: make([]atomic.Int32, 4)}
		Do(4, c) // the pool still works
		if c.hits[3].Load() != 1 {
			t.Error("pool is dead after a panic")
		}
	}()
	Do(8, thrower{})
}

func TestNoAllocation(t *testing.T) {
	threads(t, 2)
	c := &counter{hits: make([]atomic.Int32, 4)}
	Do(4, c)
	if n := testing.AllocsPerRun(100, func() { Do(4, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSplit(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 100, 1000} {
		for parts := 1; parts < 5; parts++ {
			at := 0
			for i := range parts {
				lo, hi := Split(n, parts, i, 8)
				if lo != at || hi < lo {
					t.Fatalf("n %d parts %d i %d: [%d, %d) after %d", n, parts, i, lo, hi, at)
				}
				at = hi
			}
			if at != n {
				t.Fatalf("n %d parts %d covers %d", n, parts, at)
			}
		}
	}
}
