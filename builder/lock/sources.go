// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/metalpack/metalpack/builder/target"
	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/filehash"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// maxMade is the cap on a wheel that is made here, in bytes.
const maxMade = 512 << 20

// Sources makes wheels of git commits with git and uv: each commit once in a
// run, and not at all while the wheel that a lock names is at hand. What was
// made stays in a temporary directory until [Sources.Publish].
type Sources struct {
	Runner Runner   // of git; nil = [ExecRunner]
	Dirs   []string // that may hold wheels made earlier, by name
	// Cached returns where a file of that sha256 (hex) lies, "" if nowhere.
	// nil = there is no cache.
	Cached func(ctx context.Context, sha256 string) (string, error)

	dir  string // temporary
	made map[commitRequirement]madeWheel
}

// madeWheel is the wheel of a commit.
type madeWheel struct {
	path    string
	file    string
	version string
	sha256  string // hex
	size    int64
	fresh   bool // made in this run
}

// Close removes what was made.
func (s *Sources) Close() error {
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// wheel returns the wheel of a commit: the one the lock names, or a new one.
func (s *Sources) wheel(ctx context.Context, uv UV, c commitRequirement, current *Lock, events bundle.EventFunc) (madeWheel, error) {
	c.extras, c.marker = "", "" // of no influence on the wheel
	if made, ok := s.made[c]; ok {
		return made, nil
	}
	made, known := current.madeOf(c)
	if known {
		var err error
		if made.path, err = s.find(ctx, made); err != nil {
			return madeWheel{}, err
		}
	}
	if made.path == "" {
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("building %s from commit %s", c.name, c.commit)})
		var err error
		if made, err = s.build(ctx, uv, c); err != nil {
			return madeWheel{}, err
		}
	}
	if s.made == nil {
		s.made = make(map[commitRequirement]madeWheel)
	}
	s.made[c] = made
	return made, nil
}

// find returns where the wheel that a lock names lies under its name, "" if its
// bytes are nowhere.
func (s *Sources) find(ctx context.Context, made madeWheel) (string, error) {
	for _, dir := range s.Dirs {
		path := filepath.Join(dir, made.file)
		switch sum, _, err := filehash.SHA256(ctx, path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", err
		case sum == made.sha256:
			return filepath.Abs(path)
		}
	}
	if s.Cached == nil {
		return "", nil
	}
	cached, err := s.Cached(ctx, made.sha256)
	if err != nil || cached == "" {
		return "", err
	}
	dir, err := s.room()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, made.file) // uv goes by the name
	return path, os.Symlink(cached, path)
}

// room makes a directory for one wheel.
func (s *Sources) room() (string, error) {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "metalpack-git-*")
		if err != nil {
			return "", err
		}
		s.dir = dir
	}
	return os.MkdirTemp(s.dir, "*")
}

// build fetches the commit and makes its wheel.
func (s *Sources) build(ctx context.Context, uv UV, c commitRequirement) (madeWheel, error) {
	dir, err := s.room()
	if err != nil {
		return madeWheel{}, err
	}
	tree, out := filepath.Join(dir, "tree"), filepath.Join(dir, "out")
	if err := s.checkout(ctx, c, dir, tree); err != nil {
		return madeWheel{}, err
	}
	argv := []string{uv.Path, "build", "--wheel", "--quiet", "--out-dir", out, filepath.Join(tree, filepath.FromSlash(c.subdirectory))}
	env := []string{"UV_PYTHON_DOWNLOADS=never", "UV_NO_PROGRESS=1", "NO_COLOR=1", "SOURCE_DATE_EPOCH=315619200"}
	if _, err := uv.Runner.Run(ctx, Command{Dir: dir, Env: env, Argv: sameMask(argv)}); err != nil {
		return madeWheel{}, fmt.Errorf("uv build: %w", uvError(ctx, err))
	}
	return readMade(ctx, c, out)
}

// sameMask runs a command under one umask, because wheels hold the modes of
// files.
func sameMask(argv []string) []string {
	return append([]string{"sh", "-c", `umask 022 && exec "$@"`, "sh"}, argv...)
}

// checkout makes tree the files of the commit, with all tags, from which many
// projects take their version.
func (s *Sources) checkout(ctx context.Context, c commitRequirement, dir, tree string) error {
	if err := s.git(ctx, c, dir, "clone", "--quiet", "--no-checkout", "--filter=blob:none", c.url, tree); err != nil {
		return err
	}
	if err := s.git(ctx, c, tree, "cat-file", "-e", c.commit+"^{commit}"); err != nil {
		// On no branch and no tag.
		if err := s.git(ctx, c, tree, "fetch", "--quiet", "origin", c.commit); err != nil {
			return err
		}
	}
	if err := s.git(ctx, c, tree, "-c", "core.autocrlf=false", "checkout", "--quiet", "--detach", c.commit); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(tree, ".gitmodules")); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return s.git(ctx, c, tree, "submodule", "--quiet", "update", "--init", "--recursive")
}

