// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// TestManyBlobs (HOSTILE M4): a directory of blobs without end is not listed to its
// end.
func TestManyBlobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("%064d", i)
		want = append(want, "blobs/sha256/"+name)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for most, refused := range map[int]bool{19: true, 20: false, 21: false} {
		f, err := os.DirFS(dir).Open(".")
		if err != nil {
			t.Fatal(err)
		}
		listed, ok := f.(fs.ReadDirFile)
		if !ok {
			t.Fatalf("%T lists nothing", f)
		}
		got, err := blobNames(listed, most)
		if errors.Is(err, bundle.ErrInvalid) != refused || refused && !strings.Contains(err.Error(), "blobs/sha256: more than 19 files") {
			t.Errorf("%d: %v", most, err)
		}
		if !refused && !cmp.Equal(got, want) {
			t.Error(cmp.Diff(want, got))
		}
		_ = f.Close()
	}
}
