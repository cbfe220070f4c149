// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Caps on an interpreter archive. The real ones unpack to 0.1 GB.
const (
	maxInterpreter        = 4 << 30
	maxInterpreterEntries = 100_000
)

// externallyManaged keeps a user's pip from changing the tree (PEP 668).
const externallyManaged = "[externally-managed]\nError=This environment is a verified artifact: pip must not change it.\n Install packages into an environment of your own instead.\n"

// readInterpreter reads the archive once: it checks its sha256, hashes every
// file that is not stripped and notes where it lies. A compressed archive is
// expanded into the cache on the way.
func readInterpreter(ctx context.Context, in *Input) (files []plannedFile, err error) {
	bad := func(err error) error {
		return fmt.Errorf("interpreter %s: %w", filepath.Base(in.Interpreter.Path), err)
	}
	f, err := os.Open(in.Interpreter.Path)
	if err != nil {
		return nil, bad(err)
	}
	defer fsatomic.CloseErr(&err, f)
	sum := sha256.New()
	raw := bufio.NewReaderSize(io.TeeReader(f, sum), 1<<20)
	stream, compressed, err := expand(raw)
	if err != nil {
		return nil, bad(err)
	}
	defer fsatomic.CloseErr(&err, stream)
	content := in.Interpreter.Path
	var plain io.Reader = stream
	if compressed {
		var temp *os.File
		if temp, content, err = createExpanded(in); err != nil {
			return nil, bad(err)
		}
		defer func() { _ = os.Remove(temp.Name()) }() // gone already after the rename
		defer fsatomic.CloseErr(&err, temp)
		plain = io.TeeReader(stream, temp)
		defer func() {
			if err == nil {
				err = os.Rename(temp.Name(), content)
			}
		}()
	}
	scan := &interpreterScan{in: in, content: content, links: map[string]string{}}
	if err := scan.run(ctx, io.LimitReader(plain, maxInterpreter)); err != nil {
		return nil, bad(err)
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return nil, bad(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != in.Interpreter.SHA256 {
		return nil, bad(fmt.Errorf("sha256 is %s, want %s: %w", got, in.Interpreter.SHA256, bundle.ErrMismatch))
	}
	files, err = scan.finish()
	if err != nil {
		return nil, bad(err)
	}
	return files, nil
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
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, false, err
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(r), false, nil
}

// createExpanded makes the temporary file of an expanded archive and names the
// place it will have. It is always written anew: what lies there may be damaged.
func createExpanded(in *Input) (*os.File, string, error) {
	if err := bundle.CheckDigest(digest.NewDigestFromEncoded(digest.SHA256, in.Interpreter.SHA256)); err != nil {
		return nil, "", err
	}
	dir := filepath.Join(in.CacheDir, "interpreters")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, "", err
	}
	temp, err := os.CreateTemp(dir, "expand-*"+tempSuffix)
	return temp, filepath.Join(dir, in.Interpreter.SHA256+".tar"), err
}

// interpreterScan is one pass over the tar stream.
type interpreterScan struct {
	in      *Input
	content string // file in which the offsets are valid
	files   []plannedFile
	links   map[string]string
	machine bool // bin/python3.N was seen and runs on the platform
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

func (s *interpreterScan) run(ctx context.Context, r io.Reader) error {
	at := &counter{r: r}
	tr := tar.NewReader(at)
	seen := map[string]bool{}
	for {
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
		p, err := interpreterPath(h.Name)
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if seen[p] || len(seen) > maxInterpreterEntries {
			return fmt.Errorf("%q appears twice, or is one of too many: %w", h.Name, bundle.ErrInvalid)
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
		if s.in.stripped(p) {
			return nil
		}
		s.links[p] = h.Linkname
		return bundle.CheckLink(p, h.Linkname)
	case tar.TypeReg:
	default:
		return fmt.Errorf("entry of type %q: only files, directories and symlinks are taken: %w", h.Typeflag, bundle.ErrInvalid)
	}
	if s.in.stripped(p) {
		return nil
	}
	if p == "bin/python"+s.in.PythonVersion {
		head := make([]byte, 64)
		n, err := io.ReadFull(tr, head)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err := checkMachine(head[:n], s.in.Platform); err != nil {
			return err
		}
		s.machine = true
		tr = io.MultiReader(strings.NewReader(string(head[:n])), tr)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, tr); err != nil {
		return err
	}
	mode := uint32(bundle.ModeFile)
	if h.Mode&0o111 != 0 {
		mode = bundle.ModeExecutable
	}
	e := bundle.TreeEntry{Path: p, Mode: mode, Size: h.Size, SHA256: hex.EncodeToString(sum.Sum(nil)), Layer: layerInterpreter}
	s.files = append(s.files, plannedFile{TreeEntry: e, owner: ownerInterpreter, open: sectionOpener(s.content, offset, e)})
	return nil
}

// sectionOpener opens part of a file and verifies it.
func sectionOpener(file string, offset int64, e bundle.TreeEntry) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		desc := bundle.Descriptor{Digest: digest.NewDigestFromEncoded(digest.SHA256, e.SHA256), Size: e.Size}
		return struct {
			io.Reader
			io.Closer
		}{bundle.NewVerifier(io.NewSectionReader(f, offset, e.Size), desc), f}, nil
	}
}

// finish drops what has lost its purpose, adds EXTERNALLY-MANAGED and the
// symlinks that lead somewhere.
func (s *interpreterScan) finish() ([]plannedFile, error) {
	python := "bin/python" + s.in.PythonVersion
	if !s.machine {
		return nil, fmt.Errorf("%s is missing: %w", python, bundle.ErrInvalid)
	}
	marker := "lib/python" + s.in.PythonVersion + "/EXTERNALLY-MANAGED"
	there := map[string]bool{}
	kept := s.files[:0]
	hasPip := false
	for _, f := range s.files {
		hasPip = hasPip || strings.HasPrefix(f.Path, s.in.site()+"/pip/")
	}
	for _, f := range s.files {
		if f.Path == marker || !hasPip && isPipScript(f.Path) {
			continue
		}
		kept = append(kept, f)
		for p := f.Path; p != "."; p = path.Dir(p) {
			there[p] = true
		}
	}
	kept = append(kept, memoryFile(marker, []byte(externallyManaged), layerInterpreter, ownerInterpreter))
	for _, p := range liveLinks(s.links, there) {
		e := bundle.TreeEntry{Path: p, Target: s.links[p], Layer: layerInterpreter}
		kept = append(kept, plannedFile{TreeEntry: e, owner: ownerInterpreter})
	}
	return kept, nil
}

// isPipScript reports whether a file is a command of pip, dead without it.
func isPipScript(p string) bool {
	name, ok := strings.CutPrefix(p, "bin/pip")
	return ok && strings.Trim(name, "0123456789.") == ""
}

// liveLinks returns the links that lead to a file or directory, perhaps through
// other links.
func liveLinks(links map[string]string, there map[string]bool) (live []string) {
	for {
		found := false
		for p, target := range links {
			if !there[p] && there[path.Join(path.Dir(p), target)] {
				there[p], found = true, true
				live = append(live, p)
			}
		}
		if !found {
			return live
		}
	}
}
