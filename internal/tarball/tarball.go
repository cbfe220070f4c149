// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package tarball owns the tar streams of environment layers.
//
// Start with [Write], which writes a list of files and symlinks and the
// directories above them.
//
// # How it works
//
// Entries are sorted by the bytes of their names, a directory's trailing slash
// included, so that every directory comes directly before what is in it. Headers
// are USTAR; PAX is used for the entries alone that USTAR cannot hold (long or
// non-ASCII names, files of 8 GiB and more).
//
// # Promises
//
// The same entries give the same bytes on every host, at any time, whatever
// umask, time zone or order of the list: owner 0 without a name, modes 0755 and
// 0644, mtime [ModTime] always. A change of these bytes is a change of
// [FormatVersion], because layer identities hold it.
package tarball

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/ctxio"
)

// FormatVersion names the rules that turn entries into bytes.
const FormatVersion = 1

// ModTime is the mtime of every entry: 1980-01-02, so that no time zone falls
// before 1980, which zip files cannot say.
const ModTime = 315619200

// Limits of a USTAR header, POSIX.1-1988.
const (
	ustarName   = 100
	ustarPrefix = 155
	ustarSize   = 1<<33 - 1
)

// Entry is one file or symlink.
type Entry struct {
	Name       string // relative, slash-separated, clean
	Link       string // target of a symlink; "" for a file
	Executable bool
	Size       int64
	Open       func() (io.ReadCloser, error) // the content of a file
}

// Write writes entries, and the directories above them, as one tar stream. It
// reads each content to its end, so that a verifying reader has its say. Errors
// are those of the contents and of w; [bundle.ErrInvalid] for two entries of one
// name or a name that is none; [bundle.ErrMismatch] for a content that is not
// Size bytes long.
func Write(ctx context.Context, w io.Writer, entries []Entry) error {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	tw := tar.NewWriter(w)
	seen := map[string]bool{} // name -> is a directory
	buf := make([]byte, 256<<10)
	for _, e := range sorted {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := bundle.CheckPath(e.Name); err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		if err := writeParents(tw, e.Name, seen); err != nil {
			return err
		}
		if _, twice := seen[e.Name]; twice {
			return fmt.Errorf("tar: %q appears twice: %w", e.Name, bundle.ErrInvalid)
		}
		seen[e.Name] = false
		if err := writeEntry(ctx, tw, e, buf); err != nil {
			return fmt.Errorf("tar: %q: %w", e.Name, err)
		}
	}
	return tw.Close()
}

// writeParents writes the headers of the directories above name that have not
// been written. In a sorted list that keeps the stream sorted too: all names in
// a directory are neighbours, and its own sorts right before them.
func writeParents(tw *tar.Writer, name string, seen map[string]bool) error {
	dir := path.Dir(name)
	if dir == "." || seen[dir] {
		return nil
	}
	if _, file := seen[dir]; file {
		return fmt.Errorf("tar: %q is a file and a directory: %w", dir, bundle.ErrInvalid)
	}
	if err := writeParents(tw, dir, seen); err != nil {
		return err
	}
	seen[dir] = true
	return tw.WriteHeader(header(tar.TypeDir, dir+"/", "", 0o755, 0))
}

func writeEntry(ctx context.Context, tw *tar.Writer, e Entry, buf []byte) (err error) {
	if e.Link != "" {
		return tw.WriteHeader(header(tar.TypeSymlink, e.Name, e.Link, 0o777, 0))
	}
	mode := int64(bundle.ModeFile)
	if e.Executable {
		mode = bundle.ModeExecutable
	}
	if err := tw.WriteHeader(header(tar.TypeReg, e.Name, "", mode, e.Size)); err != nil {
		return err
	}
	content, err := e.Open()
	if err != nil {
		return err
	}
	defer func() {
		if cerr := content.Close(); err == nil {
			err = cerr
		}
	}()
	n, err := io.CopyBuffer(struct{ io.Writer }{tw}, ctxio.Reader(ctx, content), buf) // tw alone, or its ReadFrom would not use buf
	if errors.Is(err, tar.ErrWriteTooLong) {
		return fmt.Errorf("more than %d bytes: %w", e.Size, bundle.ErrMismatch)
	}
	if err == nil && n != e.Size {
		err = fmt.Errorf("%d bytes, want %d: %w", n, e.Size, bundle.ErrMismatch)
	}
	return err
}

// header returns the one header that an entry can have.
func header(typeflag byte, name, link string, mode, size int64) *tar.Header {
	h := &tar.Header{
		Typeflag: typeflag, Name: name, Linkname: link, Mode: mode, Size: size,
		ModTime: time.Unix(ModTime, 0), Format: tar.FormatPAX,
	}
	if fitsUSTAR(name) && isASCII(link) && len(link) <= ustarName && size <= ustarSize {
		h.Format = tar.FormatUSTAR
	}
	return h
}

// fitsUSTAR reports whether a name fits the name and prefix fields, split at a
// slash as archive/tar splits it.
func fitsUSTAR(name string) bool {
	if !isASCII(name) {
		return false
	}
	if len(name) <= ustarName {
		return true
	}
	end := min(len(strings.TrimSuffix(name, "/")), ustarPrefix+1)
	i := strings.LastIndexByte(name[:end], '/')
	rest := len(name) - i - 1
	return i > 0 && rest > 0 && rest <= ustarName
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
