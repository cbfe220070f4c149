// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/cachedir"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Caps on an interpreter archive. The real ones have 4,000 entries and unpack to
// 0.1 GB, or 0.4 with debug data.
const (
	maxInterpreter        = 1 << 30
	maxInterpreterEntries = 30_000
	maxInterpreterNames   = 4 << 20 // bytes of all names and of what links name; real ones have 0.3 MB
)

// scanVersion is the version of the file that a scan is remembered in.
const scanVersion = 1

// interpreterScan is what one pass over an archive found: all of it, whatever
// the recipe strips. It is remembered in the cache, so that the next build
// neither hashes nor expands the archive.
type interpreterScan struct {
	Version  int           `json:"version"`  // scanVersion
	Expanded int64         `json:"expanded"` // bytes of the copy in the cache; 0 = the archive is a plain tar
	Files    []scannedFile `json:"files"`    // in the order of the archive
	Links    []scannedLink `json:"links"`
}

type scannedFile struct {
	Path       string `json:"path"`
	Executable bool   `json:"executable,omitempty"`
	Size       int64  `json:"size"`
	SHA256     string `json:"sha256"`
	Offset     int64  `json:"offset"`            // of the content in the tar
	Machine    string `json:"machine,omitempty"` // of bin/python*: what it runs on
}

type scannedLink struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// interpreterStore is where an archive and what is known of it lie.
type interpreterStore struct {
	archive Interpreter
	memo    string // file of the scan
	copy    string // file of the expanded archive
	keep    bool   // whether memo and copy may be written
	most    int64  // bytes that the archive may unpack to
}

func newInterpreterStore(in *Input, keep bool) (*interpreterStore, error) {
	if err := bundle.CheckDigest(digest.NewDigestFromEncoded(digest.SHA256, in.Interpreter.SHA256)); err != nil {
		return nil, err
	}
	dir := filepath.Join(in.CacheDir, "interpreters")
	place := filepath.Join(dir, in.Interpreter.SHA256)
	s := &interpreterStore{in.Interpreter, place + ".json", place + ".tar", keep, maxInterpreter}
	if !keep {
		return s, nil
	}
	return s, os.MkdirAll(dir, 0o755)
}

// content is the plain tar in which the offsets of a scan are valid.
func (s *interpreterStore) content(scan *interpreterScan) string {
	if scan.Expanded > 0 {
		return s.copy
	}
	return s.archive.Path
}

// forget removes what is remembered: something of it was wrong.
func (s *interpreterStore) forget() error { return removeAll(s.memo, s.copy) }

// load returns the scan of the archive, remembered or made.
func (s *interpreterStore) load(ctx context.Context) (*interpreterScan, error) {
	if scan := s.recall(); scan != nil {
		return scan, nil
	}
	scan, err := s.scan(ctx)
	if err != nil || !s.keep {
		return scan, err
	}
	return scan, writeMemo(s.memo, scan)
}

// recall returns the remembered scan, or nil. A memo that is damaged, of
// another version or without its expanded copy counts as none.
func (s *interpreterStore) recall() *interpreterScan {
	scan := new(interpreterScan)
	if !readMemo(s.memo, scan) || scan.Version != scanVersion {
		return nil
	}
	if scan.Expanded > 0 {
		if info, err := os.Stat(s.copy); err != nil || info.Size() != scan.Expanded {
			return nil
		}
	}
	if s.keep {
		cachedir.Touch(s.memo)
	}
	return scan
}

