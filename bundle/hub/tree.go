// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Caps on the file list of a commit.
const (
	MaxPages = 128     // of the list
	MaxFiles = 32768   // and directories
	MaxFile  = 1 << 40 // bytes of one file
)

// treeEntry is a row of the hub's file list.
type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// Files lists the files of the commit, sorted by path. The list is fetched once.
// Errors: [*Error] around [bundle.ErrNotFound], [bundle.ErrUnauthorized],
// [bundle.ErrUnavailable], [bundle.ErrUnreachable], or [bundle.ErrInvalid] for a
// list that breaks a rule or a cap.
func (r *Repo) Files(ctx context.Context) ([]File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.listed {
		files, err := r.list(ctx)
		if err != nil {
			return nil, err
		}
		r.files, r.listed = files, true
	}
	return slices.Clone(r.files), nil
}

// list fetches the list page by page.
func (r *Repo) list(ctx context.Context) ([]File, error) {
	about := subject{r.name, r.commit, ""}
	address := r.s.base + "/api/models/" + r.name + "/tree/" + r.commit + "?recursive=true"
	var files []File
	rows := 0
	for page := 1; address != ""; page++ {
		if page > MaxPages {
			return nil, r.s.fail(ctx, about, fmt.Errorf("the file list has more than %d pages: %w", MaxPages, bundle.ErrInvalid))
		}
		data, header, err := r.s.document(ctx, about, address)
		if err != nil {
			return nil, err
		}
		some, n, err := parseTree(data)
		if rows += n; err == nil && rows > MaxFiles {
			err = fmt.Errorf("more than %d files: %w", MaxFiles, bundle.ErrInvalid)
		}
		files = append(files, some...)
		if err == nil {
			address, err = r.s.nextPage(header)
		}
		if err != nil {
			return nil, r.s.fail(ctx, about, fmt.Errorf("file list: %w", err))
		}
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	for i := range files[min(1, len(files)):] {
		if files[i].Path == files[i+1].Path {
			return nil, r.s.fail(ctx, about, fmt.Errorf("file list: %q twice: %w", files[i].Path, bundle.ErrInvalid))
		}
	}
	return files, nil
}

// parseTree reads one page of the list and tells how many rows it has. Errors
// wrap [bundle.ErrInvalid].
func parseTree(data []byte) (files []File, rows int, err error) {
	var page []treeEntry
	if err := bundle.DecodeStrict(data, &page); err != nil {
		return nil, 0, err
	}
	for _, e := range page {
		if err := bundle.CheckPath(e.Path); err != nil {
			return nil, 0, err
		}
		if e.Type == "directory" {
			continue
		}
		f, err := e.file()
		if err != nil {
			return nil, 0, fmt.Errorf("%q: %w: %w", e.Path, err, bundle.ErrInvalid)
		}
		files = append(files, f)
	}
	return files, len(page), nil
}

// file checks a row.
func (e treeEntry) file() (File, error) {
	f := File{Path: e.Path, Size: e.Size}
	switch {
	case e.Type != "file":
		return File{}, fmt.Errorf("type %.40q", e.Type)
	case e.Size < 0 || e.Size > MaxFile:
		return File{}, fmt.Errorf("size %d", e.Size)
	case e.LFS == nil:
		if f.GitID = e.OID; !isCommit.MatchString(e.OID) {
			return File{}, fmt.Errorf("git id %.80q", e.OID)
		}
		return f, nil
	case e.LFS.Size != e.Size:
		return File{}, fmt.Errorf("size %d, in LFS %d", e.Size, e.LFS.Size)
	}
	if f.SHA256 = strings.TrimPrefix(e.LFS.OID, "sha256:"); !isSHA256.MatchString(f.SHA256) {
		return File{}, fmt.Errorf("sha256 %.80q", e.LFS.OID)
	}
	return f, nil
}

// relNext finds the address of the next page in a Link header.
var relNext = regexp.MustCompile(`<([^<>]*)>\s*;\s*rel="?next"?\s*(?:[;,]|$)`)

// nextPage is the address of the next page, "" after the last. It must be the
// hub's own.
func (s *session) nextPage(h http.Header) (string, error) {
	m := relNext.FindStringSubmatch(strings.Join(h.Values("Link"), ", "))
	if m == nil {
		return "", nil
	}
	to, err := s.endpoint.Parse(m[1])
	if err != nil {
		return "", fmt.Errorf("the address of its next page does not parse: %w", bundle.ErrInvalid)
	}
	if !s.isHome(to) || to.User != nil {
		return "", fmt.Errorf("its next page is said to be on %s: %w", hostOf(to), bundle.ErrInvalid)
	}
	return to.String(), nil
}

func hostOf(u *url.URL) string { return u.Scheme + "://" + u.Host }
