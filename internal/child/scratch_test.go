// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestScratch(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, name := range []string{"x-1/left/by a killed one", "x-mine", "x-", "y-1"} {
		if err := os.MkdirAll(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, "x-2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := NewScratch(parent, "x-")
			if err != nil {
				t.Error(err)
				return
			}
			other, err := NewScratch(parent, "x-")
			if err != nil {
				t.Error(err)
				return
			}
			if info, err := os.Stat(s.Path); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info, err)
			}
			if err := other.Remove(); err != nil {
				t.Error(err)
			}
			if err := s.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 4 { // all but x-1
		t.Errorf("%v, %v", entries, err)
	}
}
