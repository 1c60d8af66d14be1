package run

import "math"

// Status names.
const (
	Running = "running" // some process writes it
	Stopped = "stopped" // nobody writes it and it did not end: killed, or Ctrl-C; hone resume goes on
	Paused  = "paused"
	Done    = "done"
	Failed  = "failed"
)

// Status tells how a run stands from its lock and the last event in the rows of timing.jsonl.
func (r *Run) Status(timing []Metrics) string {
	last := ""
	for _, row := range timing {
		if row.Kind == KindEvent {
			last = row.Text
		}
	}
	switch {
	case last == Done || last == Failed:
		return last
	case last == Paused && r.Running():
		return Paused
	case r.Running():
		return Running
	}
	return Stopped
}

// Created returns the time of a run's first event in seconds since 1970, 0 if there is none.
func Created(timing []Metrics) float64 {
	for _, row := range timing {
		if row.Kind != KindEvent {
			continue
		}
		if t, ok := row.Get("time"); ok && !math.IsNaN(t) {
			return t
		}
	}
	return 0
}
