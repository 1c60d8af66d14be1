package tensor

import (
	"fmt"
	"math"
	"testing"
)

func refMatMul(m, n, k int, a, b []float64) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for p := range k {
			for j := range n {
				c[i*n+j] += a[i*k+p] * b[p*n+j]
			}
		}
	}
	return c
}

func addRows(x, b []float64) []float64 {
	for i := range x {
		x[i] += b[i%len(b)]
	}
	return x
}

func linearCase(rows, in, out int) opCase {
	return opCase{
		few:  rows > 100,
		name: fmt.Sprintf("Linear %dx%dx%d", rows, in, out),
		in:   []dims{{rows, in, true}, {in, out, false}, {1, out, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor {
			return t.Linear(x[0], x[1], x[2])
		},
		ref: func(x [][]float64) []float64 { return addRows(refMatMul(rows, out, in, x[0], x[1]), x[2]) },
	}
}

func loraCase(rows, in, out, r int) opCase {
	const scale = 0.75
	return opCase{
		few:  rows > 100,
		name: fmt.Sprintf("LinearLoRA %dx%dx%d rank %d", rows, in, out, r),
		in:   []dims{{rows, in, true}, {in, out, false}, {1, out, false}, {in, r, false}, {r, out, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor {
			return t.LinearLoRA(x[0], x[1], x[2], x[3], x[4], scale)
		},
		ref: func(x [][]float64) []float64 {
			y := addRows(refMatMul(rows, out, in, x[0], x[1]), x[2])
			for i, v := range refMatMul(rows, out, r, refMatMul(rows, r, in, x[0], x[3]), x[4]) {
				y[i] += scale * v
			}
			return y
		},
	}
}

func TestLinear(t *testing.T) {
	runCases(t, []opCase{
		linearCase(1, 1, 1), linearCase(3, 17, 5), linearCase(65, 33, 257), linearCase(257, 65, 129),
		loraCase(1, 17, 3, 1), loraCase(65, 33, 65, 4), loraCase(257, 65, 48, 16),
		{
			name: "MatMul without bias", in: []dims{{257, 48, true}, {48, 65, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.MatMul(x[0], x[1]) },
			ref:   func(x [][]float64) []float64 { return refMatMul(257, 65, 48, x[0], x[1]) },
		},
		{
			name: "AddBias", in: []dims{{257, 129, true}, {1, 129, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.AddBias(x[0], x[1]) },
			ref:   func(x [][]float64) []float64 { return addRows(append([]float64{}, x[0]...), x[1]) },
		},
	})
}

func pointCase(name string, two bool, build func(t *Tape, a, b *Tensor) *Tensor, ref func(a, b float64) float64, rows, cols int) opCase {
	c := opCase{
		few:  rows > 100,
		name: fmt.Sprintf("%s %dx%d", name, rows, cols),
		in:   []dims{{rows, cols, true}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor {
			if two {
				return build(t, x[0], x[1])
			}
			return build(t, x[0], nil)
		},
		ref: func(x [][]float64) []float64 {
			y := make([]float64, rows*cols)
			for i := range y {
				b := 0.0
				if two {
					b = x[1][i]
				}
				y[i] = ref(x[0][i], b)
			}
			return y
		},
	}
	if two {
		c.in = append(c.in, dims{rows, cols, true})
	}
	return c
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func TestPointwise(t *testing.T) {
	var cases []opCase
	for _, s := range [][2]int{{1, 1}, {3, 17}, {129, 1023}} {
		add := func(name string, two bool, build func(t *Tape, a, b *Tensor) *Tensor, ref func(a, b float64) float64) {
			cases = append(cases, pointCase(name, two, build, ref, s[0], s[1]))
		}
		add("Add", true, (*Tape).Add, func(a, b float64) float64 { return a + b })
		add("Mul", true, (*Tape).Mul, func(a, b float64) float64 { return a * b })
		add("Scale", false, func(t *Tape, a, _ *Tensor) *Tensor { return t.Scale(a, -1.5) }, func(a, _ float64) float64 { return -1.5 * a })
		add("Tanh", false, func(t *Tape, a, _ *Tensor) *Tensor { return t.Tanh(a) }, func(a, _ float64) float64 { return math.Tanh(a) })
		add("ReLU", false, func(t *Tape, a, _ *Tensor) *Tensor { return t.ReLU(a) }, func(a, _ float64) float64 { return max(a, 0) })
		add("SiLU", false, func(t *Tape, a, _ *Tensor) *Tensor { return t.SiLU(a) }, func(a, _ float64) float64 { return a * sigmoid(a) })
		add("GELU erf", false, func(t *Tape, a, _ *Tensor) *Tensor { return t.GELU(a, false) }, func(a, _ float64) float64 {
			return a / 2 * (1 + math.Erf(a/math.Sqrt2))
		})
		add("GELU tanh", false, func(t *Tape, a, _ *Tensor) *Tensor { return t.GELU(a, true) }, func(a, _ float64) float64 {
			return a / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a)))
		})
		add("SwiGLU", true, (*Tape).SwiGLU, func(a, b float64) float64 { return a * sigmoid(a) * b })
	}
	runCases(t, cases)
}

func refNorm(x, w, b []float64, mean bool) []float64 {
	const eps = 1e-5
	n := len(w)
	y := make([]float64, len(x))
	for r := 0; r < len(x); r += n {
		row := x[r : r+n]
		mu, sq := 0.0, 0.0
		for _, v := range row {
			mu += v / float64(n)
		}
		if !mean {
			mu = 0
		}
		for _, v := range row {
			sq += (v - mu) * (v - mu) / float64(n)
		}
		for i, v := range row {
			y[r+i] = (v - mu) / math.Sqrt(sq+eps) * w[i]
			if b != nil {
				y[r+i] += b[i]
			}
		}
	}
	return y
}

func TestNorms(t *testing.T) {
	var cases []opCase
	for _, s := range [][2]int{{1, 3}, {3, 17}, {65, 65}, {257, 257}} {
		rows, cols := s[0], s[1]
		cases = append(cases, opCase{
			name: fmt.Sprintf("RMSNorm %dx%d", rows, cols), in: []dims{{rows, cols, true}, {1, cols, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.RMSNorm(x[0], x[1], 1e-5) },
			ref:   func(x [][]float64) []float64 { return refNorm(x[0], x[1], nil, false) },
		}, opCase{
			name: fmt.Sprintf("RMSNormHeads %dx3x%d", rows, cols), in: []dims{{rows, 3 * cols, true}, {1, cols, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.RMSNormHeads(x[0], x[1], 3, 1e-5) },
			ref:   func(x [][]float64) []float64 { return refNorm(x[0], x[1], nil, false) },
		}, opCase{
			name: fmt.Sprintf("LayerNorm %dx%d", rows, cols), in: []dims{{rows, cols, true}, {1, cols, false}, {1, cols, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.LayerNorm(x[0], x[1], x[2], 1e-5) },
			ref:   func(x [][]float64) []float64 { return refNorm(x[0], x[1], x[2], true) },
		}, opCase{
			name: fmt.Sprintf("LayerNorm without bias %dx%d", rows, cols), in: []dims{{rows, cols, true}, {1, cols, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.LayerNorm(x[0], x[1], nil, 1e-5) },
			ref:   func(x [][]float64) []float64 { return refNorm(x[0], x[1], nil, true) },
		}, opCase{
			name: fmt.Sprintf("Softmax %dx%d", rows, cols), in: []dims{{rows, cols, true}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.Softmax(x[0]) },
			ref:   func(x [][]float64) []float64 { return refSoftmax(x[0], cols) },
		})
	}
	runCases(t, cases)
}

func refSoftmax(x []float64, n int) []float64 {
	y := make([]float64, len(x))
	for r := 0; r < len(x); r += n {
		sum := 0.0
		for i, v := range x[r : r+n] {
			y[r+i] = math.Exp(v)
			sum += y[r+i]
		}
		for i := range n {
			y[r+i] /= sum
		}
	}
	return y
}

func TestRope(t *testing.T) {
	const rows, heads, hd = 65, 3, 20
	table, err := NewRope(100, 16, 300, RopeScaling{}) // only 16 of 20 dimensions turn
	if err != nil {
		t.Fatal(err)
	}
	pos := make([]int32, rows)
	for i := range pos {
		pos[i] = int32(i * i % 300)
	}
	runCases(t, []opCase{{
		name: "Rope", in: []dims{{rows, heads * hd, true}},
		build: func(t *Tape, x []*Tensor, lo int) *Tensor {
			return t.Rope(x[0], table, pos[lo:lo+x[0].Rows], heads, hd)
		},
		ref: func(x [][]float64) []float64 {
			y := append([]float64{}, x[0]...)
			for r := range rows {
				for h := range heads {
					for i := range 8 {
						a := float64(pos[r]) * math.Pow(100, -float64(i)/8)
						at := (r*heads+h)*hd + i
						y[at] = x[0][at]*math.Cos(a) - x[0][at+8]*math.Sin(a)
						y[at+8] = x[0][at]*math.Sin(a) + x[0][at+8]*math.Cos(a)
					}
				}
			}
			return y
		},
	}, {
		name: "Rope of a large batch", in: []dims{{rows, 64 * hd, true}},
		build: func(t *Tape, x []*Tensor, lo int) *Tensor {
			return t.Rope(x[0], table, make([]int32, x[0].Rows), 64, hd) // position 0 changes nothing
		},
		ref: func(x [][]float64) []float64 { return x[0] },
	}})
}

func TestGather(t *testing.T) {
	const rows, cols = 300, 257
	ids := make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i * i % 17)
	}
	for name, f := range map[string]func(*Tape, *Tensor, []int32) *Tensor{"Embedding": (*Tape).Embedding, "Gather": (*Tape).Gather} {
		runCases(t, []opCase{{
			name: name, in: []dims{{17, cols, false}},
			build: func(t *Tape, x []*Tensor, _ int) *Tensor { return f(t, x[0], ids) },
			ref: func(x [][]float64) (y []float64) {
				for _, id := range ids {
					y = append(y, x[0][int(id)*cols:(int(id)+1)*cols]...)
				}
				return y
			},
		}})
	}
}

func TestLosses(t *testing.T) {
	const rows, cols = 17, 65
	target := make([]float32, rows*cols)
	class := make([]int32, rows)
	for i := range target {
		target[i] = float32(i%7) / 3
	}
	for i := range class {
		class[i] = int32(i*5%cols) - 3 // some are negative: left out
	}
	big := linearCase(129, 129, 129) // something that runs in parallel
	runCases(t, []opCase{big, {
		name: "SumAll", in: []dims{{rows, cols, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.SumAll(x[0]) },
		ref: func(x [][]float64) []float64 {
			sum := 0.0
			for _, v := range x[0] {
				sum += v
			}
			return []float64{sum}
		},
	}, {
		name: "MeanRows", in: []dims{{51, cols, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.MeanRows(x[0], 3) },
		ref: func(x [][]float64) []float64 {
			y := make([]float64, rows*cols)
			for i, v := range x[0] {
				y[i/cols/3*cols+i%cols] += v / 3
			}
			return y
		},
	}, {
		name: "MSE", in: []dims{{rows, cols, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.MSE(x[0], target) },
		ref: func(x [][]float64) []float64 {
			sum := 0.0
			for i, v := range x[0] {
				sum += (v - float64(target[i])) * (v - float64(target[i]))
			}
			return []float64{sum / rows / cols}
		},
	}, {
		name: "SoftmaxCrossEntropy", in: []dims{{rows, cols, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor { return t.SoftmaxCrossEntropy(x[0], class) },
		ref: func(x [][]float64) []float64 {
			p, sum, n := refSoftmax(x[0], cols), 0.0, 0.0
			for r, c := range class {
				if c >= 0 {
					sum -= math.Log(p[r*cols+int(c)])
					n++
				}
			}
			return []float64{sum / n}
		},
	}})
}

func TestConv3x3(t *testing.T) {
	const batch, h, w, cin, cout = 3, 9, 7, 5, 17
	runCases(t, []opCase{{
		name: "Conv3x3", in: []dims{{batch * h * w, cin, false}, {9 * cin, cout, false}, {1, cout, false}},
		build: func(t *Tape, x []*Tensor, _ int) *Tensor {
			return t.Conv3x3(x[0], x[1], x[2], batch, h, w, cin, cout)
		},
		ref: func(x [][]float64) []float64 {
			y := make([]float64, batch*h*w*cout)
			for n := range batch {
				for r := range h {
					for c := range w {
						for o := range cout {
							sum := x[2][o]
							for dy := -1; dy <= 1; dy++ {
								for dx := -1; dx <= 1; dx++ {
									if r+dy < 0 || r+dy >= h || c+dx < 0 || c+dx >= w {
										continue
									}
									for i := range cin {
										sum += x[0][((n*h+r+dy)*w+c+dx)*cin+i] * x[1][((dy+1)*3+dx+1)*cin*cout+i*cout+o]
									}
								}
							}
							y[((n*h+r)*w+c)*cout+o] = sum
						}
					}
				}
			}
			return y
		},
	}, linearCase(129, 129, 129)})
}
