// Package par runs the parts of a job on all processors with little ceremony: starting goroutines costs more than a small matrix product,
// so workers stay alive and spin for a moment before they park.
package par

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Job is work in parts. Part is called with each i in [0, n) exactly once, from any worker: results must not depend on which.
type Job interface{ Part(i int) }

// spinRounds is how often an idle worker looks for work before it parks: about 20 microseconds.
const spinRounds = 4000

type worker struct {
	seq    atomic.Uint64 // changes when there is work
	parked atomic.Bool
	wake   chan struct{}
}

var (
	busy     sync.Mutex // held by the Do that owns the workers
	workers  []*worker
	job      Job
	parts    int64
	next     atomic.Int64
	pending  atomic.Int64
	failed   atomic.Pointer[failure]
	sections atomic.Uint64
)

type failure struct{ value any }

// Sections returns how many calls of Do ran on more than one worker so far.
func Sections() uint64 { return sections.Load() }

// Workers returns the number of workers that Do uses at most.
func Workers() int { return runtime.GOMAXPROCS(0) }

// Do calls job.Part(i) for i in [0, n) and returns when all have run. With one processor, one part, or when another Do is running (nested
// calls included) the parts run in this goroutine. A panic in a part is raised again here. Do allocates nothing once workers exist.
func Do(n int, j Job) {
	w := min(n, runtime.GOMAXPROCS(0))
	if w <= 1 || !busy.TryLock() {
		for i := range n {
			j.Part(i)
		}
		return
	}
	defer busy.Unlock()
	for len(workers) < w-1 {
		start()
	}
	sections.Add(1)
	job, parts = j, int64(n)
	next.Store(0)
	pending.Store(int64(w - 1))
	for _, k := range workers[:w-1] {
		k.seq.Add(1)
		if k.parked.CompareAndSwap(true, false) {
			k.wake <- struct{}{}
		}
	}
	pull()
	for round := 0; pending.Load() > 0; round++ {
		if round > spinRounds {
			runtime.Gosched()
		}
	}
	job = nil
	if f := failed.Swap(nil); f != nil {
		panic(fmt.Sprintf("par: a part failed: %v", f.value))
	}
}

func start() {
	k := &worker{wake: make(chan struct{}, 1)}
	workers = append(workers, k)
	go k.loop()
}

func (k *worker) loop() {
	var seen uint64
	for {
		for round := 0; k.seq.Load() == seen; round++ {
			if round < spinRounds {
				continue
			}
			k.parked.Store(true)
			if k.seq.Load() != seen && k.parked.CompareAndSwap(true, false) {
				break // work came while parking and nobody has sent a token
			}
			<-k.wake
		}
		seen = k.seq.Load()
		pull()
		pending.Add(-1)
	}
}

// pull takes parts until none is left.
func pull() {
	defer func() {
		if v := recover(); v != nil {
			failed.CompareAndSwap(nil, &failure{v})
		}
	}()
	for i := next.Add(1) - 1; i < parts; i = next.Add(1) - 1 {
		job.Part(int(i))
	}
}

// Split returns range number i of n items in parts balanced ranges whose boundaries are multiples of align.
func Split(n, parts, i, align int) (lo, hi int) {
	units := (n + align - 1) / align
	return min(units*i/parts*align, n), min(units*(i+1)/parts*align, n)
}
