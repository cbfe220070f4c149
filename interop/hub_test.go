// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// serveHub is a Hugging Face hub with one model, the files of a directory, as
// far as metalrun asks: the commit, the list of files, and their content, which
// of weights lies in LFS behind a redirect.
func serveHub(t *testing.T, name, dir string) (endpoint string) {
	t.Helper()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // a client that went away hears nothing
	}
	var tree []map[string]any
	for path := range readDir(t, dir) {
		file := filepath.Join(dir, filepath.FromSlash(path))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))) // as git names it
		row, large := map[string]any{"type": "file", "path": path, "size": len(data), "oid": id}, strings.HasSuffix(path, ".safetensors")
		if large {
			id = fmt.Sprintf("%x", sha256.Sum256(data))
			row["lfs"] = map[string]any{"oid": id, "size": len(data)}
			mux.HandleFunc("GET /storage/"+id, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
		}
		tree = append(tree, row)
		mux.HandleFunc("GET /"+name+"/resolve/"+commit+"/"+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Repo-Commit", commit)
			if !large {
				w.Header().Set("ETag", `"`+id+`"`)
				http.ServeFile(w, r, file)
				return
			}
			w.Header().Set("X-Linked-Etag", `"`+id+`"`)
			w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
			http.Redirect(w, r, "/storage/"+id, http.StatusFound)
		})
	}
	mux.HandleFunc("GET /api/models/"+name+"/revision/main", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"id": name, "sha": commit})
	})
	mux.HandleFunc("GET /api/models/"+name+"/tree/"+commit, func(w http.ResponseWriter, _ *http.Request) { answer(w, tree) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
