package run

import (
	"fmt"
	"maps"
	"math"
	"strings"
)

// Settings of Watch.
const (
	WatchSteps   = 20  // steps of each of the two means that are compared
	WatchLength  = 1.5 // answers that have become so many times longer are growing strongly
	WatchEntropy = 0.3 // entropy that has fallen below this part of what it was has collapsed
)

// Watch follows the rows of metrics.jsonl and warns when the reward rises while something else goes the wrong way: the usual picture of a
// policy that has found a hole in its reward. Compared are the means of the stage's first WatchSteps steps and of its last ones, from twice as
// many steps on. The reward has risen when their difference is more than three times its standard error (three, because every step looks
// again). Then it warns, once a stage each, of
//
//   - length: sampled tokens an answer have grown by more than WatchLength
//   - entropy: it has fallen below WatchEntropy of what it was
//   - a held-out score: an evaluation is below the one that the stage began with by more than the 95 % interval of their difference
//     (the root of the sum of the squared half intervals)
//
// The zero value is ready. What it says is a function of the rows alone, so nothing of it is saved: a resumed run reads the rows again.
type Watch struct {
	stage                   string
	reward, length, entropy []float64       // by step of the stage
	began, last             map[string]held // by suite
	said                    map[string]bool // in this stage
}

// held is a held-out score with half the width of its interval.
type held struct{ score, half float64 }

// Warnings returns what Watch says about the rows of a run, as rows of kind note.
func Warnings(rows []Metrics) []Metrics {
	var w Watch
	var out []Metrics
	for _, m := range rows {
		for _, text := range w.Add(m) {
			out = append(out, Metrics{Stage: m.Stage, Step: m.Step, Kind: KindNote, Text: text})
		}
	}
	return out
}

// Add takes the next row and returns the warnings that it gives rise to.
func (w *Watch) Add(m Metrics) (warnings []string) {
	if m.Kind != KindTrain && m.Kind != KindEval {
		return nil
	}
	if w.said == nil || m.Stage != w.stage {
		*w = Watch{stage: m.Stage, began: map[string]held{}, last: w.last, said: map[string]bool{}}
		maps.Copy(w.began, w.last)
		if w.last == nil {
			w.last = map[string]held{}
		}
	}
	if m.Kind == KindEval {
		return w.evaluated(m)
	}
	reward, ok := m.Get(Reward)
	if !ok || math.IsNaN(reward) {
		return nil
	}
	length, _ := m.Get(Length)
	entropy, _ := m.Get(Entropy)
	w.reward, w.length, w.entropy = append(w.reward, reward), append(w.length, length), append(w.entropy, entropy)
	rise, ok := w.rise()
	if !ok {
		return nil
	}
	if before, now := ends(w.length); now > WatchLength*before {
		warnings = w.say(warnings, Length, "%s while answers grow from %.1f to %.1f tokens: are they better, or only longer?", rise, before, now)
	}
	if before, now := ends(w.entropy); now < WatchEntropy*before {
		warnings = w.say(warnings, Entropy, "%s while entropy collapses from %.3g to %.3g nats a token: the policy stops trying other answers", rise, before, now)
	}
	return warnings
}

func (w *Watch) say(warnings []string, what, format string, args ...any) []string {
	if w.said[what] {
		return warnings
	}
	w.said[what] = true
	return append(warnings, "warning: "+fmt.Sprintf(format, args...))
}

// evaluated compares every suite's accuracy with what the stage began with.
func (w *Watch) evaluated(m Metrics) (warnings []string) {
	rise, rises := w.rise()
	for _, v := range m.Values {
		suite, ok := strings.CutSuffix(v.Name, Accuracy)
		low, ok1 := m.Get(suite + AccuracyLow)
		high, ok2 := m.Get(suite + AccuracyHigh)
		if !ok || !ok1 || !ok2 || suite != "" && !strings.HasSuffix(suite, "/") {
			continue
		}
		now := held{v.V, (high - low) / 2}
		w.last[suite] = now
		before, ok := w.began[suite]
		if !ok {
			w.began[suite] = now
			continue
		}
		if drop := before.score - now.score; rises && drop > math.Hypot(before.half, now.half) {
			name := strings.TrimSuffix(suite, "/")
			if name == "" {
				name = Accuracy
			}
			warnings = w.say(warnings, suite+Accuracy, "%s while the held-out score falls: %s from %.1f %% to %.1f %%", rise, name, 100*before.score, 100*now.score)
		}
	}
	return warnings
}

// rise reports whether the reward has risen, and says so.
func (w *Watch) rise() (string, bool) {
	n := len(w.reward)
	if n < 2*WatchSteps {
		return "", false
	}
	before, now := ends(w.reward)
	squares := 0.0
	for i := range WatchSteps {
		a, b := w.reward[i]-before, w.reward[n-1-i]-now
		squares += a*a + b*b
	}
	// The variance of a mean of k values is their sum of squares / (k-1) / k.
	if now-before <= 3*math.Sqrt(squares/(WatchSteps-1)/WatchSteps) {
		return "", false
	}
	return fmt.Sprintf("reward rises from %.3g to %.3g", before, now), true
}

// ends returns the means of the first and of the last WatchSteps values.
func ends(x []float64) (first, last float64) {
	for i := range WatchSteps {
		first += x[i] / WatchSteps
		last += x[len(x)-1-i] / WatchSteps
	}
	return first, last
}
