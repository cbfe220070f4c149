// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/child"
	"github.com/metalpack/metalpack/verify"
)

// libraryPath is what is compiled.
const libraryPath = "lib/python3.12"

// pythonNoSpace is how Python begins the message of a full disk.
const pythonNoSpace = "[Errno 28]"

// compileTimeout bounds the compilation, which takes a minute for the largest
// environments: an interpreter that hangs is for the probes to tell of.
const compileTimeout = 15 * time.Minute

// compile makes the byte code of a staged version: unchecked-hash, because all
// files have one mtime and a timestamp would call stale byte code valid. Byte
// code only saves time, so a file that does not compile is a note; the probes
// say whether the environment works. The error is ctx's cause or the disk's.
func compile(ctx context.Context, dir string, events bundle.EventFunc) (err error) {
	library := filepath.Join(dir, filepath.FromSlash(libraryPath))
	if _, err := os.Lstat(library); err != nil {
		return nil // nothing to compile
	}
	private, err := child.NewScratch(socketParent(), "metalrun-compile-")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := private.Remove(); err == nil {
			err = rerr
		}
	}()
	scratch := private.Path
	e := bundle.Event{Kind: bundle.EventStarted, What: "byte code"}
	events.Emit(e)
	inTime, cancel := context.WithTimeoutCause(ctx, compileTimeout, fmt.Errorf("still running after %s", compileTimeout))
	defer cancel()
	res, err := child.Run(inTime, child.Spec{
		Path: filepath.Join(dir, filepath.FromSlash(interpreter)),
		// Without -B the interpreter would leave timestamp byte code of what
		// the compiler itself imports, and then not compile that again.
		Args: []string{"-I", "-B", "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", "-s", dir, library},
		Env:  []string{"LANG=C.UTF-8", "PATH=/usr/bin:/bin", "HOME=" + scratch, "TMPDIR=" + scratch},
		Dir:  scratch,
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		if strings.Contains(res.Stdout+res.Stderr, pythonNoSpace) {
			return fmt.Errorf("byte code: %w", unix.ENOSPC)
		}
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: "byte code: " + uncompiled(res, err)})
	}
	e.Kind = bundle.EventDone
	events.Emit(e)
	return nil
}

// maxSocketParent is how long the parent of a scratch directory may be in which
// the compiler's processes make a Unix socket: 104 bytes is all that macOS
// allows for its whole path.
const maxSocketParent = 48

// socketParent is the directory for temporary files, or /tmp when the path is
// too long for sockets: the parallel compiler would fail.
func socketParent() string {
	if dir := os.TempDir(); len(dir) <= maxSocketParent {
		return dir
	}
	return "/tmp"
}

// uncompiled says what compileall did not do: it names the files that it
// cannot compile, and has a traceback when it could not work at all.
func uncompiled(res child.Result, err error) string {
	if n := strings.Count(res.Stdout+res.Stderr, "*** "); n > 0 {
		return fmt.Sprintf("%d files do not compile; they are compiled when they are used", n)
	}
	said := strings.TrimSpace(res.Stderr)
	said = strings.TrimSpace(said[strings.LastIndexByte(said, '\n')+1:])
	return fmt.Sprintf("none was made (%v: %s); starts are slower", err, said)
}

// seal records the byte code in a staged version, removes whatever else is not
// of the tree, and sets the modes of both and of directories.
func seal(ctx context.Context, dir string, tree *bundle.Tree) ([]ByteCode, error) {
	var mu sync.Mutex
	var out []ByteCode
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // a directory that was only read
	var g errgroup.Group
	g.SetLimit(parallel)
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return root.Chmod(rel, 0o755)
		}
		p := filepath.ToSlash(rel)
		if _, ok := tree.Find(p); ok || p == bundle.TreePath {
			return nil
		}
		if !strings.HasSuffix(p, ".pyc") || !d.Type().IsRegular() {
			return root.Remove(rel)
		}
		g.Go(func() error {
			b, err := record(name, p)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, b)
			return err
		})
		return nil
	})
	if gerr := g.Wait(); err == nil {
		err = gerr
	}
	sortByteCode(out)
	return out, err
}

func record(name, p string) (ByteCode, error) {
	if err := os.Chmod(name, 0o444); err != nil {
		return ByteCode{}, err
	}
	info, err := os.Lstat(name)
	if err != nil {
		return ByteCode{}, err
	}
	sum, err := verify.HashFile(name)
	return ByteCode{Path: p, Size: info.Size(), SHA256: sum}, err
}
