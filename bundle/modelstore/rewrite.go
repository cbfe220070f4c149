// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"fmt"
	"path/filepath"

	"github.com/metalpack/metalpack/internal/fsatomic"
)

// rewriteTries is how often a change to models.json that another writer has
// undone is made again.
const rewriteTries = 5

// rewrite changes models.json and looks whether the change stays: DMR takes no
// lock, so its own write may have begun before ours and end after it. lost is
// what is wrong when it never does.
func (s *Store) rewrite(done func(*index) bool, change func(*index) ([]byte, error), lost error) error {
	path := filepath.Join(s.dir, "models.json")
	for range rewriteTries {
		x, err := s.readIndex()
		if err != nil {
			return err
		}
		if done(x) {
			return nil
		}
		data, err := change(x)
		if err != nil {
			return err
		}
		if _, err := parseIndex(data); err != nil { // never write what cannot be read
			return err
		}
		if err := fsatomic.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		if err := s.reached("rewritten"); err != nil {
			return err
		}
	}
	x, err := s.readIndex()
	if err == nil && !done(x) {
		err = fmt.Errorf("%s: %w", path, lost)
	}
	return err
}
