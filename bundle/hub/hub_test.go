// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/hub"
	"github.com/metalpack/metalpack/internal/hubtest"
	"github.com/metalpack/metalpack/internal/regtest"
)

const (
	name  = "mlx-community/Tiny-4bit"
	token = "hf_secret"
)

// client waits for nothing.
func client(h *hubtest.Hub, token string) (*hub.Client, *regtest.Recorder) {
	rec := &regtest.Recorder{}
	return &hub.Client{Endpoint: h.Endpoint, Token: token, Events: rec.Emit, Wait: rec.Wait}, rec
}

var weights = regtest.Noise(600_000)

// tiny is a model with files of both kinds.
func tiny() hubtest.Repo {
	return hubtest.Repo{Name: name, Token: token, Files: []hubtest.File{
		{Path: "model.safetensors", Data: weights, LFS: true},
		{Path: "config.json", Data: []byte("{\"model_type\": \"llama\"}")},
		{Path: "README.md", Data: []byte("---\nlicense: apache-2.0\nbase_model: org/Big\nlibrary_name: mlx\n---\n# Tiny\n")},
		{Path: "empty.txt"},
		{Path: "images/with blank #1?.png", Data: []byte("png")},
	}}
}

// open publishes tiny and opens it.
func open(t *testing.T) (*hubtest.Hub, *hub.Repo, *regtest.Recorder) {
	t.Helper()
	h := hubtest.New(t)
	h.Add(t, tiny())
	c, rec := client(h, token)
	r, err := c.Open(t.Context(), hub.Reference{Repo: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Files(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, r, rec
}

func read(ctx context.Context, r *hub.Repo, path string, offset int64) ([]byte, error) {
	rc, err := r.Open(ctx, path, offset)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// TestPinned: the branch moves on, the Repo does not.
func TestPinned(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	h.PageSize = 2
	commit := h.Add(t, tiny())
	c, _ := client(h, "")
	r, err := c.Open(t.Context(), hub.Reference{Repo: name})
	if err != nil {
		t.Fatal(err)
	}
	next := tiny()
	next.Files = next.Files[:1]
	if newer := h.Add(t, next); newer == commit || r.Commit() != commit {
		t.Fatalf("opened %s, then %s was published", r.Commit(), newer)
	}
	files, err := r.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []hub.File{
		{Path: "README.md", Size: 73, GitID: "x"},
		{Path: "config.json", Size: 23, GitID: "x"},
		{Path: "empty.txt", Size: 0, GitID: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
		{Path: "images/with blank #1?.png", Size: 3, GitID: "x"},
		{Path: "model.safetensors", Size: 600_000, SHA256: digest.FromBytes(weights).Encoded()},
	}
	if diff := cmp.Diff(want, files, cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".GitID"
	}, cmp.Comparer(func(a, b string) bool { return (a == "") == (b == "") }))); diff != "" {
		t.Error(diff)
	}
	if files[2].GitID != want[2].GitID {
		t.Errorf("git id of an empty file: %s", files[2].GitID)
	}
	if got, err := read(t.Context(), r, "images/with blank #1?.png", 0); err != nil || string(got) != "png" {
		t.Errorf("%q, %v", got, err)
	}
	for _, q := range h.API.Requests("", "")[1:] {
		if !strings.Contains(q.Path, commit) {
			t.Errorf("asked for %s", q.Path)
		}
	}
	if n := len(h.API.Requests("", "/tree/")); n != 3 {
		t.Errorf("%d pages", n)
	}
}

// TestContent reads files of both kinds, whole and in parts.
func TestContent(t *testing.T) {
	t.Parallel()
	h, r, rec := open(t)
	for _, offset := range []int64{0, 1, 599_999, 600_000} {
		if got, err := read(t.Context(), r, "model.safetensors", offset); err != nil || string(got) != string(weights[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	if got, err := r.ReadRange(t.Context(), "model.safetensors", 8, 1000); err != nil || string(got) != string(weights[8:1008]) {
		t.Errorf("range: %d bytes, %v", len(got), err)
	}
	if got, err := r.ReadRange(t.Context(), "config.json", 2, 100); err != nil || string(got) != "model_type\": \"llama\"}" {
		t.Errorf("range: %q, %v", got, err)
	}
	for _, f := range tiny().Files {
		if got, err := r.ReadSmall(t.Context(), f.Path, 0); err != nil || string(got) != string(f.Data) {
			t.Errorf("%s: %d bytes, %v", f.Path, len(got), err)
		}
	}
	for _, q := range h.Storage.Requests("", "") {
		if q.Header.Get("Authorization") != "" || q.Header.Get("Referer") != "" || q.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("the storage was told %v", q.Header)
		}
	}
	for _, q := range h.API.Requests("", "") {
		if q.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s without the token", q.Path)
		}
	}
	if len(rec.Events) != 0 {
		t.Errorf("events %s", rec.String())
	}
}

// TestParallel: one Repo, many readers.
func TestParallel(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	h.Add(t, tiny())
	c, _ := client(h, "")
	r, err := c.Open(t.Context(), hub.Reference{Repo: name})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			_, err := r.ReadSmall(t.Context(), "model.safetensors", 0)
			return err
		})
	}
	if err := g.Wait(); err != nil || len(h.API.Requests("", "/tree/")) != 1 {
		t.Errorf("%d lists, %v", len(h.API.Requests("", "/tree/")), err)
	}
}

func TestContentRefuses(t *testing.T) {
	t.Parallel()
	_, r, _ := open(t)
	tests := map[string]struct {
		do   func() error
		want error
	}{
		"negative offset": {func() error { _, err := r.Open(t.Context(), "config.json", -1); return err }, bundle.ErrInvalid},
		"beyond the end":  {func() error { _, err := r.Open(t.Context(), "config.json", 24); return err }, bundle.ErrInvalid},
		"no such file":    {func() error { _, err := r.Open(t.Context(), "none", 0); return err }, bundle.ErrNotFound},
		"too much":        {func() error { _, err := r.ReadRange(t.Context(), "config.json", 0, hub.MaxRange+1); return err }, bundle.ErrInvalid},
		"not small":       {func() error { _, err := r.ReadSmall(t.Context(), "model.safetensors", 1000); return err }, bundle.ErrInvalid},
	}
	for what, test := range tests {
		if err := test.do(); !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), "hf.co/"+name+"@"+r.Commit()[:12]+": ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestRefusals: who is refused learns by whom, for what, and what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	gated := tiny()
	gated.Name, gated.Gated = "org/gated", true
	private := tiny()
	private.Name, private.Private = "org/private", true
	off := tiny()
	off.Name, off.Disabled = "org/disabled", true
	limit := regtest.Fault{Path: "Tiny", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7"}}}
	tests := map[string]struct {
		repo, revision, token string
		fault                 *regtest.Fault
		want                  error
		text, hint            string
	}{
		"missing":            {repo: "org/none", want: bundle.ErrNotFound, text: "hf.co/org/none@main: no such model, or it is private", hint: "set HF_TOKEN"},
		"missing, token":     {repo: "org/none", token: token, want: bundle.ErrNotFound, text: "no such model", hint: "account of HF_TOKEN"},
		"private":            {repo: "org/private", want: bundle.ErrNotFound, text: "or it is private", hint: "set HF_TOKEN"},
		"private, its token": {repo: "org/private", token: token},
		"gated":              {repo: "org/gated", want: bundle.ErrUnauthorized, text: "model.safetensors: the model is gated", hint: "/org/gated and set HF_TOKEN"},
		"gated, other token": {repo: "org/gated", token: "hf_other", want: bundle.ErrUnauthorized, text: "has no access", hint: "/org/gated with the account"},
		"gated, its token":   {repo: "org/gated", token: token},
		"bad token":          {repo: name, token: "hf_bad", want: bundle.ErrUnauthorized, text: "does not accept the token", hint: "HF_TOKEN"},
		"revision":           {repo: name, revision: "v9/x", want: bundle.ErrNotFound, text: "@v9/x: no such revision", hint: "/tree/main"},
		"disabled":           {repo: "org/disabled", want: bundle.ErrUnavailable, text: "disabled", hint: "another copy"},
		"rate limit":         {repo: name, fault: &limit, want: bundle.ErrUnavailable, text: "too many requests", hint: "HF_TOKEN"},
		"server error":       {repo: name, fault: &regtest.Fault{Status: http.StatusBadGateway}, want: bundle.ErrUnavailable, text: "answered 502", hint: "later"},
		"not a hub":          {repo: name, fault: &regtest.Fault{Status: http.StatusTeapot}, want: bundle.ErrInvalid, text: "answered 418", hint: "HF_ENDPOINT"},
		"forbidden":          {repo: name, fault: &regtest.Fault{Status: http.StatusForbidden}, want: bundle.ErrUnauthorized, text: "no access", hint: "HF_TOKEN"},
		"repeats the token":  {repo: name, token: token, fault: &regtest.Fault{Status: http.StatusForbidden, Header: http.Header{"X-Error-Message": {"who is " + token + "?"}}}, want: bundle.ErrUnauthorized, text: "who is …?"},
		"passing":            {repo: name, fault: &regtest.Fault{Status: http.StatusServiceUnavailable, Times: 2}},
		"cut":                {repo: name, fault: &regtest.Fault{CutAfter: 10, Times: 2}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := hubtest.New(t)
			h.Token = "hf_other"
			for _, r := range []hubtest.Repo{tiny(), gated, private, off} {
				h.Add(t, r)
			}
			if test.fault != nil {
				h.API.Add(*test.fault)
			}
			c, rec := client(h, test.token)
			r, err := c.Open(t.Context(), hub.Reference{Repo: test.repo, Revision: test.revision})
			if err == nil {
				_, err = read(t.Context(), r, "model.safetensors", 0)
			}
			if test.want == nil {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v, want %q", err, test.text)
			}
			e, ok := errors.AsType[*hub.Error](err)
			if !ok || !strings.Contains(e.Hint(), test.hint) {
				t.Errorf("hint %q", e.Hint())
			}
			if all := err.Error() + e.Hint() + rec.String(); strings.Contains(all, "hf_") {
				t.Errorf("a token in %s", all)
			}
			if test.fault == &limit && (len(rec.Waits) != 5 || rec.Waits[0] != 7*time.Second) {
				t.Errorf("waits %v", rec.Waits)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	c := &hub.Client{Endpoint: "http://127.0.0.1:1", Retries: -1}
	_, err := c.Open(t.Context(), hub.Reference{Repo: name})
	if !errors.Is(err, bundle.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Open(ctx, hub.Reference{Repo: name}); !errors.Is(err, context.Canceled) || errors.Is(err, bundle.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	for _, endpoint := range []string{"http://hub.example", "ftp://127.0.0.1", "https://user:word@hub.example", "hub", "https://hub.example/?a=b"} {
		c := &hub.Client{Endpoint: endpoint}
		if _, err := c.Open(t.Context(), hub.Reference{Repo: name}); !errors.Is(err, bundle.ErrInvalid) || strings.Contains(err.Error(), "word") {
			t.Errorf("%s: got %v", endpoint, err)
		}
	}
}
