// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// repository is a place that collects what is sent to it.
type repository struct {
	*remote.Repository
	into *Into
}

// place opens a repository.
func place(t *testing.T, host string) (repository, *regtest.Recorder) {
	t.Helper()
	ref, err := bundle.ParseSource(host+"/ai/tiny", "")
	if err != nil {
		t.Fatal(err)
	}
	rec := &regtest.Recorder{}
	r, err := remote.Open(ref, remote.Options{Credentials: credentials.NewMemoryStore(), Wait: rec.Wait})
	if err != nil {
		t.Fatal(err)
	}
	return repository{r, into(r, rec.Emit)}, rec
}

// into is a place that is open.
func into(place bundle.Ingester, events bundle.EventFunc) *Into {
	open := func(context.Context) (bundle.Ingester, error) { return place, nil }
	return &Into{Open: open, Tag: "latest", Events: events}
}

// sent lists the files of which an event of that kind tells.
func sent(rec *regtest.Recorder, kind bundle.EventKind) []string {
	var out []string
	for _, e := range rec.Events {
		if e.Kind == kind {
			out = append(out, e.What)
		}
	}
	slices.Sort(out)
	return out
}

// publish copies a built model and tags it.
func publish(t *testing.T, a *Artifact, dst bundle.Target, events bundle.EventFunc) {
	t.Helper()
	err := bundle.Copy(t.Context(), a, dst, a.Root(), bundle.CopyOptions{Events: events})
	if err == nil {
		err = dst.Tag(t.Context(), a.Root(), "latest")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Each file is read once, to hash and to send it, but for the header; what the
// tag has already is hashed and not sent.
func TestBuildInto(t *testing.T) {
	t.Parallel()
	hub := newHub()
	delete(hub.known, "model.safetensors")
	want, err := Build(t.Context(), hub, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, host := regtest.NewFaulty(t)
	to, rec := place(t, host)
	clear(hub.bytes)
	a, err := Build(t.Context(), hub, Options{Into: to.into})
	if err != nil {
		t.Fatal(err)
	}
	if a.Root().Digest != want.Root().Digest {
		t.Errorf("%s\n%s", a.manifest, want.manifest)
	}
	if diff := cmp.Diff([]string{"model.safetensors", "tokenizer.json"}, sent(rec, bundle.EventDone)); diff != "" {
		t.Error(diff)
	}
	if n, whole := hub.bytes["model.safetensors"], len(hub.files["model.safetensors"]); n != whole+8+len(weights) {
		t.Errorf("%d bytes of %d were read", n, whole)
	}
	clear(hub.bytes)
	publish(t, a, to, to.into.Events)
	if n := hub.bytes["model.safetensors"] + hub.bytes["tokenizer.json"]; n != 0 {
		t.Errorf("%d bytes were read again", n)
	}
	uploads := len(f.Requests(http.MethodPatch, ""))
	again, rec := place(t, host)
	b, err := Build(t.Context(), hub, Options{Into: again.into})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, again, again.into.Events)
	if n := len(f.Requests(http.MethodPatch, "")); n != uploads || len(sent(rec, bundle.EventDone)) != 0 || b.Root().Digest != a.Root().Digest {
		t.Errorf("%d uploads after %d; %v", n, uploads, rec)
	}
}

// A model that is refused leaves nothing behind, files of one content included.
func TestBuildIntoRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fakeHub){
		"lint":        func(h *fakeHub) { h.files["x.py"] = "import os" },
		"header":      func(h *fakeHub) { h.files["model.safetensors"] = "no safetensors at all" },
		"equal files": func(h *fakeHub) { h.files["other.json"] = h.files["tokenizer.json"] },
		"equal weights": func(h *fakeHub) {
			h.files["model.bin.json"] = h.files["model.safetensors"]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := newHub()
			delete(hub.known, "model.safetensors")
			change(hub)
			f, host := regtest.NewFaulty(t)
			to, _ := place(t, host)
			if _, err := Build(t.Context(), hub, Options{Into: to.into}); err == nil {
				t.Error("no error")
			} else if _, ok := errors.AsType[*LintError](err); !ok {
				t.Errorf("got %v", err)
			}
			if n := len(f.Requests(http.MethodPost, "")); n != 0 {
				t.Errorf("%d uploads", n)
			}
		})
	}
}

