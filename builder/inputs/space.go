// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"os"

	"github.com/metalpack/metalpack/internal/diskspace"
)

// lacks is how many bytes are still to come, as far as sizes are known.
func (j *job) lacks() (n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, w := range j.wants {
		if _, err := os.Stat(j.Cache.Path(w.SHA256)); err == nil {
			continue
		}
		size := max(w.Size, j.sizes[w.SHA256])
		if info, err := os.Stat(j.Cache.partialPath(w.SHA256)); err == nil {
			size -= info.Size()
		}
		n += max(size, 0)
	}
	return n
}

// checkSpace compares what is still to come with what is free.
func (j *job) checkSpace() error { return diskspace.Check(j.Cache.dir, j.lacks()) }

// spaceError says of an error of a full disk how much room there should be.
func (j *job) spaceError(err error) error {
	return diskspace.Explain(err, j.Cache.dir, j.lacks())
}
