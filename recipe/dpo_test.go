package recipe

import (
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
)

// Policy and reference are the same model to the bit before the first update: ratios are 0 and the loss is log 2.
func TestDPOStart(t *testing.T) {
	s, streams := lastBatch(t, "dpo")
	stats := lossOf(t, s, streams)
	near(t, "loss", stats.Loss(), math.Ln2, 1e-15)
	for _, name := range []string{"reward_chosen", "reward_rejected"} {
		if v, ok := stats.Streams[0].Tally.Mean(name); !ok || v != 0 {
			t.Errorf("%s is %g", name, v)
		}
	}
}

// Equation 7 worked out from log-probs, and RPO's likelihood beside it.
func TestDPOLoss(t *testing.T) {
	s, streams := lastBatch(t, "dpo", "beta=0.3", "nll=0.5")
	rows := streams[0].Rows
	ratio := shiftReference(t, rows)
	logp, n := answerSums(t, s.Engine, rows)
	pairs, nll, tokens := 0.0, 0.0, 0.0
	for i := 0; i < len(rows); i += 2 {
		pairs -= math.Log(logistic(0.3*ratio[i]-0.3*ratio[i+1])) / 4
		nll -= 0.5 * logp[i]
		tokens += n[i]
	}
	stats := lossOf(t, s, streams)
	near(t, "loss of the pairs", stats.Streams[0].Loss, pairs, 1e-9)
	near(t, "likelihood", stats.Streams[1].Loss, nll/tokens, 1e-9)
}

// Every loss and divergence trains from end to end.
func TestDPOVariants(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	for _, loss := range objective.PairLosses {
		switch settings := []string{"loss=" + string(loss), "steps=2"}; loss {
		case objective.PairBCO:
		case objective.PairEXO:
			whole(t, "dpo", append(settings, "label_smoothing=0.001")...)
		default:
			whole(t, "dpo", settings...)
		}
	}
	for _, d := range objective.FDivergences {
		whole(t, "dpo", "f_divergence="+string(d), "steps=2")
	}
	whole(t, "dpo", "ld_alpha=0", "lora.rank=2", "steps=2")
}

func TestDPOStreams(t *testing.T) {
	_, streams := lastBatch(t, "dpo", "loss=robust", "label_smoothing=0.1", "ld_alpha=0.5", "f_divergence=js_divergence", "beta=0.2")
	d := streams[0].Obj.(objective.DPO)
	if d.Beta != 0.2 || d.LabelSmoothing != 0.1 || *d.LDAlpha != 0.5 || d.Divergence != objective.JSDivergence || d.Losses[0] != (objective.PairTerm{Loss: "robust", Weight: 1}) {
		t.Errorf("objective %+v", d)
	}
	if streams[0].Norm != engine.UnitMean || len(streams) != 2 || streams[1].Coef != 0 || len(streams[0].Rows) != 8 {
		t.Errorf("%s, %d streams, %d rows", streams[0].Norm, len(streams), len(streams[0].Rows))
	}
}

func TestPairSettings(t *testing.T) {
	for settings, want := range map[string]string{
		"dpo loss=sigmoyd":              "sigmoyd",
		"dpo label_smoothing=0.1":       "does not read it",
		"dpo loss=bco_pair":             "running mean",
		"dpo loss=exo_pair":             "label_smoothing",
		"dpo beta=0":                    "positive",
		"dpo ld_alpha=2":                "ld_alpha",
		"dpo f_divergence=kl":           "reverse_kl",
		"dpo nll=-1":                    "nll",
		"dpo batch=0":                   "batch",
		"dpo rows=-1":                   "rows",
		"dpo too_long=split":            "too_long",
		"kto batch=1":                   "at least 2",
		"kto loss=bco":                  "running mean",
		"kto loss=dpo":                  "dpo",
		"kto desirable=-1":              "desirable",
		"kto desirable=0 undesirable=0": "positive",
		"kto beta=0":                    "positive",
		"orpo beta=-0.1":                "beta",
		"orpo beta=.nan":                "beta",
		"orpo norm=sum":                 "seq_mean",
		"simpo loss=orpo":               "hone run orpo",
		"simpo loss=cpo":                "gamma",
		"simpo beta=0":                  "positive",
		"simpo nll=-1":                  "nll",
	} {
		args := strings.Fields(settings)
		if _, _, err := Parse(args[0], "", nil, args[1:]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", settings, err)
		}
	}
	for _, data := range []string{"data=countdown rows=0", "data=no/such.jsonl"} {
		if err := startError(t, "dpo", strings.Fields(data)...); err == nil {
			t.Errorf("%s: no error", data)
		}
	}
}
