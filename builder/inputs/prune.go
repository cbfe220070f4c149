// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Kinds of what lies in the cache.
const (
	KindInput   = "inputs"
	KindPartial = "partial" // a file that is not all there, or what a killed process left
)

// Items lists the files in the cache, and the partial ones.
func (c *Cache) Items() (items []cachedir.Item, err error) {
	add := func(kind string, paths ...string) error {
		item, ok, err := cachedir.NewItem(kind, paths...)
		if ok {
			items = append(items, item)
		}
		return err
	}
	partials, err := filepath.Glob(filepath.Join(globQuote(c.dir), "partial", "*"))
	if err != nil {
		return nil, err
	}
	for _, p := range partials {
		if err := add(KindPartial, p); err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob(filepath.Join(globQuote(c.dir), "sha256", "*", "*"))
	if err != nil {
		return nil, err
	}
	for _, p := range files {
		switch name := filepath.Base(p); {
		case fsatomic.IsTemp(name):
			err = add(KindPartial, p)
		case checkSum(name) == nil:
			err = add(KindInput, p+recordSuffix, p)
		case strings.HasSuffix(name, recordSuffix): // without its file it says nothing
			if _, serr := os.Lstat(strings.TrimSuffix(p, recordSuffix)); serr != nil {
				err = add(KindPartial, p)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return items, nil
}
