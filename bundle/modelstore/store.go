// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// Store is a model store with our state about it. It may be used by several
// goroutines and processes at once.
type Store struct {
	// Daemons are asked by Pull, in this order, to register a model. Set it
	// before the first pull; without it models.json alone is written.
	Daemons []Daemon

	dir   string // DMR's
	state string // ours

	failpoint func(step string) error // tests: fail, be killed, or write too, at a step
	now       func() time.Time        // tests; nil = time.Now

	secondLook time.Duration // see registerAgain
}

// Directories of our state.
const (
	verifiedDir = "verified" // which blobs have been hashed
	treesDir    = "models"   // one directory per materialised model
)

// reached marks a step after which others may find the store.
func (s *Store) reached(step string) error {
	if s.failpoint == nil {
		return nil
	}
	return s.failpoint(step)
}

// Model is one model of the store.
type Model struct {
	ID      digest.Digest // of its manifest
	Tags    []string      // fully qualified: docker.io/ai/x:latest
	Info    *model.Model  // nil if Problem is not
	Problem error         // why the model cannot be read
}

// Dir returns where the store lies: MODELS_PATH, else ~/.docker/models. getenv
// is the environment, HOME included.
func Dir(getenv func(string) string) (string, error) {
	if dir := trimmed(getenv("MODELS_PATH")); dir != "" {
		return dir, nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("model store: neither MODELS_PATH nor HOME is set")
	}
	return filepath.Join(home, ".docker", "models"), nil
}

// trimmed takes blanks and quotes off the value of a variable, as DMR does.
func trimmed(value string) string {
	return strings.TrimSpace(strings.Trim(strings.TrimSpace(value), `"'`))
}

// Open returns the store in dir, which need not exist yet, with our state about
// it below stateDir, where every store has a directory of its own: two may hold
// the same model. Both become absolute. The error wraps
// [bundle.ErrInvalid] if the store cannot be trusted: a directory in it that
// is a symlink, that others can write to, or that belongs to another user. Its
// root may be a symlink to another disk, which must be there. Nothing is made yet.
func Open(dir, stateDir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if stateDir, err = filepath.Abs(stateDir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, state: filepath.Join(stateDir, stateName(dir)), secondLook: secondLook}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// makeState makes the directories of our state, before something is written
// there: who only looks at a store changes nothing.
func (s *Store) makeState() error {
	for _, sub := range []string{verifiedDir, treesDir, removingDir} {
		if err := os.MkdirAll(filepath.Join(s.state, sub), 0o700); err != nil {
			return fmt.Errorf("model store: state: %w", err)
		}
	}
	return nil
}

// stateName is what the state of the store in dir is called, by where dir really
// lies: whoever spells it differently has the same lock. What is not there yet
// will be made of directories.
func stateName(dir string) string {
	there, rest := dir, ""
	for {
		if at, err := filepath.EvalSymlinks(there); err == nil || there == filepath.Dir(there) {
			return digest.FromString(filepath.Join(at, rest)).Encoded()[:16]
		}
		there, rest = filepath.Dir(there), filepath.Join(filepath.Base(there), rest)
	}
}

// Path returns the store's directory.
func (s *Store) Path() string { return s.dir }

// check looks at every directory that we read from or write to.
func (s *Store) check() error {
	for _, sub := range []string{"", "blobs", "blobs/sha256", "manifests", "manifests/sha256"} {
		stat := os.Lstat
		if sub == "" {
			stat = os.Stat
		}
		info, err := stat(filepath.Join(s.dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			if to, lerr := os.Readlink(s.dir); sub == "" && lerr == nil {
				return fmt.Errorf("model store %s: a symlink to %s, which is not there; is its disk mounted?: %w", s.dir, to, bundle.ErrInvalid)
			}
			continue
		}
		if err != nil {
			return err
		}
		if why := distrust(info); why != "" {
			return fmt.Errorf("model store %s: %s: %w", filepath.Join(s.dir, sub), why, bundle.ErrInvalid)
		}
	}
	return nil
}

// checkWrite is check, before something is written or removed.
func (s *Store) checkWrite() error {
	if err := s.check(); err != nil {
		return err
	}
	_, err := s.checkLayout()
	return err
}

// secondLook is how long another program may take to read models.json, change
// it and write it back, synced.
const secondLook = 300 * time.Millisecond

// lockPoll is how often a waiting writer looks whether the lock is free.
const lockPoll = 50 * time.Millisecond

// lock takes the lock between our own processes; DMR knows none. Those of
// another home have another state, so the store's directory, if it is there, is
// locked too, where the file system can do that.
func (s *Store) lock(ctx context.Context, events bundle.EventFunc) (unlock func() error, err error) {
	if err := s.makeState(); err != nil {
		return nil, err
	}
	mine, err := lockFile(ctx, filepath.Join(s.state, "store.lock"), events)
	if err != nil {
		return nil, err
	}
	theirs, err := lockFile(ctx, s.dir, events, flock.SetFlag(os.O_RDONLY))
	if err == nil {
		return func() error { return errors.Join(theirs(), mine()) }, nil
	}
	if ctx.Err() != nil {
		return nil, errors.Join(err, mine())
	}
	return mine, nil
}

// lockTree keeps two processes from building one model's directory at once. It
// is another lock than that of pulls, which may take hours.
func (s *Store) lockTree(ctx context.Context) (unlock func() error, err error) {
	if err := s.makeState(); err != nil {
		return nil, err
	}
	return lockFile(ctx, filepath.Join(s.state, "models.lock"), nil)
}

func lockFile(ctx context.Context, path string, events bundle.EventFunc, opts ...flock.Option) (unlock func() error, err error) {
	l := flock.New(path, opts...)
	ok, err := l.TryLock()
	if err == nil && !ok {
		note(events, "another metalrun is changing the store; waiting for it")
		_, err = l.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		return nil, fmt.Errorf("model store: lock: %w", err)
	}
	return l.Unlock, nil
}

// blobPath is where a blob lies. Digests have been checked before.
func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.dir, "blobs", "sha256", d.Encoded())
}

