// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hubtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serve answers for the hub itself.
func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if handler := h.handler(r.URL.Path); handler != nil {
		handler(w, r)
		return
	}
	rest, isAPI := strings.CutPrefix(r.URL.Path, "/api/models/")
	parts := strings.SplitN(strings.TrimPrefix(rest, "/"), "/", 4)
	if len(parts) < 2 {
		http.NotFound(w, r)
		return
	}
	repo := h.open(w, r, parts[0]+"/"+parts[1])
	switch {
	case repo == nil:
	case isAPI && len(parts) == 2:
		h.serveInfo(w, repo, "main")
	case isAPI && len(parts) == 4 && parts[2] == "revision":
		h.serveInfo(w, repo, parts[3])
	case isAPI && len(parts) == 4 && parts[2] == "tree":
		h.serveTree(w, r, repo, parts[3])
	case !isAPI && len(parts) == 4 && parts[2] == "resolve":
		commit, path, _ := strings.Cut(parts[3], "/")
		h.serveFile(w, r, repo, commit, path)
	default:
		http.NotFound(w, r)
	}
}

func (h *Hub) handler(path string) http.HandlerFunc {
	for prefix, handler := range h.handlers {
		if strings.HasPrefix(path, prefix) {
			return handler
		}
	}
	return nil
}

// open finds a model and looks at the token; nil means that it has answered.
func (h *Hub) open(w http.ResponseWriter, r *http.Request, name string) *repo {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token != "" && !h.knows(token) {
		refuse(w, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
		return nil
	}
	repo := h.repos[name]
	if repo != nil && (!repo.Private || token == repo.Token) {
		return repo
	}
	if token == "" { // it does not say whether there is such a model
		refuse(w, http.StatusUnauthorized, "", "Invalid username or password.")
	} else {
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	}
	return nil
}

func (h *Hub) knows(token string) bool {
	for _, r := range h.repos {
		if token == r.Token {
			return true
		}
	}
	return token == h.Token
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
}

// commit is what a revision stands for; "" means that it has answered.
func commitOf(w http.ResponseWriter, repo *repo, revision string) string {
	if c, ok := repo.refs[revision]; ok {
		return c
	}
	if _, ok := repo.tree[revision]; ok {
		return revision
	}
	refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
	return ""
}

func (h *Hub) serveInfo(w http.ResponseWriter, repo *repo, revision string) {
	commit := commitOf(w, repo, revision)
	if commit == "" {
		return
	}
	gated := any(false)
	if repo.Gated {
		gated = "auto"
	}
	writeJSON(w, map[string]any{
		"id": repo.Name, "modelId": repo.Name, "sha": commit, "private": repo.Private, "disabled": repo.Disabled,
		"gated": gated, "tags": []string{"mlx"}, "siblings": []any{},
	})
}

func (h *Hub) serveTree(w http.ResponseWriter, r *http.Request, repo *repo, revision string) {
	commit := commitOf(w, repo, revision)
	if commit == "" {
		return
	}
	files := repo.tree[commit]
	start, _ := strconv.Atoi(r.URL.Query().Get("cursor")) // "" is 0
	end := len(files)
	if h.PageSize > 0 && start+h.PageSize < end {
		end = start + h.PageSize
		w.Header().Set("Link", fmt.Sprintf("<%s%s?recursive=true&cursor=%d>; rel=\"next\"", h.Endpoint, r.URL.Path, end))
	}
	rows := []any{map[string]any{"type": "directory", "oid": strings.Repeat("d", 40), "size": 0, "path": fmt.Sprintf("directory%d", start)}}
	for _, f := range files[start:end] {
		row := map[string]any{"type": "file", "path": f.Path, "size": f.Content.Size(), "oid": f.id}
		if f.LFS {
			row["oid"] = strings.Repeat("e", 40) // of the pointer
			row["lfs"] = map[string]any{"oid": f.id, "size": f.Content.Size(), "pointerSize": 134}
		}
		rows = append(rows, row)
	}
	writeJSON(w, rows)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may leave
}

func (h *Hub) serveFile(w http.ResponseWriter, r *http.Request, repo *repo, revision, path string) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case repo.Gated && token == "":
		refuse(w, http.StatusUnauthorized, "GatedRepo", "Access to model "+repo.Name+" is restricted. You must have access to it and be authenticated to access it. Please log in.")
		return
	case repo.Gated && token != repo.Token:
		refuse(w, http.StatusForbidden, "GatedRepo", "Access to model "+repo.Name+" is restricted and you are not in the authorized list.")
		return
	}
	commit := commitOf(w, repo, revision)
	if commit == "" {
		return
	}
	for _, f := range repo.tree[commit] {
		if f.Path != path {
			continue
		}
		if f.changed != nil {
			f = f.changed
		}
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("Etag", `"`+f.id+`"`)
		if f.LFS {
			h.redirect(w, r, f)
		} else {
			http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f.Content, 0, f.Content.Size()))
		}
		return
	}
	refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
}

// redirect signs an address of the storage.
func (h *Hub) redirect(w http.ResponseWriter, r *http.Request, f *file) {
	h.signatures.Lock()
	signature := fmt.Sprintf("signature-%d", len(h.signed)+1)
	h.signed[signature] = f
	h.signatures.Unlock()
	w.Header().Set("X-Linked-Size", strconv.FormatInt(f.Content.Size(), 10))
	w.Header().Set("X-Linked-Etag", `"`+f.id+`"`)
	http.Redirect(w, r, h.storage+"/objects/"+f.id+"?X-Signature="+signature, http.StatusFound)
}

// serveStorage answers for the storage: 403 for whoever has no good signature,
// and, as such storages do, 400 for whoever brings another credential.
func (h *Hub) serveStorage(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	signature := r.URL.Query().Get("X-Signature")
	h.signatures.Lock()
	f := h.signed[signature]
	h.uses[signature]++
	expired := h.OneUse && h.uses[signature] > 1
	h.signatures.Unlock()
	if f == nil || expired {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Etag", `"`+f.id+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f.Content, 0, f.Content.Size()))
}
