// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/metalpack/metalpack/internal/fsatomic"
)

// rewriteTries is how often a change to models.json that another writer has
// undone is made again, and rewriteLooks how often it is begun anew because
// another writer came in between.
const (
	rewriteTries = 5
	rewriteLooks = 100
)

// rewrite changes models.json and looks whether the change stays: DMR takes no
// lock, so its own write may have begun before ours and end after it. lost is
// what is wrong when it never does.
func (s *Store) rewrite(done func(*index) bool, change func(*index) ([]byte, error), lost error) error {
	tries := 0
	for range rewriteLooks {
		x, err := s.readIndex()
		if err != nil {
			return err
		}
		if done(x) {
			return nil
		}
		if tries == rewriteTries {
			break
		}
		data, err := change(x)
		if err != nil {
			return err
		}
		written, err := s.replaceIndex(x, data)
		if err != nil {
			return err
		}
		if !written {
			continue
		}
		tries++
		if err := s.reached("rewritten"); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", s.indexPath(), lost)
}

// replaceIndex puts data in the place of models.json, unless that is no longer
// what x was read from. To sync takes a while, in which DMR may add a model: so
// that its entry is not lost, the last look comes after it.
func (s *Store) replaceIndex(x *index, data []byte) (written bool, err error) {
	if _, err := parseIndex(data); err != nil { // never write what cannot be read
		return false, err
	}
	temp := s.indexPath() + ".tmp-metalpack" // ours alone: we have the lock
	if err := fsatomic.WriteFile(temp, data, 0o644); err != nil {
		return false, err
	}
	defer func() {
		if !written {
			err = errors.Join(err, removeIfThere(temp))
		}
	}()
	if err := s.reached("synced"); err != nil {
		return false, err
	}
	now, err := s.readIndex()
	if err != nil || !bytes.Equal(now.data, x.data) {
		return false, err
	}
	err = fsatomic.Rename(temp, s.indexPath())
	return err == nil, err
}

// indexPath is where models.json lies.
func (s *Store) indexPath() string { return filepath.Join(s.dir, "models.json") }
