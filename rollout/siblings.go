package rollout

// SiblingFilter says which siblings make a pair.
type SiblingFilter struct {
	Gap     float64                   `yaml:"value_threshold" help:"least difference of the two values"`
	Overlap float64                   `yaml:"overlap_limit" help:"most words in common, as a share"`
	Accept  float64                   `yaml:"accept_value" help:"least value of the chosen step"`
	Alike   func(a, b string) float64 `yaml:"-"`
}

// SiblingPair are two continuations of one beginning.
type SiblingPair struct{ Chosen, Rejected *TreeNode }

// Pairs takes, of every node with at least two children, the child of the highest value against that of the lowest, where the filter lets
// them pass. Of equals the first counts.
func (f *SiblingFilter) Pairs(t *Tree) []SiblingPair {
	var out []SiblingPair
	t.Root.Walk(func(n *TreeNode) {
		if len(n.Children) < 2 {
			return
		}
		high, low := n.Children[0], n.Children[0]
		for _, c := range n.Children[1:] {
			if c.Value > high.Value {
				high = c
			}
			if c.Value < low.Value {
				low = c
			}
		}
		if high != low && high.Value-low.Value >= f.Gap && high.Value >= f.Accept && f.Alike(high.Text, low.Text) <= f.Overlap {
			out = append(out, SiblingPair{high, low})
		}
	})
	return out
}
