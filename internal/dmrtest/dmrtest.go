// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package dmrtest is a Docker Model Runner for tests: as much of the daemon's
// API as registers a model, on a store on disk, with faults. It shares no code
// with package modelstore, so that a mistake there is not made here too. It is
// no judge of models: that is the real one's library, in interop.
package dmrtest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Fault is what is wrong with a daemon.
type Fault string

// The faults.
const (
	Refuses   Fault = "refuses"   // answers 500 to /models/load
	Dies      Fault = "dies"      // closes the connection in the middle of /models/load
	DiesLate  Fault = "dies-late" // registers the model, then closes the connection
	Late      Fault = "late"      // reports an error in a 200
	Lies      Fault = "lies"      // reports success and registers nothing
	NoTag     Fault = "no-tag"    // answers 500 to /tag
	Garbage   Fault = "garbage"   // lists no models: some other program
	Silent    Fault = "silent"    // takes connections and answers nothing
	SilentTag Fault = "silent-tag"
)

// Daemon is a handler on the store in Dir. It may be used by several
// goroutines at once.
type Daemon struct {
	Dir    string
	Prefix string // of the API
	Fault  Fault
	Log    func(line string) // "POST /models/load 200"; nil = none

	mu sync.Mutex
}

type entry struct {
	ID    string   `json:"id"`
	Tags  []string `json:"tags"`
	Files []string `json:"files"`
}

type blob struct {
	Digest string `json:"digest"`
}

type manifest struct {
	Config blob   `json:"config"`
	Layers []blob `json:"layers"`
}

// ServeHTTP implements http.Handler.
func (d *Daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ours := strings.CutPrefix(r.URL.Path, d.Prefix)
	if d.Fault == Silent || d.Fault == SilentTag && strings.HasSuffix(path, "/tag") {
		<-r.Context().Done()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	status, body := http.StatusNotFound, "no such page"
	switch id, isTag := strings.CutSuffix(strings.TrimPrefix(path, "/models/"), "/tag"); {
	case !ours:
	case r.Method == http.MethodGet && path == "/models":
		status, body = d.list(r)
	case r.Method == http.MethodPost && path == "/models/load":
		status, body = d.load(r.Body)
	case r.Method == http.MethodPost && isTag:
		status, body = d.tag(id, r.URL.Query().Get("repo"), r.URL.Query().Get("tag"))
	}
	if d.Log != nil {
		d.Log(fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, status))
	}
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) //nolint:gosec // G705: no browser looks; the client may be gone
}

func (d *Daemon) list(r *http.Request) (status int, body string) {
	if d.Fault == Garbage {
		return http.StatusOK, "<html>It works!</html>"
	}
	if r.Header.Get("Accept") != "application/json" {
		return http.StatusNotAcceptable, "progress would be escaped"
	}
	models, err := d.index()
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	data, err := json.Marshal(models)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusOK, string(data)
}

func (d *Daemon) load(body io.Reader) (status int, answer string) {
	const success = `{"type":"progress","message":"loading"}` + "\n" + `{"type":"success","message":"Model loaded successfully"}` + "\n"
	switch d.Fault { //nolint:exhaustive // the others befall other requests
	case Refuses:
		return http.StatusInternalServerError, "no space left on device"
	case Dies:
		return 0, ""
	case Late:
		return http.StatusOK, `{"type":"progress"}` + "\nerror while loading model: no space left on device\n"
	case Lies:
		return http.StatusOK, success
	}
	if err := d.take(body); err != nil {
		return http.StatusInternalServerError, "error while loading model: " + err.Error()
	}
	if d.Fault == DiesLate {
		return 0, ""
	}
	return http.StatusOK, success
}

// take reads the tar: blobs that are there are skipped, and the model is
// refused unless all its layers are.
func (d *Daemon) take(body io.Reader) error {
	var raw []byte
	for in := tar.NewReader(body); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		if h.Name == "manifest.json" {
			raw = data
		} else if err := d.write(h.Name, data); err != nil {
			return err
		}
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	e := entry{ID: "sha256:" + hex.EncodeToString(sum[:])}
	for _, l := range m.Layers {
		if _, err := os.Stat(filepath.Join(d.Dir, "blobs", strings.ReplaceAll(l.Digest, ":", "/"))); err != nil {
			return fmt.Errorf("missing blob %q for manifest", l.Digest)
		}
		e.Files = append(e.Files, l.Digest)
	}
	e.Files = append(e.Files, m.Config.Digest)
	if err := d.write("manifests/"+strings.ReplaceAll(e.ID, ":", "/"), raw); err != nil {
		return err
	}
	models, err := d.index()
	if err != nil || slices.ContainsFunc(models, func(have entry) bool { return have.ID == e.ID }) {
		return err
	}
	return d.save(append(models, e))
}

func (d *Daemon) tag(id, repo, tag string) (status int, body string) {
	models, err := d.index()
	at := slices.IndexFunc(models, func(e entry) bool { return e.ID == id })
	switch {
	case d.Fault == NoTag || err != nil:
		return http.StatusInternalServerError, "cannot tag"
	case repo == "" || tag == "":
		return http.StatusBadRequest, "missing repo or tag query parameter"
	case at < 0:
		return http.StatusNotFound, "model not found"
	}
	name := repo + ":" + tag
	for i := range models {
		models[i].Tags = slices.DeleteFunc(models[i].Tags, func(t string) bool { return t == name })
	}
	models[at].Tags = append(models[at].Tags, name)
	if err := d.save(models); err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusCreated, `{"message":"Model tagged successfully","target":"` + name + `"}`
}

func (d *Daemon) index() ([]entry, error) {
	var all struct {
		Models []entry `json:"models"`
	}
	data, err := os.ReadFile(filepath.Join(d.Dir, "models.json"))
	if errors.Is(err, os.ErrNotExist) {
		return []entry{}, nil
	}
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(data, &all)
	return all.Models, err
}

func (d *Daemon) save(models []entry) error {
	data, err := json.MarshalIndent(map[string]any{"models": models}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.Dir, "models.json"), data, 0o644)
}

// write adds a file of the store unless it is there.
func (d *Daemon) write(name string, data []byte) error {
	path := filepath.Join(d.Dir, filepath.Clean("/"+name))
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
