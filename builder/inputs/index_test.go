// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package inputs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/builder/inputs"
	"github.com/metalpack/metalpack/builder/lock"
	"github.com/metalpack/metalpack/bundle"
)

// pickyUV fails as a whole when it is asked for a pin it does not have.
type pickyUV struct {
	fakeUV
	gone  map[string]bool
	quiet bool // it does not say which
}

func (p *pickyUV) Run(ctx context.Context, c lock.Command) ([]byte, error) {
	req, err := os.ReadFile(filepath.Join(c.Dir, "requirements.in"))
	if err != nil {
		return nil, err
	}
	for pin := range strings.FieldsSeq(string(req)) {
		if !p.gone[pin] {
			continue
		}
		p.asked = append(p.asked, string(req))
		if p.quiet {
			return nil, errors.New("exit status 1: no solution found")
		}
		return nil, fmt.Errorf("exit status 1: because there is no version of %s and you require %s, …", pin, pin)
	}
	return p.fakeUV.Run(ctx, c)
}

func (p *pickyUV) find(context.Context) (lock.UV, error) { return lock.UV{Path: "uv", Runner: p}, nil }

// Release assets are never asked for, and pins that uv does not resolve do not
// keep the others from being found.
func TestIndexFindsTheRest(t *testing.T) {
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		t.Run(fmt.Sprintf("quiet=%v", quiet), func(t *testing.T) {
			t.Parallel()
			data := map[string][]byte{}
			uv := &pickyUV{quiet: quiet, gone: map[string]bool{"demo3==1": true, "demo11==1": true, "asset==1": true}}
			var wants []inputs.Want
			for i := range 16 {
				name := fmt.Sprintf("demo%d", i)
				data[name] = content(name, 1<<10)
				w := wheel(name, data[name])
				w.Target = linux(t)
				wants = append(wants, w)
			}
			srv, _ := serve(t, data)
			for _, w := range wants {
				uv.add(w, srv.URL+"/"+w.Name)
			}
			asset := wheel("asset", []byte("asset"))
			asset.Target, asset.Direct, asset.URL = linux(t), true, srv.URL+"/nowhere"
			cache := inputs.NewCache(t.TempDir())
			_, err := (&inputs.Fetcher{Cache: cache, UV: uv.find, Wait: noWait}).Fetch(t.Context(), append(wants, asset))
			missing, ok := errors.AsType[*inputs.MissingError](err)
			if !ok || len(missing.Missing) != 3 || !errors.Is(err, bundle.ErrNotFound) && !quiet {
				t.Fatalf("got %v", err)
			}
			for _, w := range missing.Missing {
				if !strings.Contains(err.Error(), w.SHA256) || !uv.gone[w.Name+"==1"] {
					t.Errorf("%s: %v", w.File, err)
				}
			}
			if all := strings.Join(uv.asked, ""); strings.Contains(all, "asset") || len(uv.asked) > 16 {
				t.Errorf("asked %d times: %q", len(uv.asked), uv.asked)
			}
			for _, w := range wants {
				if ok, err := cache.Verify(t.Context(), w.SHA256); err != nil || ok == uv.gone[w.Name+"==1"] {
					t.Errorf("%s: %v, %v", w.File, ok, err)
				}
			}
		})
	}
}

// An index that shares nothing with the lock is not asked for ever.
func TestIndexWithNothing(t *testing.T) {
	t.Parallel()
	uv := &pickyUV{quiet: true, gone: map[string]bool{}}
	var wants []inputs.Want
	for i := range 200 {
		w := wheel(fmt.Sprintf("demo%d", i), fmt.Appendf(nil, "%d", i))
		w.Target = linux(t)
		uv.gone[w.Name+"==1"] = true
		wants = append(wants, w)
	}
	_, err := (&inputs.Fetcher{Cache: inputs.NewCache(t.TempDir()), UV: uv.find}).Fetch(t.Context(), wants)
	missing, ok := errors.AsType[*inputs.MissingError](err)
	if !ok || len(missing.Missing) != 200 || len(uv.asked) > 24 {
		t.Errorf("asked %d times: %v", len(uv.asked), err)
	}
}
