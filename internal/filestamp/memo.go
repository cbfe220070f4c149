// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package filestamp

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// settled is the age from which on a stamp identifies a state: a change hides
// in the tick of the clock in which another one was made, which is 2 s on the
// coarsest file systems.
const settled = 3 * time.Second

// KindDigest is the kind of what a memo keeps in a cache.
const KindDigest = "digests"

// Memo remembers the sha256 of files that others own, in a directory: a record
// per file, named after its device and inode, so that a file can be moved. Several
// processes may use it at once. What cannot be written is not remembered.
type Memo struct {
	dir   string
	since time.Time
}

// NewMemo opens the memo in a directory, which is made when first written to.
// since is a time before any state that will be remembered was seen.
func NewMemo(dir string, since time.Time) *Memo { return &Memo{dir, since} }

// Recall returns the sha256 of a file in that state, 64 hex digits, or "".
func (m *Memo) Recall(info fs.FileInfo) string {
	now, ok := Of(info)
	if !ok {
		return ""
	}
	record, err := os.ReadFile(m.path(now))
	if err != nil {
		return ""
	}
	sum, ok := strings.CutPrefix(string(record), now.String())
	if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 {
		return ""
	}
	cachedir.Touch(m.path(now))
	return sum
}

// Remember notes the sha256 of a file that was in that state before it was
// hashed, unless it had been changed only a moment ago.
func (m *Memo) Remember(info fs.FileInfo, sha256 string) {
	was, ok := Of(info)
	if !ok || m.since.Sub(was.Changed()) < settled || os.MkdirAll(m.dir, 0o755) != nil {
		return
	}
	_ = fsatomic.WriteFile(m.path(was), []byte(was.String()+sha256), 0o644) // without it the file is hashed again
}

// Changed is when the file or its inode last changed, to the second.
func (s Stamp) Changed() time.Time {
	content, inode := time.Unix(s.mtime.Unix()), time.Unix(s.ctime.Unix())
	if content.After(inode) {
		return content
	}
	return inode
}

// Items lists the records in the directory of a memo. Nobody waits for their
// removal: a record that is gone is a file that is hashed again.
func Items(dir string) (items []cachedir.Item, err error) {
	records, err := fs.Glob(os.DirFS(dir), "*")
	if err != nil {
		return nil, err
	}
	for _, name := range records {
		item, ok, err := cachedir.NewItem(KindDigest, filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if ok {
			items = append(items, item)
		}
	}
	return items, nil
}

func (m *Memo) path(s Stamp) string {
	return filepath.Join(m.dir, fmt.Sprintf("%d-%d", s.dev, s.inode))
}
