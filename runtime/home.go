// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
)

// HomeVariable overrides where environments are installed.
const HomeVariable = "METALRUN_HOME"

// dockerEnvironment is the environment that Docker Model Runner looks for, and
// the file it reads to decide whether the directory is its own.
const (
	dockerEnvironment = "vllm-metal"
	dockerVersionFile = ".vllm-metal-version"
	dockerVersion     = "dev" // "leave it as it is"
)

// Names in a home and in an environment's directory.
const (
	storeDir     = ".metalpack"
	stagingDir   = "staging"
	stateFile    = "state.json"
	lockFile     = "store.lock"
	versionsDir  = "versions"
	pointerPath  = "bin/python3"
	interpreter  = "bin/python3.12"
	markerPath   = bundle.MetadataDir + "/installed.json"
	pointerStart = "../" + versionsDir + "/"
)

// Home is the directory that environments are installed in.
type Home struct {
	Dir string // absolute

	failpoint func(step string) error // tests: fail, or be killed, at a step of an install
}

// reached marks a step of an install: whatever happens here, the version that
// was active is active and the next install succeeds.
func (h *Home) reached(step string) error {
	if h.failpoint == nil {
		return nil
	}
	return h.failpoint(step)
}

// OpenHome returns the home that getenv names: METALRUN_HOME, else
// ~/.docker/model-runner. It creates nothing.
func OpenHome(getenv func(string) string) (*Home, error) {
	dir := getenv(HomeVariable)
	if dir == "" {
		user := getenv("HOME")
		if user == "" {
			return nil, fmt.Errorf("neither %s nor HOME is set", HomeVariable)
		}
		dir = filepath.Join(user, ".docker", "model-runner")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Home{Dir: dir}, nil
}

// EnvironmentDir is the install directory of an environment.
func (h *Home) EnvironmentDir(name string) string { return filepath.Join(h.Dir, name) }

// VersionDir is where a version of an environment lies.
func (h *Home) VersionDir(name, id string) string {
	return filepath.Join(h.Dir, name, versionsDir, id)
}

// StagingDir is where a version is made.
func (h *Home) StagingDir(id string) string { return filepath.Join(h.store(stagingDir), id) }

func (h *Home) store(name string) string { return filepath.Join(h.Dir, storeDir, name) }

// prepare makes the directories of the store.
func (h *Home) prepare() error {
	if err := os.MkdirAll(h.Dir, 0o755); err != nil {
		return err
	}
	return os.MkdirAll(h.store(stagingDir), 0o700)
}

// makeDir makes a directory below the home whose name outlives a power cut.
func (h *Home) makeDir(dir string) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	if dir != h.Dir {
		if err := h.makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return fsatomic.SyncDir(filepath.Dir(dir))
}

// sweep removes the temporary names that a process killed while it wrote left
// in a directory. What is none is for who needs one to tell, or to mend. The
// caller has the lock, so nobody is writing now.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !fsatomic.IsTemp(e.Name()) {
			continue
		}
		if err := removeFile(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sweepEnvironment is sweep for an install directory.
func (h *Home) sweepEnvironment(name string) error {
	dir := h.EnvironmentDir(name)
	return errors.Join(sweep(dir), sweep(filepath.Dir(filepath.Join(dir, filepath.FromSlash(pointerPath)))))
}

// Environments lists the installed environments by name: those that have a
// complete version, or a pointer to one that was complete. A home that does not
// exist has none.
func (h *Home) Environments() ([]string, error) {
	dirs, err := os.ReadDir(h.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range dirs {
		if !d.IsDir() || bundle.CheckName(d.Name()) != nil {
			continue
		}
		ids, err := h.versionIDs(d.Name())
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 || h.activeID(d.Name()) != "" {
			names = append(names, d.Name())
		}
	}
	return names, nil
}

// versionIDs lists the versions of an environment that have a marker.
func (h *Home) versionIDs(name string) ([]string, error) {
	dirs, err := os.ReadDir(filepath.Join(h.EnvironmentDir(name), versionsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, d := range dirs {
		info, err := os.Lstat(filepath.Join(h.VersionDir(name, d.Name()), filepath.FromSlash(markerPath)))
		if isID(d.Name()) && err == nil && info.Mode().IsRegular() {
			ids = append(ids, d.Name())
		}
	}
	return ids, nil
}

// isID reports whether s can be a version's id.
func isID(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// activeID reads the pointer of an environment: "" if there is none or it is
// not ours.
func (h *Home) activeID(name string) string {
	target, err := os.Readlink(filepath.Join(h.EnvironmentDir(name), filepath.FromSlash(pointerPath)))
	if err != nil {
		return ""
	}
	rest, ok := strings.CutPrefix(target, pointerStart)
	id, tail, _ := strings.Cut(rest, "/")
	if !ok || !isID(id) || tail != interpreter {
		return ""
	}
	return id
}