// A registry that wants digests first gets them; one that fails is an error.
func TestBuildIntoOddRegistry(t *testing.T) {
	t.Parallel()
	hub := newHub()
	delete(hub.known, "model.safetensors")
	_, host := regtest.NewFaulty(t, regtest.Fault{Method: http.MethodPatch, Status: http.StatusMethodNotAllowed})
	to, rec := place(t, host)
	a, err := Build(t.Context(), hub, Options{Into: to.into})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, a, to, to.into.Events)
	if n := len(sent(rec, bundle.EventRetry)); n == 0 || len(sent(rec, bundle.EventDone)) != len(a.Model().Files)+1 {
		t.Errorf("%v", rec)
	}
	_, host = regtest.NewFaulty(t, regtest.Fault{Method: http.MethodPost, Status: http.StatusForbidden})
	to, _ = place(t, host)
	if _, err := Build(t.Context(), hub, Options{Into: to.into}); !errors.Is(err, bundle.ErrUnauthorized) || !strings.Contains(err.Error(), host) {
		t.Errorf("got %v", err)
	}
}

// notes is a Memo that says what it was told.
type notes struct {
	mu  sync.Mutex
	sum map[string]string // by name
}

func (n *notes) Recall(info fs.FileInfo) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sum[info.Name()]
}

func (n *notes) Remember(info fs.FileInfo, sha256 string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sum[info.Name()] = sha256
}

func TestDirMemo(t *testing.T) {
	t.Parallel()
	dir := writeModel(t, t.TempDir(), nil)
	memo := &notes{sum: map[string]string{}}
	to, _ := place(t, regtest.New(t))
	a, err := Build(t.Context(), Dir(dir, memo), Options{Into: to.into})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors", "tokenizer.json"} {
		if got := memo.sum[name]; got != a.find(name).Digest.Encoded() {
			t.Errorf("%s: remembered %q", name, got)
		}
	}
	rc, err := a.Open(t.Context(), a.find("model.safetensors"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := rc.(bundle.KnownFile); !ok {
		t.Errorf("%T is no known file", rc)
	}
	_ = rc.Close()
	// What is remembered is not hashed: a lie is found when the bytes move.
	memo.sum["model.safetensors"] = digest.FromString("another").Encoded()
	b, err := Build(t.Context(), Dir(dir, memo), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Pull(t.Context(), b, b.Root(), filepath.Join(t.TempDir(), "out"), PullOptions{}); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	if err := bundle.Copy(t.Context(), b, to, b.Root(), bundle.CopyOptions{}); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

// growing changes a file of a directory while it is sent.
type growing struct {
	bundle.Ingester
	file string
}

func (g growing) Ingest(ctx context.Context, what string, size int64, open bundle.Opener) (digest.Digest, error) {
	return g.Ingester.Ingest(ctx, what, size, func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := open(ctx)
		if err == nil && what == filepath.Base(g.file) {
			err = os.Truncate(g.file, size+1)
		}
		return rc, err
	})
}

func TestFileChangesWhileItIsSent(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]bundle.Ingester{
		"registry": func() bundle.Ingester { to, _ := place(t, regtest.New(t)); return to }(),
		"layout":   disk(t, "oci:"+filepath.Join(t.TempDir(), "layout")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeModel(t, t.TempDir(), nil)
			memo := &notes{sum: map[string]string{}}
			slow := growing{to, filepath.Join(dir, "model.safetensors")}
			_, err := Build(t.Context(), Dir(dir, memo), Options{Into: into(slow, nil)})
			if !errors.Is(err, bundle.ErrMismatch) || !strings.Contains(err.Error(), "model.safetensors") || memo.sum["model.safetensors"] != "" {
				t.Errorf("got %v", err)
			}
			src, ok := to.(catalog)
			if !ok {
				return // what is not committed does not show
			}
			if ok, err := src.Resolve(t.Context(), "latest"); !errors.Is(err, bundle.ErrNotFound) {
				t.Errorf("%v, %v", ok, err)
			}
		})
	}
}
