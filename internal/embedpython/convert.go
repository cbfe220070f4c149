// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package embedpython

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// mtime of every entry: 1980-01-02, so that no time zone falls before 1980,
// which zip files cannot say.
const mtime = 315619200

// maxIndex caps files.json; the real ones have 80 kB.
const maxIndex = 4 << 20

// Bits of perm in files.json, which is a Go fs.FileMode.
const (
	modeDir     = 1 << 31
	modeSymlink = 1 << 27
)

// entry is one row of files.json.
type entry struct {
	Name       string `json:"name"`
	Size       int64  `json:"size"` // of the content as unpacked
	Perm       uint32 `json:"perm"`
	Symlink    string `json:"symlink"`    // relative target; links exist only here
	Compressed bool   `json:"compressed"` // the bytes are in NAME.gz
}

// tarName is the entry's name in the tar.
func (e entry) tarName() string {
	if e.Perm&modeDir != 0 {
		return "python/" + e.Name + "/"
	}
	return "python/" + e.Name
}

// Write writes the interpreter for platform from the module in dir to w. The
// error wraps [bundle.ErrMismatch] when the bytes, already written, are not
// those of [Outputs].
func Write(ctx context.Context, dir, platform string, w io.Writer) error {
	out, err := Find(platform)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := convert(ctx, dataDir(dir, platform), io.MultiWriter(w, sum)); err != nil {
		return fmt.Errorf("embedpython: %s: %w", platform, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != out.SHA256 {
		return fmt.Errorf("embedpython: %s: wrote sha256 %s, want %s: %w", platform, got, out.SHA256, bundle.ErrMismatch)
	}
	return nil
}

// convert writes the tar of one data directory.
func convert(ctx context.Context, data string, w io.Writer) error {
	entries, err := readIndex(data)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	tw := tar.NewWriter(buffered)
	if err := tw.WriteHeader(header(tar.TypeDir, "python/", 0o755)); err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeEntry(tw, data, e); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// readIndex returns the entries to write, in the order of the tar: by the
// bytes of the name, a directory's trailing slash included.
func readIndex(data string) (entries []entry, err error) {
	f, err := os.Open(filepath.Join(data, "files.json"))
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	var index struct {
		Files []entry `json:"files"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxIndex)).Decode(&index); err != nil {
		return nil, fmt.Errorf("files.json: %w", err)
	}
	for _, e := range index.Files {
		if err := bundle.CheckPath(e.Name); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(e.Name, "bin/pip") {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.tarName(), b.tarName()) })
	return entries, nil
}

// writeEntry writes one directory, link or file.
func writeEntry(tw *tar.Writer, data string, e entry) (err error) {
	switch {
	case e.Perm&modeDir != 0:
		return tw.WriteHeader(header(tar.TypeDir, e.tarName(), 0o755))
	case e.Perm&modeSymlink != 0:
		h := header(tar.TypeSymlink, e.tarName(), 0o777)
		h.Linkname = e.Symlink
		return tw.WriteHeader(h)
	}
	content, err := openContent(data, e)
	if err != nil {
		return err
	}
	defer fsatomic.CloseErr(&err, content)
	var r io.Reader = content
	size := e.Size
	if strings.HasPrefix(path.Base(e.Name), "libpython3.12.so.") {
		if r, size, err = cutELF(content); err != nil {
			return err
		}
	}
	h := header(tar.TypeReg, e.tarName(), 0o644)
	if e.Perm&0o111 != 0 {
		h.Mode = 0o755
	}
	h.Size = size
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(tw, r, size)
	return err
}

func header(typeflag byte, name string, mode int64) *tar.Header {
	return &tar.Header{Typeflag: typeflag, Name: name, Mode: mode, ModTime: time.Unix(mtime, 0), Format: tar.FormatUSTAR}
}

// openContent opens the bytes of a file, unpacked.
func openContent(data string, e entry) (io.ReadCloser, error) {
	name := filepath.Join(data, filepath.FromSlash(e.Name))
	if !e.Compressed {
		return os.Open(name)
	}
	f, err := os.Open(name + ".gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		_ = f.Close() // nothing was read that could be lost
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}