var (
	gitUnreachable = regexp.MustCompile(`(?i)could not resolve|connection (refused|reset|timed out)|unable to (access|connect)|timed out|could not read from remote`)
	gitAbsent      = regexp.MustCompile(`(?i)repository .* (not found|does not exist)|does not appear to be a git repository`)
	commitAbsent   = regexp.MustCompile(`(?i)not our ref|couldn't find remote ref|unadvertised object|not a tree|bad object|missing`)
)

// git runs git and classes what it says.
func (s *Sources) git(ctx context.Context, c commitRequirement, dir string, args ...string) error {
	run := s.Runner
	if run == nil {
		run = ExecRunner{}
	}
	_, err := run.Run(ctx, Command{Dir: dir, Env: []string{"GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}, Argv: sameMask(append([]string{"git"}, args...))})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound) || exitCode(err) == exitNotFound:
		return ErrNoGit
	case gitAbsent.MatchString(err.Error()):
		return fmt.Errorf("git: the repository %s is %w", c.url, bundle.ErrNotFound)
	case commitAbsent.MatchString(err.Error()):
		return fmt.Errorf("git: the repository %s has no such commit: %w", c.url, bundle.ErrNotFound)
	case gitUnreachable.MatchString(err.Error()):
		return fmt.Errorf("git: the repository %s is %w: %w", c.url, bundle.ErrUnreachable, redacted(err))
	}
	return fmt.Errorf("git: %w: %w", redacted(err), bundle.ErrInvalid)
}

// exitNotFound is what a shell says of a program that is not there.
const exitNotFound = 127

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// readMade checks what uv built: one wheel, of the package, for every target.
func readMade(ctx context.Context, c commitRequirement, out string) (madeWheel, error) {
	files, err := filepath.Glob(filepath.Join(out, "*.whl"))
	if err != nil {
		return madeWheel{}, err
	}
	if len(files) != 1 {
		return madeWheel{}, fmt.Errorf("uv built %d wheels: %w", len(files), bundle.ErrInvalid)
	}
	made := madeWheel{path: files[0], file: filepath.Base(files[0]), fresh: true}
	parsed, err := target.ParseWheelName(made.file)
	if err != nil {
		return madeWheel{}, err
	}
	if made.version = parsed.Version; parsed.Name != c.name {
		return madeWheel{}, fmt.Errorf("it calls itself %s: %w", parsed.Name, bundle.ErrInvalid)
	}
	if !slices.Equal(parsed.Tags, []string{"py3-none-any"}) {
		return madeWheel{}, fmt.Errorf("%s is not pure Python (py3-none-any), and nothing is compiled here for another machine; name a wheel under wheels.extra: %w", made.file, bundle.ErrInvalid)
	}
	sum, info, err := filehash.SHA256(ctx, made.path)
	if err != nil {
		return madeWheel{}, err
	}
	if made.sha256, made.size = sum, info.Size(); made.size > maxMade {
		return madeWheel{}, fmt.Errorf("%s: more than %d bytes: %w", made.file, maxMade, bundle.ErrInvalid)
	}
	return made, nil
}

// Publish puts the wheels that a new lock was made with into a directory. A
// file that lies there under the same name is replaced if it is the one that
// the old lock names (an event says so); any other is an error that wraps
// [bundle.ErrInvalid]. Old may be nil.
func (s *Sources) Publish(ctx context.Context, dir string, fresh, old *Lock, events bundle.EventFunc) error {
	for _, made := range s.made {
		i := slices.IndexFunc(fresh.Packages, func(p Package) bool {
			row, ok := p.wheelMade()
			return ok && row.sha256 == made.sha256
		})
		if i < 0 || !made.fresh {
			continue // not of this target, or found where it lies
		}
		var former madeWheel
		if old != nil {
			if row, ok := old.row(fresh.Packages[i].Name); ok {
				former, _ = row.wheelMade()
			}
		}
		if err := publish(ctx, dir, made, former, events); err != nil {
			return err
		}
	}
	return nil
}

func publish(ctx context.Context, dir string, made, former madeWheel, events bundle.EventFunc) error {
	path := filepath.Join(dir, made.file)
	have, _, err := filehash.SHA256(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case have == made.sha256:
		return nil
	case have != former.sha256:
		return fmt.Errorf("%s: a file of other bytes is in the way, sha256:%s; the wheel built now is sha256:%s: move the file away: %w", path, have, made.sha256, bundle.ErrInvalid)
	default:
		events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf("%s: sha256:%s takes the place of sha256:%s, which was built for the old lock", path, made.sha256, have)})
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(made.path) // at most maxMade
	if err != nil {
		return err
	}
	return fsatomic.WriteFile(path, data, 0o644)
}
