// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package hubtest owns a Hugging Face hub for tests: the part of its API that
// pins a revision and lists files, and content behind redirects to a second
// server, another origin, whose addresses are signed. Both servers let requests
// go wrong by script ([regtest.Faulty]); [Hub.Handle] puts something else in the
// place of any answer.
package hubtest

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git names its objects by it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/metalpack/metalpack/internal/regtest"
)

// Hub is a hub and its storage.
type Hub struct {
	Endpoint string          // what HF_ENDPOINT is set to
	API      *regtest.Faulty // the hub itself
	Storage  *regtest.Faulty // where LFS files lie
	PageSize int             // rows of a page of the file list; 0 = all
	OneUse   bool            // a signed address opens once
	Token    string          // known to the hub, without access to anything gated or private

	storage string // the storage's address

	mu       sync.RWMutex
	repos    map[string]*repo
	handlers map[string]http.HandlerFunc

	signatures sync.Mutex
	signed     map[string]*file // by signature
	uses       map[string]int   // by signature
}

// Repo is one commit of a model.
type Repo struct {
	Name     string   // org/name
	Refs     []string // branches and tags that lead to this commit; nil = main
	Token    string   // the one that has access to a gated or private model
	Gated    bool
	Private  bool
	Disabled bool
	Files    []File
}

// File is a file of a Repo.
type File struct {
	Path    string
	Data    []byte
	Content Content // in the place of Data, for what should not be in memory
	LFS     bool
	SHA256  string // what the hub says instead of the truth, hex
}

// Content is bytes of known number.
type Content interface {
	io.ReaderAt
	Size() int64
}

type repo struct {
	Repo // the newest commit
	refs map[string]string
	tree map[string][]*file // by commit
}

type file struct {
	File
	id      string // sha256 or git id, hex, as the list says
	changed *file  // what resolve serves instead
}

// New starts an empty hub that ends with the test.
func New(tb testing.TB) *Hub {
	tb.Helper()
	h := &Hub{repos: map[string]*repo{}, signed: map[string]*file{}, uses: map[string]int{}, handlers: map[string]http.HandlerFunc{}}
	h.API = &regtest.Faulty{Next: http.HandlerFunc(h.serve)}
	h.Storage = &regtest.Faulty{Next: http.HandlerFunc(h.serveStorage)}
	h.Endpoint = "http://" + regtest.Serve(tb, h.API)
	h.storage = "http://" + regtest.Serve(tb, h.Storage)
	return h
}

// StorageHost is host:port of the storage.
func (h *Hub) StorageHost() string { return strings.TrimPrefix(h.storage, "http://") }

// Handle answers requests to paths that begin with prefix.
func (h *Hub) Handle(prefix string, handler http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[prefix] = handler
}

// Add publishes a commit and returns it. Older commits of the same name stay.
func (h *Hub) Add(tb testing.TB, r Repo) string {
	tb.Helper()
	sum := sha1.New() //nolint:gosec // as git does
	files := make([]*file, 0, len(r.Files))
	for _, f := range r.Files {
		x := newFile(tb, f)
		sum.Write(fmt.Appendf(nil, "%s %s\n", x.Path, x.id))
		files = append(files, x)
	}
	commit := hex.EncodeToString(sum.Sum(nil))
	if r.Refs == nil {
		r.Refs = []string{"main"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.repos[r.Name]
	if old == nil {
		old = &repo{refs: map[string]string{}, tree: map[string][]*file{}}
		h.repos[r.Name] = old
	}
	old.Repo, old.tree[commit] = r, files
	for _, ref := range r.Refs {
		old.refs[ref] = commit
	}
	return commit
}

// Change makes the hub serve other bytes than the list of every commit says.
func (h *Hub) Change(tb testing.TB, name, path string, data []byte) {
	tb.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, files := range h.repos[name].tree {
		for _, f := range files {
			if f.Path == path {
				f.changed = newFile(tb, File{Path: path, Data: data, LFS: f.LFS})
			}
		}
	}
}

func newFile(tb testing.TB, f File) *file {
	tb.Helper()
	if f.Content == nil {
		f.Content = bytes.NewReader(f.Data)
	}
	sum := sha256.New()
	if !f.LFS {
		sum = sha1.New() //nolint:gosec // git's choice
		sum.Write(fmt.Appendf(nil, "blob %d\x00", f.Content.Size()))
	}
	if _, err := io.Copy(sum, io.NewSectionReader(f.Content, 0, f.Content.Size())); err != nil {
		tb.Fatal(err)
	}
	x := &file{File: f, id: hex.EncodeToString(sum.Sum(nil))}
	if f.SHA256 != "" {
		x.id = f.SHA256
	}
	return x
}
