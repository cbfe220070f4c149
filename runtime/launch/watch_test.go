// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// An engine that writes faster than its log is read keeps nobody waiting, and
// what it said last is found.
func TestHugeLog(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "engine.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const size = 1 << 30 // sparse
	if _, err := f.WriteAt([]byte("\n"+tracebackMark+"\n  File \"x.py\"\nMemoryError: out of it\n"), size); err != nil {
		t.Fatal(err)
	}
	w := &watcher{file: f}
	for n := int64(1); n <= 2; n++ {
		if found, err := w.poll(); err != nil || w.offset != n*maxPoll || found.traceback != "" || len(w.partial) > 2*maxLine {
			t.Errorf("look %d: at %d, %+v, %v", n, w.offset, found, err)
		}
	}
	if found, err := w.final(); err != nil || !strings.HasSuffix(found.traceback, "MemoryError: out of it") {
		t.Errorf("%+v, %v", found, err)
	}
}

// An engine that is killed in the middle of a line said it all the same.
func TestLastLineWithoutEnd(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "engine.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(tracebackMark + "\n  File \"x.py\"\nMemoryError: no room"); err != nil {
		t.Fatal(err)
	}
	w := &watcher{file: f, profile: bundle.Profile{Failures: []bundle.KnownFailure{{Line: "no room", Hint: "make some"}}}}
	if found, err := w.poll(); err != nil || found.complete || found.advice != "" {
		t.Errorf("while it is written: %+v, %v", found, err)
	}
	if found, err := w.final(); err != nil || !found.complete || found.advice != "make some" || found.last != "MemoryError: no room" {
		t.Errorf("%+v, %v", found, err)
	}
}
