package eval

import (
	"reflect"
	"testing"

	"github.com/hone-lm/hone/rollout"
)

func TestParseSearch(t *testing.T) {
	for text, want := range map[string]Search{
		"vote:8":           {"vote_8", rollout.Vote{Samples: 8, Temperature: 0.5}},
		"plan_vote:4":      {"plan_vote_4", rollout.PlanSearch{Plans: 4, Temperature: 0.5, Choose: rollout.ChooseAll, Clusters: 2}},
		"plan_cluster:9/2": {"plan_cluster_9_2", rollout.PlanSearch{Plans: 9, Temperature: 0.5, Choose: rollout.ChooseClusters, Clusters: 2}},
		"plan_judge:1":     {"plan_judge_1", rollout.PlanSearch{Plans: 1, Temperature: 0.5, Choose: rollout.ChooseJudged, Clusters: 1}},
		"plan_random:16":   {"plan_random_16", rollout.PlanSearch{Plans: 16, Temperature: 0.5, Choose: rollout.ChooseRandom, Clusters: 4}},
	} {
		if got, err := ParseSearch(text, 0.5); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "vote", "vote:0", "vote:x", "vote:8/2", "plan_vote:8/2", "plan_cluster:8/9", "plan_cluster:8/", "plan_:8", "judge:8", "vote:-1"} {
		if s, err := ParseSearch(bad, 1); err == nil {
			t.Errorf("%q is taken for %+v", bad, s)
		}
	}
	if _, err := ParseSearches([]string{"vote:8", "vote:8"}, 1); err == nil {
		t.Error("the same search twice is taken")
	}
}
