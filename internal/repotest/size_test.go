// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package repotest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxMetalrun caps the stripped metalrun, in bytes. Users fetch it before
// anything else works.
const maxMetalrun = 10_000_000

// metalrun keeps within its size on the platform where it is the largest.
func TestMetalrunSize(t *testing.T) {
	if testing.Short() {
		t.Skip("builds metalrun")
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "metalrun")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./cmd/metalrun")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("metalrun for linux/amd64, stripped: %d bytes of %d", info.Size(), maxMetalrun)
	if info.Size() > maxMetalrun {
		t.Errorf("metalrun for linux/amd64, stripped, has %d bytes, more than %d: see with 'go tool nm -size -sort size' what came in", info.Size(), maxMetalrun)
	}
}
