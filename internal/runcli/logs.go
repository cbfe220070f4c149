// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/metalpack/metalpack/internal/filelock"
)

// logDir takes a directory for the logs of engines that no other process has,
// until release is called or this process ends: logs, or logs/2 and so on beside
// others. The next to take one replaces what is in it, so that there are never
// more than ever ran at once.
func (a *app) logDir() (dir string, release func() error, err error) {
	logs, err := a.stateDir("logs")
	if err != nil {
		return "", nil, err
	}
	dir = logs
	for n := 2; ; n++ {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", nil, err
		}
		release, err := filelock.Try(dir, os.O_RDONLY)
		switch {
		case err != nil: // a file system that cannot lock is no reason not to serve
			return dir, func() error { return nil }, nil //nolint:nilerr // see above
		case release != nil:
			return dir, release, nil
		}
		dir = filepath.Join(logs, strconv.Itoa(n))
	}
}