// scan reads the archive once: it checks its sha256, hashes every file and notes
// where it lies. A compressed archive is expanded into the cache on the way.
func (s *interpreterStore) scan(ctx context.Context) (_ *interpreterScan, err error) {
	f, err := os.Open(s.archive.Path)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, f)
	sum := sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(f, sum), 1<<20)
	stream, compressed, err := expand(raw)
	if err != nil {
		return nil, err
	}
	defer fsatomic.CloseErr(&err, stream)
	var plain io.Reader = stream
	if compressed = compressed && s.keep; compressed {
		var temp *os.File
		if temp, err = os.CreateTemp(filepath.Dir(s.copy), "expand-*"+tempSuffix); err != nil {
			return nil, err
		}
		defer func() { _ = os.Remove(temp.Name()) }() // gone already after the rename
		defer fsatomic.CloseErr(&err, temp)
		plain = io.TeeReader(stream, temp)
		defer func() {
			if err == nil {
				err = os.Rename(temp.Name(), s.copy)
			}
		}()
	}
	scan := &interpreterScan{Version: scanVersion}
	at := &counter{r: io.LimitReader(plain, s.most+1)}
	err = scan.run(ctx, at)
	if at.n > s.most { // which may have cut it: the reason, then
		err = fmt.Errorf("unpacks to more than %d bytes: %w", s.most, bundle.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	if compressed {
		scan.Expanded = at.n
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.archive.SHA256 {
		return nil, fmt.Errorf("sha256 is %s, want %s: %w", got, s.archive.SHA256, bundle.ErrMismatch)
	}
	return scan, nil
}

// expand tells the compression by the first bytes.
func expand(r *bufio.Reader) (rc io.ReadCloser, compressed bool, err error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, false, fmt.Errorf("first bytes: %w: %w", err, bundle.ErrInvalid)
	}
	switch {
	case head[0] == 0x1f && head[1] == 0x8b:
		rc, err = gzip.NewReader(r)
		return rc, true, err
	case string(head) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)) // or it takes twice the window
		if err != nil {
			return nil, false, err
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(r), false, nil
}

// counter knows the offset in the stream.
type counter struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// run reads the tar stream to its end.
func (s *interpreterScan) run(ctx context.Context, at *counter) error {
	tr := tar.NewReader(at)
	seen, names := map[string]bool{}, 0
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, at) // a cached copy must be whole
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, bundle.ErrInvalid)
		}
		if err := alive(ctx); err != nil {
			return err
		}
		if n == maxInterpreterEntries {
			return fmt.Errorf("more than %d entries: %w", maxInterpreterEntries, bundle.ErrInvalid)
		}
		if names += len(h.Name) + len(h.Linkname); names > maxInterpreterNames {
			return fmt.Errorf("%.80q: with it the names have more than %d bytes: %w", h.Name, maxInterpreterNames, bundle.ErrInvalid)
		}
		p, err := interpreterPath(h.Name)
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if seen[p] {
			return fmt.Errorf("%q appears twice: %w", h.Name, bundle.ErrInvalid)
		}
		seen[p] = true
		if err := s.add(p, h, tr, at.n); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// interpreterPath takes away the root directory python/.
func interpreterPath(name string) (string, error) {
	name = strings.TrimSuffix(name, "/")
	if name == "python" {
		return "", nil
	}
	p, ok := strings.CutPrefix(name, "python/")
	if !ok {
		return "", fmt.Errorf("%q is not below python/: %w", name, bundle.ErrInvalid)
	}
	return p, bundle.CheckPath(p)
}

// add notes one file or symlink whose content begins at offset.
func (s *interpreterScan) add(p string, h *tar.Header, tr io.Reader, offset int64) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("a sparse file: %w", bundle.ErrInvalid)
		}
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		if len(h.Linkname) > bundle.MaxPath { // before it is kept; what else is wrong with it counts if it is not stripped
			return fmt.Errorf("a link of %d bytes, more than %d: %w", len(h.Linkname), bundle.MaxPath, bundle.ErrInvalid)
		}
		s.Links = append(s.Links, scannedLink{p, h.Linkname})
		return nil
	case tar.TypeReg:
	default:
		return fmt.Errorf("entry of type %q: only files, directories and symlinks are taken: %w", h.Typeflag, bundle.ErrInvalid)
	}
	f := scannedFile{Path: p, Executable: h.Mode&0o111 != 0, Size: h.Size, Offset: offset}
	if strings.HasPrefix(p, "bin/python") {
		head := make([]byte, 64)
		n, err := io.ReadFull(tr, head)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return err
		}
		f.Machine = machine(head[:n])
		tr = io.MultiReader(bytes.NewReader(head[:n]), tr)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, tr); err != nil {
		return err
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	s.Files = append(s.Files, f)
	return nil
}