func (s *Store) manifestPath(d digest.Digest) string {
	return filepath.Join(s.dir, "manifests", "sha256", d.Encoded())
}

// begun makes the store if there is none, and takes its lock.
func (s *Store) begun(ctx context.Context, events bundle.EventFunc) (unlock func() error, err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s.lock(ctx, events)
}

// prepare makes the directories and the version file of a store.
func (s *Store) prepare() error {
	for _, sub := range []string{"blobs", "manifests"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub, "sha256"), 0o755); err != nil {
			return err
		}
	}
	if err := s.check(); err != nil {
		return err
	}
	if there, err := s.checkLayout(); there || err != nil {
		return err
	}
	return fsatomic.WriteFile(s.layoutPath(), []byte("{\n  \"version\": \"1.0.0\"\n}"), 0o644)
}

func (s *Store) layoutPath() string { return filepath.Join(s.dir, "layout.json") }

// maxLayout caps what is read of layout.json, in bytes.
const maxLayout = 4 << 10

// checkLayout reports whether the store has a version file, and refuses one of
// another major version: what we write might mean something else there. A file
// that says nothing is as good as none, as it is to DMR.
func (s *Store) checkLayout() (there bool, err error) {
	f, err := openRegular(s.layoutPath())
	if errors.Is(err, bundle.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	defer fsatomic.CloseErr(&err, f)
	var layout struct {
		Version string `json:"version"`
	}
	if json.NewDecoder(io.LimitReader(f, maxLayout)).Decode(&layout) != nil || layout.Version == "" {
		return true, nil
	}
	if major, _, _ := strings.Cut(layout.Version, "."); major != "1" {
		return true, fmt.Errorf("%s: version %q of the store, of which version 1 is known here; nothing is written: %w", s.layoutPath(), layout.Version, bundle.ErrInvalid)
	}
	return true, nil
}
