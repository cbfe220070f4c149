// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// directory is a directory on disk, or a snapshot of a Hugging Face cache.
type directory struct{ dir string }

// Dir is the origin of the files in a directory. Directories whose name begins
// with a dot are not looked into. A link is followed in a snapshot of a Hugging
// Face cache alone, and there only to the blobs of its repository.
func Dir(dir string) Origin { return directory{dir} }

// place is a directory with its links resolved.
type place struct {
	root  string
	cache string // blobs of the Hugging Face cache it belongs to; "" = follow no link
	facts Facts
}

// commit is what a snapshot is named after.
var commit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// resolve finds the directory. The directory itself may be a link; what is in
// it may not.
func (d directory) resolve() (place, error) {
	root, err := filepath.EvalSymlinks(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return place{}, fmt.Errorf("model directory %s: %w", d.dir, bundle.ErrNotFound)
	}
	if err != nil {
		return place{}, err
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return place{}, invalid("model %s: not a directory", d.dir)
	}
	if root, err = filepath.Abs(root); err != nil {
		return place{}, err
	}
	p := place{root: root}
	snapshots := filepath.Dir(root)
	repo := filepath.Dir(snapshots)
	if filepath.Base(snapshots) != "snapshots" || !strings.HasPrefix(filepath.Base(repo), "models--") {
		return p, nil
	}
	p.cache = filepath.Join(repo, "blobs")
	if name := hubRepository(filepath.Base(repo)); name != "" && commit.MatchString(filepath.Base(root)) {
		p.facts = Facts{Source: hubAddress + name, Revision: filepath.Base(root)}
	}
	return p, nil
}

// List implements [Origin]. Errors: [bundle.ErrNotFound], [bundle.ErrInvalid]
// for what is no directory.
func (d directory) List(ctx context.Context) (*Listing, error) {
	at, err := d.resolve()
	if err != nil {
		return nil, err
	}
	l := &Listing{Name: d.dir, Facts: at.facts}
	err = filepath.WalkDir(at.root, func(disk string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case disk == at.root:
			return nil
		case entry.IsDir() && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		f, err := at.file(disk)
		l.Files = append(l.Files, f)
		return err
	})
	return l, err
}

// file describes what lies at a path on disk.
func (p place) file(disk string) (OriginFile, error) {
	rel, err := filepath.Rel(p.root, disk)
	if err != nil {
		return OriginFile{}, err
	}
	f := OriginFile{Path: filepath.ToSlash(rel)}
	info, err := os.Lstat(disk)
	if err != nil {
		return f, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if to := p.follow(disk); to != "" {
			if info, err = os.Lstat(to); err != nil {
				return f, err
			}
		}
	}
	f.Size, f.Type = info.Size(), info.Mode().Type()
	return f, nil
}

// follow resolves a link of a Hugging Face cache; "" if it leads elsewhere.
func (p place) follow(disk string) string {
	if p.cache == "" {
		return ""
	}
	to, err := filepath.EvalSymlinks(disk)
	if err != nil || filepath.Dir(to) != p.cache {
		return ""
	}
	return to
}

// Open implements [Origin].
func (d directory) Open(_ context.Context, path string, offset int64) (_ io.ReadCloser, err error) {
	at, err := d.resolve()
	if err != nil {
		return nil, err
	}
	disk := filepath.Join(at.root, filepath.FromSlash(path))
	if info, err := os.Lstat(disk); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if disk = at.follow(disk); disk == "" {
			return nil, fmt.Errorf("%s: became a link that leads elsewhere: %w", path, bundle.ErrMismatch)
		}
	}
	f, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, closeAfter(err, f)
	}
	return f, nil
}

func closeAfter(err error, c io.Closer) error {
	fsatomic.CloseErr(&err, c)
	return err
}
