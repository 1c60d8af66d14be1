// Package par runs the parts of a job on all processors with little ceremony. Starting goroutines for each call costs more than a small
// matrix product, so the workers stay alive, look for work for a moment, and only then park.
package par

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Job is work in parts. Part is called with each i in [0, n) exactly once, from any worker: results must not depend on which.
type Job interface{ Part(i int) }

// An idle worker looks for work lookRounds x lookLoads times (some 50 microseconds, longer than the plain code between two products of a
// training step) and yields to other goroutines after each round.
const (
	lookRounds = 64
	lookLoads  = 512
)

type worker struct {
	parked atomic.Bool
	wake   chan struct{} // holds at most the one token of whoever turned parked to false
}

// section is the job that runs now. A Do opens it (seq odd), takes parts itself, closes it (seq even) and waits for the workers inside. A
// worker enters before it looks at seq, so either it sees the section closed or the Do sees it inside; a worker that wakes late finds the
// section closed and nobody has waited for it.
var section struct {
	owner   sync.Mutex // held by the Do whose job this is
	job     Job
	parts   int64
	workers []*worker

	_      [64]byte // the counters below lie on cache lines of their own
	seq    atomic.Uint64
	_      [56]byte
	next   atomic.Int64
	_      [56]byte
	inside atomic.Int64
	_      [56]byte
	asleep atomic.Bool // the owner waits on done for the last worker to leave
	failed atomic.Pointer[failure]
	count  atomic.Uint64
}

var done = make(chan struct{}, 1) // holds at most the one token of whoever turned section.asleep to false

type failure struct{ value any }

// Sections returns how many calls of Do have opened their job to more than one worker so far.
func Sections() uint64 { return section.count.Load() }

// Workers returns the largest number of goroutines, the caller's included, that work on one Do.
func Workers() int { return runtime.GOMAXPROCS(0) }

// Do calls job.Part(i) for i in [0, n) and returns when all have run. With one processor, with one part, or while another Do is running
// (so also when called from a Part) the parts run in this goroutine, in order. The first panic of a part is raised again in the caller
// when the others have ended. A Part must not call runtime.Goexit. Do allocates nothing once the workers exist.
func Do(n int, job Job) {
	w := min(n, runtime.GOMAXPROCS(0))
	if w <= 1 || !section.owner.TryLock() {
		for i := range n {
			job.Part(i)
		}
		return
	}
	defer section.owner.Unlock()
	s := &section
	for len(s.workers) < w-1 {
		k := &worker{wake: make(chan struct{}, 1)}
		s.workers = append(s.workers, k)
		go k.loop()
	}
	s.count.Add(1)
	s.job, s.parts = job, int64(n)
	s.next.Store(0)
	s.seq.Add(1)
	for _, k := range s.workers[:w-1] {
		if k.parked.CompareAndSwap(true, false) {
			k.wake <- struct{}{}
		}
	}
	pull()
	s.seq.Add(1)
	awaitLast()
	s.job = nil
	if f := s.failed.Swap(nil); f != nil {
		panic(f.value)
	}
}

// awaitLast returns when no worker is inside. It looks for a moment and then sleeps: a worker that the system has taken off its processor may
// need this one.
func awaitLast() {
	s := &section
	for range lookRounds {
		for range lookLoads {
			if s.inside.Load() == 0 {
				return
			}
		}
		runtime.Gosched()
	}
	for s.inside.Load() > 0 {
		s.asleep.Store(true)
		if s.inside.Load() == 0 && s.asleep.CompareAndSwap(true, false) {
			return // the last one left meanwhile and sends no token
		}
		<-done
	}
}

// leave is called by a worker that has nothing more to do in the section.
func leave() {
	if section.inside.Add(-1) == 0 && section.asleep.CompareAndSwap(true, false) {
		done <- struct{}{}
	}
}

func (k *worker) loop() {
	var seen uint64
	for {
		for !open(seen) {
			k.await(seen)
		}
		section.inside.Add(1)
		if seen = section.seq.Load(); seen%2 == 1 {
			pull()
		}
		leave()
	}
}

// open reports whether a section is open that the worker who last saw seq number seen has not visited.
func open(seen uint64) bool {
	q := section.seq.Load()
	return q%2 == 1 && q != seen
}

// await returns when a section may have opened.
func (k *worker) await(seen uint64) {
	for range lookRounds {
		for range lookLoads {
			if open(seen) {
				return
			}
		}
		runtime.Gosched()
	}
	k.parked.Store(true)
	if open(seen) && k.parked.CompareAndSwap(true, false) {
		return // opened while parking, and no token is on its way
	}
	<-k.wake
}

// pull takes parts until none is left.
func pull() {
	for takeParts() {
	}
}

// takeParts reports whether a part panicked, so that more may be left.
func takeParts() (again bool) {
	defer func() {
		if v := recover(); v != nil {
			section.failed.CompareAndSwap(nil, &failure{v})
			again = true
		}
	}()
	s := &section
	for i := s.next.Add(1) - 1; i < s.parts; i = s.next.Add(1) - 1 {
		s.job.Part(int(i))
	}
	return false
}

// Split returns range i of [0, n) cut into parts balanced ranges whose inner boundaries are multiples of align.
func Split(n, parts, i, align int) (lo, hi int) {
	units := (n + align - 1) / align
	return min(units*i/parts*align, n), min(units*(i+1)/parts*align, n)
}
