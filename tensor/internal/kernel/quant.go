package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
)

// QuantFormat is a way to store blocks of 32 numbers of a row, as GGUF files do.
type QuantFormat uint8

// The formats that are multiplied by.
const (
	Q8_0 QuantFormat = iota // a float16 scale d and 32 signed bytes q: d*q
	Q4_0                    // d and 32 nibbles: d*(q-8)
	Q4_1                    // d, a float16 minimum m and 32 nibbles: d*q + m, rounded after the product and after the sum
)

const (
	quantBlock = 32 // numbers in a block
	quantGroup = 16 // rows that lie together
)

// Bytes returns the size of a block.
func (f QuantFormat) Bytes() int { return [...]int{Q8_0: 34, Q4_0: 18, Q4_1: 20}[f] }

// heads is how many bytes of a block are its scale and minimum.
func (f QuantFormat) heads() int { return [...]int{Q8_0: 2, Q4_0: 2, Q4_1: 4}[f] }

// Quant is a matrix of quantised numbers, [Rows][Cols]. Its blocks hold the bytes of the file, but those of 16 rows lie together, so that one
// register takes the same column of 16 rows: first the rows' scales, then their minima, then the numbers, one byte of each row in turn (Q8_0) or
// four (the others, whose nibbles are shifted out of 32-bit lanes). It never changes once its rows are set.
type Quant struct {
	Format     QuantFormat
	Rows, Cols int

	data []byte // [groups of 16 rows][blocks of 32 columns]; rows that are missing in the last group are zero bytes
}

// NewQuant returns a matrix whose rows are to be set. cols must be a multiple of 32.
func NewQuant(f QuantFormat, rows, cols int) *Quant {
	if rows < 0 || cols < 0 || cols%quantBlock != 0 {
		panic(fmt.Sprintf("kernel: quantised matrix of %d x %d", rows, cols))
	}
	q := &Quant{Format: f, Rows: rows, Cols: cols}
	q.data = make([]byte, q.groups()*q.stride())
	return q
}

func (q *Quant) groups() int { return (q.Rows + quantGroup - 1) / quantGroup }

// chunk is the size of a block of 16 rows, in bytes; stride that of all columns of 16 rows.
func (q *Quant) chunk() int  { return quantGroup * q.Format.Bytes() }
func (q *Quant) stride() int { return q.Cols / quantBlock * q.chunk() }

// group returns the bytes of a group of 16 rows from a block on.
func (q *Quant) group(g, block int) []byte {
	return q.data[g*q.stride()+block*q.chunk() : (g+1)*q.stride()]
}

// Bytes returns how much memory the matrix takes.
func (q *Quant) Bytes() int64 { return int64(len(q.data)) }

// Part returns rows lo to hi, in the same memory; false when lo does not begin a group.
func (q *Quant) Part(lo, hi int) (*Quant, bool) {
	if lo%quantGroup != 0 || lo < 0 || hi < lo || hi > q.Rows || hi < q.Rows && hi%quantGroup != 0 {
		return nil, false
	}
	p := &Quant{Format: q.Format, Rows: hi - lo, Cols: q.Cols}
	p.data = q.data[lo/quantGroup*q.stride():][:p.groups()*p.stride()]
	return p, true
}

// SetRow stores a row, which comes as the blocks of a GGUF file.
func (q *Quant) SetRow(r int, src []byte) {
	if size := q.Format.Bytes(); r < 0 || r >= q.Rows || len(src) != q.Cols/quantBlock*size {
		panic(fmt.Sprintf("kernel: row %d of %d bytes for a quantised matrix of %d x %d", r, len(src), q.Rows, q.Cols))
	}
	heads, lane := q.Format.heads(), r%quantGroup
	for block := 0; len(src) > 0; block++ {
		dst := q.group(r/quantGroup, block)
		for h := 0; h < heads; h += 2 {
			copy(dst[quantGroup*h+2*lane:], src[h:h+2])
		}
		dst = dst[quantGroup*heads:]
		for i, b := range src[heads:q.Format.Bytes()] {
			dst[q.Format.place(lane, i)] = b
		}
		src = src[q.Format.Bytes():]
	}
}

// place returns where byte i of a row's numbers lies among those of its group.
func (f QuantFormat) place(lane, i int) int {
	if f == Q8_0 {
		return quantGroup*i + lane
	}
	return quantGroup*(i&^3) + 4*lane + i&3
}

// Row widens row r to dst.
func (q *Quant) Row(dst []float32, r int) {
	if r < 0 || r >= q.Rows || len(dst) != q.Cols {
		panic(fmt.Sprintf("kernel: row %d to %d numbers of a quantised matrix of %d x %d", r, len(dst), q.Rows, q.Cols))
	}
	for block := 0; block*quantBlock < q.Cols; block++ {
		q.Format.widenLane(q.group(r/quantGroup, block), r%quantGroup, dst[block*quantBlock:], 1)
	}
}

// Columns widens columns lo to hi of all rows, transposed: dst is [hi-lo][Rows]. lo and hi must be multiples of 32.
func (q *Quant) Columns(dst []float32, lo, hi int) {
	if lo%quantBlock != 0 || hi%quantBlock != 0 || lo < 0 || hi > q.Cols || len(dst) != (hi-lo)*q.Rows {
		panic(fmt.Sprintf("kernel: columns %d to %d of a quantised matrix of %d x %d into %d numbers", lo, hi, q.Rows, q.Cols, len(dst)))
	}
	for r := range q.Rows {
		for block := lo / quantBlock; block < hi/quantBlock; block++ {
			q.Format.widenLane(q.group(r/quantGroup, block), r%quantGroup, dst[(block*quantBlock-lo)*q.Rows+r:], q.Rows)
		}
	}
}

// widenLane widens the block of one row of a group to dst[0], dst[step] and so on.
func (f QuantFormat) widenLane(src []byte, lane int, dst []float32, step int) {
	d := float16(src[2*lane:])
	var m float32
	if f == Q4_1 {
		m = float16(src[2*quantGroup+2*lane:])
	}
	src = src[quantGroup*f.heads():]
	if f == Q8_0 {
		for i := range quantBlock {
			dst[i*step] = d * float32(int8(src[f.place(lane, i)]))
		}
		return
	}
	for i := range quantBlock / 2 {
		b := src[f.place(lane, i)]
		if f == Q4_0 {
			dst[i*step] = d * float32(int(b&15)-8)
			dst[(i+16)*step] = d * float32(int(b>>4)-8)
			continue
		}
		// the conversions keep compilers of other CPUs from fusing product and sum
		dst[i*step] = float32(d*float32(b&15)) + m
		dst[(i+16)*step] = float32(d*float32(b>>4)) + m
	}
}

// float16 widens an IEEE 754 binary16 number, exactly.
func float16(b []byte) float32 {
	h := uint32(binary.LittleEndian.Uint16(b))
	sign, exp, man := h&0x8000<<16, h>>10&31, h&0x3ff
	switch exp {
	case 0: // zero and subnormals
		return math.Float32frombits(math.Float32bits(float32(man)/(1<<24)) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// widenGo writes blocks of a group's bytes as rows of 16 floats, ldd apart.
func widenGo(f QuantFormat, blocks int, src []byte, dst []float32, ldd int) {
	for b := range blocks {
		for lane := range quantGroup {
			f.widenLane(src[b*quantGroup*f.Bytes():], lane, dst[b*quantBlock*ldd+lane:], ldd)
		}
	}
}
