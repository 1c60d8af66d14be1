package nano

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/task"
)

// heldOut reports whether countdown keeps this set of numbers, in any order, out of its training split. Such sets never stand together in
// the corpus, so that an evaluation on held-out problems meets no set of numbers from pretraining. The key is the one that package task
// derives from a problem; a test holds both together.
func heldOut(numbers []int) bool {
	sorted := slices.Sorted(slices.Values(numbers))
	group := strings.Trim(fmt.Sprint(sorted), "[]")
	sum := sha256.Sum256([]byte("countdown split\n" + group))
	p := task.Problem{SplitKey: binary.LittleEndian.Uint64(sum[:])}
	return task.SplitOf(&p, task.DefaultSplits) != task.Train
}
