// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/metalpack/metalpack/internal/cachedir"
)

// Kinds of what lies in the cache.
const (
	KindLayer       = "layers"
	KindInterpreter = "interpreters"
	KindPlan        = "plans"   // what is remembered of whole builds
	KindPartial     = "partial" // what a killed build left
)

// CacheItems lists what lies in the cache directory of builds: each layer in
// each codec, and what is remembered of interpreters. Builds share a lock on the directory;
// who removes items takes it alone. A directory that is not there has none.
func CacheItems(dir string) (items []cachedir.Item, err error) {
	root := os.DirFS(dir)
	for pattern, kind := range map[string]string{"layers/*/*": KindLayer, "interpreters/*": KindInterpreter, "plans/*": KindPlan} {
		names, err := fs.Glob(root, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			file, kind := filepath.Join(dir, filepath.FromSlash(name)), kind
			paths := []string{file + ".json", file}
			if stem, ok := strings.CutSuffix(file, ".tar"); ok && kind == KindInterpreter {
				paths[0] = stem + ".json"
			}
			switch base := path.Base(name); {
			case strings.HasSuffix(base, tempSuffix), strings.HasPrefix(base, "."):
				kind = KindPartial
			case strings.HasSuffix(base, ".json"):
				stem := strings.TrimSuffix(file, ".json")
				if exists(stem) || kind == KindInterpreter && exists(stem+".tar") {
					continue // belongs to its blob or archive
				}
			}
			item, ok, err := cachedir.NewItem(kind, paths...)
			if err != nil {
				return nil, err
			}
			if ok {
				items = append(items, item)
			}
		}
	}
	return items, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
