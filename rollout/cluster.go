package rollout

import (
	"math"

	"github.com/hone-lm/hone/engine"
)

// clustered groups plans into at most so many clusters of similar ones (k-means over bags of tokens and of pairs of neighbours, which keep
// something of the order) and returns the plan nearest the middle of each, with the number of samples in the cluster as its weight.
func clustered(plans []exploration, clusters int) []exploration {
	vectors := bags(plans)
	weights := make([]float64, len(plans))
	for i, p := range plans {
		weights[i] = float64(p.weight)
	}
	of, middles := kMeans(vectors, weights, max(1, clusters))
	var out []exploration
	for c, middle := range middles {
		nearest, weight := -1, 0
		for i := range plans {
			if of[i] != c {
				continue
			}
			weight += plans[i].weight
			if nearest < 0 || distance(vectors[i], middle) < distance(vectors[nearest], middle) {
				nearest = i
			}
		}
		if nearest >= 0 {
			p := plans[nearest]
			p.weight = weight
			out = append(out, p)
		}
	}
	return out
}

// bags counts each plan's sampled tokens and neighbours, scaled to length 1.
func bags(plans []exploration) [][]float64 {
	index := map[[2]int32]int{} // {token, -1} or {token, the next}
	counts := make([]map[int]float64, len(plans))
	for i, p := range plans {
		counts[i] = map[int]float64{}
		count := func(feature [2]int32) {
			if _, ok := index[feature]; !ok {
				index[feature] = len(index)
			}
			counts[i][index[feature]]++
		}
		last := int32(-1)
		for t, id := range p.seq.Tokens {
			if p.seq.KindAt(t) != engine.KindSampled {
				continue
			}
			count([2]int32{id, -1})
			if last >= 0 {
				count([2]int32{last, id})
			}
			last = id
		}
	}
	out := make([][]float64, len(plans))
	for i := range out {
		out[i] = make([]float64, len(index))
		length := 0.0
		for f := range out[i] { // in the order of features: sums must not depend on a map's
			out[i][f] = counts[i][f]
			length += out[i][f] * out[i][f]
		}
		for f := range out[i] {
			out[i][f] /= math.Sqrt(max(length, 1))
		}
	}
	return out
}

// kMeans assigns points to the nearest of k middles, which are the weighted means of their points (Lloyd's algorithm). It starts from the first
// point and, one after the other, the point farthest from the middles so far, so nothing is random. There are as many middles as distinct
// points where those are fewer.
func kMeans(points [][]float64, weights []float64, k int) (of []int, middles [][]float64) {
	for len(middles) < k {
		far, best := 0, 0.0
		for i, p := range points {
			d := math.Inf(1)
			for _, m := range middles {
				d = min(d, distance(p, m))
			}
			if d > best {
				far, best = i, d
			}
		}
		if best == 0 {
			break
		}
		middles = append(middles, append([]float64(nil), points[far]...))
	}
	of = make([]int, len(points))
	for range 50 { // it ends by itself long before
		moved := assign(points, middles, of)
		for c := range middles {
			sum, total := make([]float64, len(middles[c])), 0.0
			for i, p := range points {
				if of[i] == c {
					total += weights[i]
					for f, x := range p {
						sum[f] += weights[i] * x
					}
				}
			}
			for f := range sum {
				if total > 0 {
					middles[c][f] = sum[f] / total
				}
			}
		}
		if !moved {
			break
		}
	}
	return of, middles
}

// assign gives each point to its nearest middle, the first of equals, and tells whether any changed.
func assign(points, middles [][]float64, of []int) (moved bool) {
	for i, p := range points {
		best := 0
		for c := range middles {
			if distance(p, middles[c]) < distance(p, middles[best]) {
				best = c
			}
		}
		moved = moved || of[i] != best
		of[i] = best
	}
	return moved
}

// distance is the square of the Euclidean distance.
func distance(a, b []float64) float64 {
	d := 0.0
	for i := range a {
		d += (a[i] - b[i]) * (a[i] - b[i])
	}
	return d
}
