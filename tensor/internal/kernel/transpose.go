package kernel

// Transpose writes dst[j*ldd+i] = src[i*lds+j] for i < rows and j < cols.
func Transpose(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	checkMatrix("the matrix to transpose", rows, cols, src, lds)
	checkMatrix("its transpose", cols, rows, dst, ldd)
	doneRows, doneCols := transposeBlocks(rows, cols, src, lds, dst, ldd)
	for i := range rows {
		from := 0
		if i < doneRows {
			from = doneCols
		}
		row := src[i*lds : i*lds+cols]
		for j := from; j < cols; j++ {
			dst[j*ldd+i] = row[j]
		}
	}
}
