// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"errors"
	"io"
	"net/http"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestTagsWithoutEnd: M5, pages of nothing that lead to themselves, or elsewhere.
func TestTagsWithoutEnd(t *testing.T) {
	t.Parallel()
	for link, most := range map[string]int{"/v2/org/name/tags/list?n=0": 100, "http://other.invalid/v2/org/name/tags/list": 1} {
		f := &regtest.Faulty{Next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "<"+link+`>; rel="next"`)
			_, _ = io.WriteString(w, `{"tags":[]}`)
		})}
		r, _ := open(t, regtest.Serve(t, f), remote.Options{})
		_, err := r.Tags(t.Context())
		if n := len(f.Requests("", "")); err == nil || n == 0 || n > most {
			t.Errorf("%s: %d requests, %v", link, n, err)
		}
	}
}

// TestHugePages: M5, a page of a list that is larger than any.
func TestHugePages(t *testing.T) { //nolint:paralleltest // it counts what the whole program allocates
	page := map[string]string{"/tags/list": `{"tags":[""` + strings.Repeat(`,""`, 1<<20) + `]}`, "/referrers/": `{"manifests":[{}` + strings.Repeat(`,{}`, 1<<20) + `]}`}
	host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for part, body := range page {
			if strings.Contains(r.URL.Path, part) {
				w.Header().Set("Content-Type", bundle.MediaTypeIndex)
				_, _ = io.WriteString(w, body)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	r, _ := open(t, host, remote.Options{Retries: -1})
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	_, tags := r.Tags(t.Context())
	_, referrers := r.Referrers(t.Context(), bundle.DescriptorOf(bundle.MediaTypeManifest, []byte("{}")))
	for what, err := range map[string]error{": tags": tags, ": referrers of sha256:": referrers} {
		if !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), ": a page of the list has more than 1048576 bytes: ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	goruntime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 256 {
		t.Errorf("%d MB of memory", used)
	} else {
		t.Logf("%d MB", used)
	}
}
