// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package timing

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	ours := bytes.Repeat([]byte{1}, 100_000_000) // what this program takes is not the others'
	took, err := Measure(t.Context(), out, exec.CommandContext(t.Context(), "printf", "a b"), exec.CommandContext(t.Context(), "sh", "-c", "tr a c; sleep 0.05"))
	if err != nil || took.Wall <= 0 || took.RSS >= int64(len(ours)/1000) || took.RSS <= 0 && goruntime.GOOS == "linux" {
		t.Errorf("%+v, %v", took, err)
	}
	if data, err := os.ReadFile(out); err != nil || string(data) != "c b" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := Measure(t.Context(), out, exec.CommandContext(t.Context(), "sh", "-c", "echo why >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("got %v", err)
	}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	all := func(seconds ...time.Duration) (all []Sample) {
		for _, s := range seconds {
			all = append(all, Sample{Wall: s * time.Second})
		}
		return all
	}
	if got := Ratios(all(10, 40, 90), all(5, 10, 15), Seconds); got != 4 {
		t.Errorf("median of 2, 4 and 6 is %v", got)
	}
	if got := Median(all(1, 4), Seconds); got != 2.5 {
		t.Errorf("median of 1 and 4 is %v", got)
	}
}
