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

// LastEvent returns the name of the last event in the rows of timing.jsonl.
func LastEvent(timing []Metrics) string {
	for i := len(timing) - 1; i >= 0; i-- {
		if timing[i].Kind == KindEvent {
			return timing[i].Text
		}
	}
	return ""
}

// Status tells how a run stands from its last event and its lock.
func (r *Run) Status(lastEvent string) string {
	if lastEvent == Done || lastEvent == Failed {
		return lastEvent
	}
	switch running := r.Running(); {
	case running && lastEvent == Paused:
		return Paused
	case running:
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
