// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
)

// externallyManaged keeps a user's pip from changing the tree (PEP 668).
const externallyManaged = "[externally-managed]\nError=This environment is a verified artifact: pip must not change it.\n Install packages into an environment of your own instead.\n"

// readInterpreter returns the files of the archive that are not stripped. Unless
// keep is set the cache stays as it is, and they cannot be opened.
func readInterpreter(ctx context.Context, in *Input, keep bool) (files []plannedFile, err error) {
	store, err := newInterpreterStore(in, keep)
	if err == nil {
		var scan *interpreterScan
		if scan, err = store.load(ctx); err == nil {
			files, err = store.plan(in, scan)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("interpreter %s: %w", in.Interpreter.name(), err)
	}
	return files, nil
}

// plan drops what is stripped or has lost its purpose, adds EXTERNALLY-MANAGED
// and the symlinks that lead somewhere.
func (s *interpreterStore) plan(in *Input, scan *interpreterScan) ([]plannedFile, error) {
	python, found := "bin/python"+in.PythonVersion, false
	marker := "lib/python" + in.PythonVersion + "/EXTERNALLY-MANAGED"
	kept := make([]scannedFile, 0, len(scan.Files))
	hasPip := false
	for _, f := range scan.Files {
		if in.stripped(f.Path) {
			continue
		}
		if f.Path == python {
			if err := checkMachine(f.Machine, in.Platform); err != nil {
				return nil, fmt.Errorf("%q: %w", "python/"+f.Path, err)
			}
			found = true
		}
		hasPip = hasPip || strings.HasPrefix(f.Path, in.site()+"/pip/")
		kept = append(kept, f)
	}
	if !found {
		return nil, fmt.Errorf("%s is missing: %w", python, bundle.ErrInvalid)
	}
	files := make([]plannedFile, 0, len(kept)+len(scan.Links)+1)
	there := map[string]bool{}
	for _, f := range kept {
		if f.Path == marker || !hasPip && isPipScript(f.Path) {
			continue
		}
		files = append(files, s.file(scan, f))
		for p := f.Path; p != "." && !there[p]; p = path.Dir(p) {
			there[p] = true
		}
	}
	files = append(files, memoryFile(marker, []byte(externallyManaged), layerInterpreter, ownerInterpreter))
	links := map[string]string{}
	for _, l := range scan.Links {
		if in.stripped(l.Path) {
			continue
		}
		if err := bundle.CheckLink(l.Path, l.Target); err != nil {
			return nil, err
		}
		if there[l.Path] { // with files below: other readers go through the link
			return nil, fmt.Errorf("%q is a symlink and a directory: %w", "python/"+l.Path, bundle.ErrInvalid)
		}
		links[l.Path] = l.Target
	}
	for _, p := range liveLinks(links, there) {
		e := bundle.TreeEntry{Path: p, Target: links[p], Layer: layerInterpreter}
		files = append(files, plannedFile{TreeEntry: e, owner: ownerInterpreter})
	}
	return files, nil
}

// file is a file of the archive as it is planned. Its content is verified while
// it is read; when it is not what was remembered all of that is forgotten.
func (s *interpreterStore) file(scan *interpreterScan, f scannedFile) plannedFile {
	mode := uint32(bundle.ModeFile)
	if f.Executable {
		mode = bundle.ModeExecutable
	}
	content := s.content(scan)
	desc := bundle.Descriptor{Digest: digest.NewDigestFromEncoded(digest.SHA256, f.SHA256), Size: f.Size}
	return plannedFile{
		TreeEntry: bundle.TreeEntry{Path: f.Path, Mode: mode, Size: f.Size, SHA256: f.SHA256, Layer: layerInterpreter},
		owner:     ownerInterpreter,
		open: func() (io.ReadCloser, error) {
			file, err := os.Open(content)
			if err != nil {
				return nil, err
			}
			v := bundle.NewVerifier(io.NewSectionReader(file, f.Offset, f.Size), desc)
			return &scannedReader{Verifier: v, Closer: file, store: s, content: content}, nil
		},
	}
}

// scannedReader drops the memo of an archive that turns out to be wrong.
type scannedReader struct {
	*bundle.Verifier
	io.Closer
	store   *interpreterStore
	content string
}

// Read implements io.Reader.
func (r *scannedReader) Read(p []byte) (int, error) {
	n, err := r.Verifier.Read(p)
	if errors.Is(err, bundle.ErrMismatch) {
		if ferr := r.store.forget(); ferr != nil {
			return n, errors.Join(err, ferr)
		}
		if r.content != r.store.copy {
			return n, fmt.Errorf("interpreter %s: %w", r.store.archive.name(), err)
		}
		err = &DamagedError{What: "interpreter", Path: r.content, Err: err}
	}
	return n, err
}

// isPipScript reports whether a file is a command of pip, dead without it.
func isPipScript(p string) bool {
	name, ok := strings.CutPrefix(p, "bin/pip")
	return ok && strings.Trim(name, "0123456789.") == ""
}

// liveLinks returns the links that lead to a file or directory, perhaps through
// other links. Each is followed once.
func liveLinks(links map[string]string, there map[string]bool) (live []string) {
	followed := map[string]bool{}
	for p := range links {
		var chain []string
		for !there[p] && !followed[p] && links[p] != "" {
			followed[p] = true
			chain = append(chain, p)
			p = path.Join(path.Dir(p), links[p])
		}
		if !there[p] {
			continue
		}
		for _, l := range chain {
			there[l] = true
		}
		live = append(live, chain...)
	}
	return live
}
