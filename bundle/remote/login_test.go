// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestHelperGone: the docker configuration names a helper that is not there.
// What is public opens all the same.
func TestHelperGone(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	host := guarded(t, "public", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"public"}`) })
	stranger, _ := open(t, host, remote.Options{})
	manifest, _ := pushImage(t, stranger, regtest.Noise(10), "v1")
	for _, config := range []string{`{"credsStore":"metalpack-none"}`, `{"credHelpers":{"` + host + `":"metalpack-none"}}`, `{"auths":{"` + host + `":{"auth":"!"}}}`} {
		writeConfig(t, config)
		rec := &regtest.Recorder{}
		r, err := remote.Open(reference(t, host), remote.Options{Events: rec.Emit})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := r.Resolve(t.Context(), "v1"); err != nil || got.Digest != manifest.Digest {
				t.Errorf("%s: %v", config, err)
			}
			if _, err := r.Manifest(t.Context(), manifest); err != nil {
				t.Errorf("%s: %v", config, err)
			}
		}
		if len(rec.Events) != 1 || !strings.Contains(rec.Events[0].Reason, "no login for "+host) || !strings.Contains(rec.Events[0].Reason, "config.json") {
			t.Errorf("%s: %s", config, rec)
		}
	}
	t.Setenv("DOCKER_CONFIG", "/dev/null")
	if _, err := remote.Open(reference(t, host), remote.Options{}); err != nil {
		t.Errorf("a home that is none: %v", err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	writeConfig(t, `{"auths":`)
	if _, err := remote.Open(reference(t, host), remote.Options{}); !errors.Is(err, bundle.ErrInvalid) || strings.Count(err.Error(), "config.json") != 1 || strings.Contains(err.Error(), "failed to") {
		t.Errorf("got %v", err)
	}
}

func writeConfig(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reference(t *testing.T, host string) bundle.Reference {
	t.Helper()
	ref, err := bundle.ParseSource(host+"/org/name", "")
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
